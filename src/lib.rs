//! patchpost: an e-mail driven patch and mailing-list server in one binary.

pub mod types;

pub mod config;
pub mod mail;
pub mod session;

pub mod archive;
pub mod list;
pub mod patchset;
pub mod thread;
pub mod view;

pub mod deliver;
pub mod git;
pub mod net;
pub mod smtp;
pub mod store;

pub mod web;

pub mod pipeline;
pub mod worker;

pub mod cli;
pub mod doctor;
pub mod serve;
