//! Bytes of a mail → [`Message`] with flaws as fields; header blocks, mbox, identity.
//!
//! Pure. The only module that names the parser crate.

mod message;

pub use message::{Flaw, Mailbox, Message, Part};
