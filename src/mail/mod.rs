//! Bytes of a mail → [`Message`] with flaws as fields; header blocks, mbox, identity.
//!
//! Pure. The only module that names the parser crate.

pub mod charset;
pub mod flowed;
pub mod header;
mod identity;
pub mod mbox;
mod message;
mod nesting;
mod parse;
#[cfg(test)]
mod tests;

pub use identity::identity;
pub use message::{Flaw, Mailbox, Message, Part};
pub use parse::{parse, text_of_html};
