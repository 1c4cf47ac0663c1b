//! Patchsets out of mails: tags, recognition, grouping, versions. Pure.
//!
//! `recognise` looks at one mail; `assemble` at all that may belong together and says in words why. The rules are
//! those of `docs/grouping.md`.

mod assemble;
mod link;
mod recognise;
mod scan;
mod tag;
#[cfg(test)]
mod tests;

pub use assemble::{Input, Patchset, Series, Slot, assemble};
pub use link::link_keys;
pub use recognise::{Kind, Recognised, patch_text, recognise};
pub use tag::{Tag, Version, normalise_title, parse_tag};
