//! The one integration-test binary: the real program with real clients.
#![allow(clippy::unwrap_used)]

mod architecture;
mod corpus;
mod crash;
mod deploy;
mod harness;
mod import;
mod mailinfo;
mod operate;
mod postgres;
mod real_mail;
mod road;
mod web;
