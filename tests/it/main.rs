//! The one integration-test binary: the real program with real clients.
#![allow(clippy::unwrap_used)]

mod am;
mod architecture;
mod authority;
mod b4;
mod base;
mod bombs;
mod browser;
mod clients;
mod corpus;
mod correct;
mod crash;
mod demo;
mod deploy;
mod dkim;
mod grouping;
mod harness;
mod identity;
mod import;
mod ingress;
mod landed;
mod mailinfo;
mod manifest;
mod operate;
mod pages;
mod patch_id;
mod postgres;
mod postmaster;
mod private;
mod range_diff;
mod real_mail;
mod road;
mod store;
mod tools;
mod web;
mod webdriver;
