//! Patchsets out of mails: tags, recognition, grouping, versions. Pure.
//!
//! `recognise` looks at one mail; `assemble` at all that may belong together and says in words why. The rules are
//! those of `docs/grouping.md`.
//!
//! One mail at a time: [`tag`], [`scan`], [`trailer`], [`sending`], [`submitter`], [`recognise`](mod@recognise).
//! Many mails ([`authority`] says who may move what), in this order: [`world`] (who answers whom, which version), [`grow`] (series of one thread),
//! [`loose`] (mails without a thread), [`correct`] (what people decided), [`link`] (versions of one change),
//! [`finish`] (order, labels, partial rerolls), [`describe`] (words). For the base: [`depend`] (what a series names as that on
//! which it is built), [`page`] (by the address of its page). For readers: [`acks`] (who gave which trailer), [`same`] (which trailers
//! and which addresses are one),
//! [`alone`] (of which part of a mail commits are made), [`fold`](mod@fold) (patches for `git am` with these), [`range_diff`] (two versions beside each other), [`remark`] (which line an
//! answer is about, and what became of it), [`answer`] (which words of it are its author's own), [`damage`](mod@damage) (what mail programs
//! break), [`untaken`](mod@untaken) (files that are no patch here).

mod acks;
mod alone;
mod answer;
mod assemble;
mod authority;
mod correct;
mod damage;
pub mod depend;
mod describe;
mod finish;
mod fold;
mod grow;
mod keys;
mod landed;
mod link;
mod loose;
pub mod page;
pub mod range_diff;
mod recognise;
mod remark;
mod same;
mod scan;
mod sending;
pub mod steer;
mod submitter;
mod tag;
mod trailer;
mod untaken;
mod world;

#[cfg(test)]
mod assemble_tests;
#[cfg(test)]
mod authority_tests;
#[cfg(test)]
mod correct_tests;
#[cfg(test)]
mod depend_tests;
#[cfg(test)]
mod fold_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod recognise_tests;
#[cfg(test)]
mod tag_tests;

pub use acks::{Ack, Answer, Carried, Claim, acks_for, carry_acks};
pub use alone::{has_hidden_diff, has_second_patch, shown_alone};
pub use assemble::{Input, Patchset, Series, Slot, assemble, assemble_corrected};
pub use authority::may_add_trailers;
pub use correct::Correction;
pub use damage::{
    CRLF, damage, goes_on, goes_on_words, has_crlf, may_have_lost_tabs, text_goes_on,
};
pub use fold::{FoldOptions, fold};
pub use keys::link_keys;
pub use landed::{Arrival, Candidate, Landings};
pub use recognise::{
    Kind, Place, PullRequest, Recognised, attached_patch, first_blobs, patch_text, recognise,
};
pub use remark::{Mark, Note, Notes, Pairable, Reply, Shown, pair, place_remarks};
pub use same::{People, same_address};
pub use sending::Stem;
pub use tag::{Tag, Version, normalise_title, parse_tag};
pub use trailer::{Trailer, parse_trailers};
pub use untaken::{Untaken, untaken};
