//! patchpost: an e-mail driven patch and mailing-list server in one binary.

pub mod types;

pub mod config;
pub mod net;
pub mod session;

pub mod mail;
pub mod patchset;
pub mod store;
