//! The one integration-test binary: the real program with real clients.
#![allow(clippy::unwrap_used)]

mod architecture;
mod base;
mod browser;
mod clients;
mod corpus;
mod crash;
mod demo;
mod deploy;
mod dkim;
mod harness;
mod import;
mod mailinfo;
mod manifest;
mod operate;
mod patch_id;
mod postgres;
mod range_diff;
mod real_mail;
mod road;
mod tools;
mod web;
mod webdriver;
