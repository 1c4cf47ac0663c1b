//! What a list is: addresses, tokens, what it takes, the header block of its copies, and automatic mail. Pure.

pub mod address;
pub mod bounce;
pub mod command;
pub mod dkim;
pub mod echo;
pub mod header;
pub mod held;
mod munge;
pub mod notice;
pub mod order;
pub mod policy;
pub mod roster;
pub mod rules;
pub mod score;
pub mod settings;
pub mod sign_in;
pub mod token;
pub mod treatment;
