//! What a list is: addresses, tokens, what it takes, and the header block of its copies. Pure.

pub mod address;
pub mod header;
pub mod policy;
pub mod token;
