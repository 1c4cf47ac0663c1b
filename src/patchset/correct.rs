//! What people corrected: values on mails, replayed in order over what the rules made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::grow::{Growing, How, Share};
use super::tag::{Version, parse_tag};
use super::world::World;
use crate::types::MailId;

/// One decision of a person about grouping. It names mails, as these never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correction {
    /// The patch or cover belongs to the series that holds the other mail; what had its number there stands alone.
    Move(MailId, MailId),
    /// These patches are a series and a patchset of their own: no rule links them any more.
    Split(Vec<MailId>),
    /// The patchsets that hold the two mails are one.
    Merge(MailId, MailId),
    /// The first mail does not answer the second, nor what stands above that.
    CutEdge(MailId, MailId),
    /// The series that holds the mail is that version.
    SetVersion(MailId, Version),
}

impl Correction {
    /// Reads a stored correction on `mail`; `None` if the kind or the detail is not known here.
    ///
    /// Kinds and details: `move` and `merge` and `cut` with the other mail's row, `split` with further rows
    /// (blank-separated, may be empty), `version` with `3` or `5.1`.
    pub fn parse(kind: &str, mail: MailId, detail: &str) -> Option<Correction> {
        let row = |text: &str| text.trim().parse().map(MailId).ok();
        match kind {
            "move" => row(detail).map(|to| Correction::Move(mail, to)),
            "merge" => row(detail).map(|other| Correction::Merge(mail, other)),
            "cut" => row(detail).map(|parent| Correction::CutEdge(mail, parent)),
            "split" => {
                let others: Option<Vec<MailId>> = detail.split_whitespace().map(row).collect();
                let mut mails = vec![mail];
                mails.extend(others?);
                Some(Correction::Split(mails))
            }
            "version" => {
                let version = parse_tag(&format!("[v{}]", detail.trim())).version?;
                Some(Correction::SetVersion(mail, version))
            }
            _ => None,
        }
    }

    /// The mails it names: who groups one of them must group all.
    pub fn mails(&self) -> Vec<MailId> {
        match self {
            Correction::Move(a, b) | Correction::Merge(a, b) | Correction::CutEdge(a, b) => {
                vec![*a, *b]
            }
            Correction::Split(mails) => mails.clone(),
            Correction::SetVersion(mail, _) => vec![*mail],
        }
    }
}

/// Edges that do not count: (child, parent).
pub(super) fn cuts(corrections: &[Correction]) -> Vec<(MailId, MailId)> {
    let cut = |c: &Correction| match c {
        Correction::CutEdge(child, parent) => Some((*child, *parent)),
        _ => None,
    };
    corrections.iter().filter_map(cut).collect()
}

/// Does what people said to series that the rules made.
pub(super) fn replay(world: &World<'_>, all: &mut Vec<Growing>, corrections: &[Correction]) {
    for correction in corrections {
        match correction {
            Correction::Move(mail, to) => {
                if let (Some(at), Some(to)) = (world.find_mail(*mail), world.find_mail(*to)) {
                    move_mail(world, all, at, to);
                }
            }
            Correction::Split(mails) => {
                let found = mails.iter().filter_map(|m| world.find_mail(*m));
                split_off(world, all, found.collect());
            }
            Correction::SetVersion(mail, version) => {
                let found = world.find_mail(*mail).and_then(|at| home(all, at));
                if let Some(i) = found {
                    all[i].version = *version;
                }
            }
            // Merges tie patchsets, cuts have been made before.
            Correction::Merge(..) | Correction::CutEdge(..) => {}
        }
    }
    all.retain(|s| !s.members.is_empty());
    all.sort_by_key(|s| s.members[0]);
}

/// The series that holds a mail.
pub(super) fn home(all: &[Growing], at: usize) -> Option<usize> {
    all.iter()
        .position(|s| s.members.binary_search(&at).is_ok())
}

fn move_mail(world: &World<'_>, all: &mut Vec<Growing>, at: usize, to: usize) {
    let (Some(from), Some(into)) = (home(all, at), home(all, to)) else {
        return;
    };
    if from == into {
        return;
    }
    all[from].remove(at);
    let number = world.number(at);
    if matches!(all[from].share, Share::Only(_)) {
        // It was given by a person, and is taken by one.
        all[from].share.take(number);
    }
    let holder = match number {
        0 => all[into].cover,
        _ => all[into].slots.get(&number).copied(),
    };
    if let Some(holder) = holder {
        all[into].remove(holder);
        let mut alone = Growing::new(world, holder);
        alone.add(world, holder);
        all.push(alone);
    }
    all[into].share.give(number);
    all[into].add(world, at);
    all[into].how = How::Hand;
}

fn split_off(world: &World<'_>, all: &mut Vec<Growing>, mails: Vec<usize>) {
    let mut own: Option<Growing> = None;
    for at in mails {
        let Some(from) = home(all, at) else { continue };
        let own = own.get_or_insert_with(|| {
            let mut own = Growing::new(world, at);
            (own.version, own.total) = (all[from].version, all[from].total);
            own.share = Share::Only(BTreeSet::new());
            own
        });
        if own.fits(world, at) {
            all[from].remove(at);
            all[from].share.take(world.number(at));
            own.share.give(world.number(at));
            own.add(world, at);
        }
    }
    if let Some(mut own) = own.filter(|s| !s.members.is_empty()) {
        own.how = How::Hand;
        own.apart = true;
        all.push(own);
    }
}
