//! patchpost: an e-mail driven patch and mailing-list server in one binary.
//!
//! # The map, along the way of a mail
//!
//! `smtp` drives the pure `session` over sockets of `net`. A received mail goes to `pipeline`: `screen` parses it (`mail`), asks `dns`
//! who speaks for it (`verdict`) and `list` what to do, and stores it (`store`) in one commit; only then the client hears 250. `worker` claims the owed work: `pipeline::file`
//! gives the mail its place and number, `patchset` says what it is and what belongs together, `pipeline::apply` makes commits of complete series
//! (`git`), and `deliver` sends the copies. `web` shows all of it; `view` and `thread` decide what and in which order.
//!
//! # Invariants
//!
//! - 250 is said after the commit is flushed, and never before.
//! - Stored bytes are what arrived (pure CRLF as LF with a flag); nothing re-encodes them.
//! - Writes of meaning go through `pipeline`; SQL stands in `store` only; processes start in `git` only.
//! - Filing may run twice and in any order: the outcome is a function of the archive.
//! - A From field is never authority: what a mail may move goes by its verdict.
//! - Nothing of a list that is not public is found by any public address: realms never meet.
//!
//! Three rings, checked by a test: pure modules take values and give values; edges do input and output; the wiring orders the steps.

// Pure.
pub mod types;

pub mod config;
pub mod mail;
pub mod session;
pub mod verdict;

pub mod archive;
pub mod diff;
pub mod list;
pub mod patchset;
pub mod query;
pub mod thread;
pub mod view;

// Edge.
pub mod deliver;
pub mod dns;
pub mod git;
pub mod net;
pub mod smtp;
pub mod store;
pub mod web;

// Wiring.
pub mod pipeline;
pub mod worker;

pub mod cli;
pub mod doctor;
pub mod serve;
