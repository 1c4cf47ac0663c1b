//! Which mails are one series, and which series are versions of one patchset: the values and the order of the steps.
//!
//! A pure function of the mails and of what people corrected: the order in which mails are given changes nothing.

use super::correct::{self, Correction};
use super::finish;
use super::grow;
use super::link;
use super::loose;
use super::recognise::Recognised;
use super::tag::Version;
use super::world::World;
use crate::types::{Identity, ListId, MailId, MessageId, Timestamp};
use crate::verdict::Standing;

/// One mail as the grouping sees it.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its row.
    pub mail: MailId,
    /// Breaks ties the same way on every machine.
    pub identity: Identity,
    /// Its name.
    pub message_id: MessageId,
    /// Nearest ancestor first.
    pub parents: Vec<MessageId>,
    /// Arrival: data of the archive, not the moment of filing.
    pub arrived: Timestamp,
    /// The lists that it was posted to, sorted. None: nothing is known of them, and it may be any.
    pub lists: Vec<ListId>,
    /// How well its sender is authenticated.
    pub standing: Standing,
    /// Who sent it: the lower-case address, or one that stands for all that are linked with it.
    pub person: String,
    /// What it is by itself.
    pub recognised: Recognised,
}

/// One patch of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its number, from 1.
    pub number: u32,
    /// Its mail.
    pub mail: MailId,
    /// Taken over from the version before by a partial reroll.
    pub taken_over: bool,
}

/// One version of a patchset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// The mail that stands for it: the cover, else its earliest patch.
    pub anchor: MailId,
    /// `1`, `2`, `2-2`, `3-r1`, `5.1`.
    pub label: String,
    /// The version its mails claim.
    pub version: Version,
    /// How many patches it says it has; of what a person split, how many it is to have.
    pub total: u32,
    /// Number 0.
    pub cover: Option<MailId>,
    /// By number.
    pub patches: Vec<Slot>,
    /// Replies: comment and what it answers.
    pub comments: Vec<(MailId, MailId)>,
    /// All patches that it is to have are there.
    pub complete: bool,
    /// A newer version stands in its place.
    pub superseded: bool,
    /// Anchor of the series that it says to be a version of without having the authority: it stands beside it.
    pub claims: Option<MailId>,
    /// Mails of another series of the same shape arrived at the same time: they may be mixed up.
    pub ambiguous: bool,
    /// Lower-case address.
    pub submitter: String,
    /// Display name.
    pub submitter_name: String,
    /// Title without tags.
    pub title: String,
    /// `base-commit:` of any of its mails.
    pub base_commit: Option<String>,
    /// What its mails name as `Depends-on:` or `Based-on:`, in order of appearance; never its own mails.
    pub depends_on: Vec<MessageId>,
    /// Words of the tag: a repository's name.
    pub prefixes: Vec<String>,
    /// `rfc`, `resend`, `wip`; `pull` for a pull request.
    pub flags: Vec<&'static str>,
    /// Why these mails are one series and this version.
    pub reason: String,
    /// Arrival of its first mail.
    pub first_arrived: Timestamp,
    /// Arrival of its newest patch.
    pub arrived: Timestamp,
}

/// All versions of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patchset {
    /// Anchor of the version that arrived first.
    pub anchor: MailId,
    /// Title of its newest version.
    pub title: String,
    /// Prefix words of its newest version.
    pub prefixes: Vec<String>,
    /// Oldest first.
    pub series: Vec<Series>,
}

/// Groups the mails. Mails that no rule connects do not influence each other.
pub fn assemble(inputs: &[Input]) -> Vec<Patchset> {
    assemble_corrected(inputs, &[])
}

/// Groups the mails, then replays what people corrected, in order. A correction that names an unknown mail does nothing.
pub fn assemble_corrected(inputs: &[Input], corrections: &[Correction]) -> Vec<Patchset> {
    let world = World::new(inputs, &correct::cuts(corrections));
    let mut series = grow::assemble_threads(&world);
    loose::join(&world, &mut series);
    grow::find_covers(&world, &mut series);
    correct::replay(&world, &mut series, corrections);
    link::settle_branches(&world, &mut series);
    let series = finish::split_rerolls(&world, series);
    let ties = link::find_ties(&world, &series, corrections);
    finish::assemble_patchsets(&world, &series, &ties)
}
