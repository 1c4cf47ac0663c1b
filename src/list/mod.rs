//! What a list is: addresses, tokens, what it takes, the header block of its copies, and automatic mail. Pure.

pub mod address;
pub mod bounce;
pub mod command;
pub mod header;
pub mod notice;
pub mod policy;
pub mod score;
pub mod token;
