//! A grown series as others see it: its fields, and in plain words why its mails are one series.

use super::assemble::{Series, Slot};
use super::grow::{Growing, How};
use super::link::Why;
use super::recognise::Kind;
use super::tag::{Tag, Version};
use super::world::World;
use crate::types::{MailId, MessageId};

/// Dependencies of a series that are kept.
const MAX_DEPENDENCIES: usize = 100;

/// Makes the series' fields; label, superseded and the link to other versions come later.
pub(super) fn describe(world: &World<'_>, one: &Growing, comments: &[(usize, usize)]) -> Series {
    let row = |at: usize| world.mail(at).mail;
    let first = one.members[0];
    let head = world.facts(one.head());
    // A plain mail that serves as cover has no tag of its own.
    let tag = match one.slots.values().next() {
        Some(patch) if !world.is_candidate(one.head()) => &world.facts(*patch).tag,
        _ => &head.tag,
    };
    let flag = |set: bool, name| set.then_some(name);
    let flags = [
        flag(tag.rfc, "rfc"),
        flag(tag.resend, "resend"),
        flag(tag.wip, "wip"),
        flag(head.kind == Kind::PullRequest, "pull"),
    ];
    let branch = one.branch.map(|v| format!("v{v}"));
    let newest = one.slots.values().max().copied().unwrap_or(first);
    let slot = |(number, at): (&u32, &usize)| Slot {
        number: *number,
        mail: row(*at),
        taken_over: false,
    };
    let base = |at: &usize| world.facts(*at).base_commit.clone();
    Series {
        anchor: anchor(world, one),
        label: one.version.to_string(),
        version: one.version,
        total: one.wanted().max(1),
        cover: one.cover.map(row),
        patches: one.slots.iter().map(slot).collect(),
        comments: comments.iter().map(|(c, t)| (row(*c), row(*t))).collect(),
        complete: one.is_complete(),
        superseded: false,
        claims: None,
        ambiguous: one.ambiguous,
        submitter: head.submitter.clone(),
        submitter_name: head.submitter_name.clone(),
        title: head.tag.title.clone(),
        base_commit: one.members.iter().find_map(base),
        depends_on: depends_on(world, one),
        prefixes: prefixes(tag, head.kind).chain(branch).collect(),
        flags: flags.into_iter().flatten().collect(),
        reason: reason(world, one),
        first_arrived: world.mail(first).arrived,
        arrived: world.mail(newest).arrived,
    }
}

fn depends_on(world: &World<'_>, one: &Growing) -> Vec<MessageId> {
    let mut found: Vec<MessageId> = Vec::new();
    for at in one.cover.iter().chain(one.slots.values()) {
        for id in &world.facts(*at).depends_on {
            let own = one.members.iter().any(|m| world.mail(*m).message_id == *id);
            if !own && !found.contains(id) && found.len() < MAX_DEPENDENCIES {
                found.push(id.clone());
            }
        }
    }
    found
}

/// Words that may name a repository; `[GIT PULL]` says what the mail is.
fn prefixes(tag: &Tag, kind: Kind) -> impl Iterator<Item = String> + '_ {
    let says_pull = move |word: &str| {
        kind == Kind::PullRequest && ["git", "pull"].iter().any(|w| word.eq_ignore_ascii_case(w))
    };
    let words = tag.prefixes.iter();
    words.filter(move |word| !says_pull(word)).cloned()
}

/// The mail that stands for a series.
pub(super) fn anchor(world: &World<'_>, one: &Growing) -> MailId {
    world.mail(one.cover.unwrap_or(one.members[0])).mail
}

fn reason(world: &World<'_>, one: &Growing) -> String {
    let mut out = match one.how {
        How::Alone if world.facts(one.head()).kind == Kind::PullRequest => {
            "A pull request by itself."
        }
        How::Alone if one.total == 1 => "A patch by itself.",
        How::Alone => "No other mail of its sender, version and count belongs to it.",
        How::Thread => "One thread: the same sender, version and count.",
        How::Sending => "One run of git send-email or b4, by its Message-IDs.",
        How::Near => "No thread, but the same sender, list, version and count within 20 minutes.",
        How::Far => {
            "No thread, but the same sender, list, version and count within a day, and no other series had room."
        }
        How::Hand => "Put together by a person.",
    }
    .to_owned();
    let says = |at: &usize| world.facts(*at).tag.version == Some(one.version);
    let version = one.version;
    if let Some(branch) = one.branch {
        out.push_str(&format!(
            " v{branch} names a branch: there is no v{} of this change.",
            branch.major
        ));
    } else if one.members.iter().any(says) {
        out.push_str(&format!(" Its mails say v{version}."));
    } else if version == Version::FIRST {
        out.push_str(" No version is said: it is the first.");
    } else {
        out.push_str(&format!(
            " v{version} is that of the series that it answers."
        ));
    }
    if one.ambiguous {
        out.push_str(
            " Another series of the same shape arrived at the same time: patches may be mixed up.",
        );
    }
    out
}

/// Why it is a version of the same change as another, which is labelled `older`.
pub(super) fn link_reason(older: &str, why: Why) -> String {
    let because = match why {
        Why::ChangeId => "it has the same change-id",
        Why::Answer => "it was sent in reply to it",
        Why::Supersedes => "one says that it supersedes the other",
        Why::Slug => "b4 gave both the same name in their Message-IDs",
        Why::Title => "the same person sent it under the same title",
        Why::Copy => "one is a copy of the other",
        Why::Hand => "a person put them together",
    };
    format!(" The same change as v{older}: {because}.")
}

/// Why it stands beside the series that it says to belong to.
pub(super) fn claim_reason(claimed: &Growing, why: Why) -> String {
    let version = claimed.version;
    match why {
        Why::Copy => format!(
            " It is a copy of what v{version} of another patchset holds, under another Message-ID, and has no signature of its own: it stands \
             beside it and changes nothing there."
        ),
        _ => format!(
            " It claims to belong with v{version} of another patchset, but its sender is not authenticated as well as that one's, or is \
             another person: it stands beside it and changes nothing there."
        ),
    }
}
