//! patchpost: an e-mail driven patch and mailing-list server in one binary.

pub mod types;

pub mod session;

pub mod mail;
pub mod store;
