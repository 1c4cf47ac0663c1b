//! Patch text: what a mail that carries one says.
//!
//! Pure: bytes in, values out. Git does the same things in its commands; each part names the documentation that it follows.

pub mod mailinfo;
pub mod patch_id;
