//! All mails that are thought about together: in a fixed order, who answers whom, and which version each one is.
//!
//! Nothing here recurses: threads may be as deep as a stranger likes.

use std::collections::{HashMap, HashSet};

use super::assemble::Input;
use super::authority::is_sure;
use super::loose::{MAX_NEIGHBOURS, NEAR, have_common};
use super::recognise::{Kind, Recognised};
use super::tag::Version;
use crate::types::{ListId, MailId, MessageId};

/// Steps up a thread when an ancestor is looked for; real series are answered within a few.
const MAX_CLIMB: usize = 300;
/// A cover letter without a version takes that of its patches if they came within this many seconds.
const COVER_PATCHES: i64 = 24 * 3600;

/// What the mails of one series have in common.
pub(super) type Key<'a> = (Person<'a>, Version, u32);

/// A sender: an address or one that is linked with it, and whether the domain speaks for it. Mail that only claims an address is somebody else's.
pub(super) type Person<'a> = (&'a str, bool);

/// The mails by arrival, then identity, with what is looked up again and again. Indices name mails.
pub(super) struct World<'a> {
    mails: Vec<&'a Input>,
    by_id: HashMap<&'a MessageId, usize>,
    by_mail: HashMap<MailId, usize>,
    /// How many of a mail's parents count: those behind an edge that was cut do not.
    kept: Vec<usize>,
    parent: Vec<Option<usize>>,
    /// Steps to the root of its thread.
    depth: Vec<usize>,
    /// The nearest ancestor that is a patch, a cover or a pull request.
    up: Vec<Option<usize>>,
    version: Vec<Version>,
    /// The sender's domain speaks for it, and it is the true one of those that carry its signature.
    sure: Vec<bool>,
    /// For what carries the signature of another mail, which is the true one: that one.
    copied: Vec<Option<usize>>,
}

impl<'a> World<'a> {
    /// Sorts the mails, each once, and finds out what answers what; `cuts` are edges (child, parent) that do not count.
    pub(super) fn new(inputs: &'a [Input], cuts: &[(MailId, MailId)]) -> World<'a> {
        let mut mails: Vec<&Input> = inputs.iter().collect();
        mails.sort_by_key(|m| (m.arrived, m.identity, m.mail));
        let mut seen = HashSet::new();
        mails.retain(|m| seen.insert(m.mail));
        let (sure, copied) = find_sure(&mails);
        let mut by_id: HashMap<&MessageId, usize> = HashMap::new();
        let mut by_mail = HashMap::new();
        for (at, mail) in mails.iter().enumerate() {
            // A name that several mails carry is that of the first one's author: his best authenticated mail, else his first.
            let named = by_id.entry(&mail.message_id).or_insert(at);
            let own = mail.person == mails[*named].person;
            if own && sure[at] && !sure[*named] {
                *named = at;
            }
            by_mail.insert(mail.mail, at);
        }
        let count = mails.len();
        let mut world = World {
            kept: mails.iter().map(|m| m.parents.len()).collect(),
            mails,
            by_id,
            by_mail,
            parent: vec![None; count],
            depth: vec![0; count],
            up: vec![None; count],
            version: vec![Version::FIRST; count],
            sure,
            copied,
        };
        world.cut(cuts);
        world.find_parents();
        let order = world.root_first();
        for at in &order {
            if let Some(parent) = world.parent[*at] {
                world.depth[*at] = world.depth[parent] + 1;
                let near = if world.is_candidate(parent) {
                    Some(parent)
                } else {
                    world.up[parent]
                };
                world.up[*at] = near;
            }
        }
        world.settle_versions(&order);
        world
    }

    pub(super) fn len(&self) -> usize {
        self.mails.len()
    }

    pub(super) fn mail(&self, at: usize) -> &'a Input {
        self.mails[at]
    }

    pub(super) fn find_mail(&self, mail: MailId) -> Option<usize> {
        self.by_mail.get(&mail).copied()
    }

    pub(super) fn find_id(&self, id: &MessageId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) fn facts(&self, at: usize) -> &'a Recognised {
        &self.mails[at].recognised
    }

    /// Seconds of arrival.
    pub(super) fn secs(&self, at: usize) -> i64 {
        self.mails[at].arrived.secs()
    }

    /// What the mail answers, nearest first, known or not.
    pub(super) fn answers(&self, at: usize) -> &'a [MessageId] {
        &self.mails[at].parents[..self.kept[at]]
    }

    pub(super) fn parent(&self, at: usize) -> Option<usize> {
        self.parent[at]
    }

    pub(super) fn depth(&self, at: usize) -> usize {
        self.depth[at]
    }

    pub(super) fn version(&self, at: usize) -> Version {
        self.version[at]
    }

    pub(super) fn is_candidate(&self, at: usize) -> bool {
        self.facts(at).kind.is_tracked()
    }

    pub(super) fn submitter(&self, at: usize) -> &'a str {
        &self.mails[at].person
    }

    pub(super) fn is_sure(&self, at: usize) -> bool {
        self.sure[at]
    }

    /// The mail of which this one is a copy under another name, by its signature.
    pub(super) fn copied(&self, at: usize) -> Option<usize> {
        self.copied[at]
    }

    pub(super) fn person(&self, at: usize) -> Person<'a> {
        (self.submitter(at), self.sure[at])
    }

    /// The lists that it was posted to, sorted.
    pub(super) fn lists(&self, at: usize) -> &'a [ListId] {
        &self.mails[at].lists
    }

    pub(super) fn total(&self, at: usize) -> u32 {
        self.facts(at).tag.total.unwrap_or(1)
    }

    pub(super) fn number(&self, at: usize) -> u32 {
        let unsaid = u32::from(self.facts(at).kind != Kind::Cover);
        self.facts(at).tag.number.unwrap_or(unsaid)
    }

    /// Whether it says its number, or answers a cover letter `0/1` of the same person.
    pub(super) fn is_numbered(&self, at: usize) -> bool {
        let lone = |up: usize| {
            self.number(up) == 0 && self.total(up) == 1 && self.person(up) == self.person(at)
        };
        self.facts(at).tag.number.is_some() || self.up[at].is_some_and(lone)
    }

    pub(super) fn key(&self, at: usize) -> Key<'a> {
        (self.person(at), self.version[at], self.total(at))
    }

    /// Patches, covers and pull requests above a mail, nearest first.
    pub(super) fn ancestors(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.up[at], |next| self.up[*next]).take(MAX_CLIMB)
    }

    /// For every mail, what `of` says of it or else of the nearest mail above it.
    pub(super) fn nearest<T: Copy>(&self, of: impl Fn(usize) -> Option<T>) -> Vec<Option<T>> {
        let mut found: Vec<Option<T>> = vec![None; self.len()];
        for at in self.root_first() {
            let above = self.parent[at].and_then(|p| of(p).or(found[p]));
            found[at] = above;
        }
        found
    }

    fn cut(&mut self, cuts: &[(MailId, MailId)]) {
        for (child, parent) in cuts {
            let (Some(child), Some(parent)) = (self.find_mail(*child), self.find_mail(*parent))
            else {
                continue;
            };
            let name = &self.mails[parent].message_id;
            if let Some(at) = self.answers(child).iter().position(|id| id == name) {
                self.kept[child] = at;
            }
        }
    }

    /// The nearest known mail that each answers. In a ring of answers the earliest mail answers nothing.
    fn find_parents(&mut self) {
        for at in 0..self.len() {
            let known = self.answers(at).iter().filter_map(|id| self.find_id(id));
            self.parent[at] = known.into_iter().find(|p| *p != at);
        }
        // 0: not looked at, else the walk that came by.
        let mut walk = vec![0usize; self.len()];
        for start in 0..self.len() {
            let mut at = start;
            while walk[at] == 0 {
                walk[at] = start + 1;
                match self.parent[at] {
                    Some(parent) => at = parent,
                    None => break,
                }
            }
            if walk[at] != start + 1 || self.parent[at].is_none() {
                continue;
            }
            let ring = std::iter::successors(Some(at), |next| {
                self.parent[*next].filter(|next| *next != at)
            });
            if let Some(first) = ring.min() {
                self.parent[first] = None;
            }
        }
    }

    /// All mails, each behind the one that it answers.
    fn root_first(&self) -> Vec<usize> {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.len()];
        let mut order = Vec::with_capacity(self.len());
        for at in 0..self.len() {
            match self.parent[at] {
                Some(parent) => children[parent].push(at),
                None => order.push(at),
            }
        }
        let mut next = 0;
        while next < order.len() {
            order.extend_from_slice(&children[order[next]]);
            next += 1;
        }
        order
    }

    /// Said versions; else that of the nearest ancestor of the same submitter and total, else 1. A cover without
    /// one takes its patches'.
    fn settle_versions(&mut self, order: &[usize]) {
        let of_patches = self.versions_of_patches();
        for at in order.iter().copied() {
            if !self.is_candidate(at) {
                continue;
            }
            let same =
                |a: &usize| self.person(*a) == self.person(at) && self.total(*a) == self.total(at);
            let version = self
                .facts(at)
                .tag
                .version
                .or_else(|| of_patches.get(&at).copied().flatten())
                .or_else(|| {
                    let above = self.is_numbered(at).then(|| self.ancestors(at).find(same));
                    above.flatten().map(|a| self.version[a])
                });
            self.version[at] = version.unwrap_or(Version::FIRST);
        }
    }

    /// For covers that say no version: the one that all patches right below them say; `None` if they do not agree, or if the cover has
    /// patches without a thread: those below it are a later version that answers it.
    fn versions_of_patches(&self) -> HashMap<usize, Option<Version>> {
        let mut found: HashMap<usize, Option<Version>> = HashMap::new();
        for at in (0..self.len()).filter(|at| self.is_candidate(*at) && self.number(*at) > 0) {
            let Some(cover) = self.up[at].filter(|c| {
                self.number(*c) == 0
                    && self.facts(*c).tag.version.is_none()
                    && self.person(*c) == self.person(at)
                    && self.total(*c) == self.total(at)
                    && self.secs(at).abs_diff(self.secs(*c)) <= COVER_PATCHES.unsigned_abs()
            }) else {
                continue;
            };
            let said = self.facts(at).tag.version;
            let all = found.entry(cover).or_insert(said);
            if *all != said {
                *all = None;
            }
        }
        if found.values().any(|version| version.is_some()) {
            let loose = self.loose_patches();
            found.retain(|cover, _| !self.has_loose_patches(&loose, *cover));
        }
        found
    }

    /// When the patches without a thread and a version came, by who sent them and by their count; in order.
    fn loose_patches(&self) -> HashMap<(Person<'a>, u32), Vec<usize>> {
        let mut found: HashMap<(Person<'a>, u32), Vec<usize>> = HashMap::new();
        for at in (0..self.len()).filter(|at| self.is_candidate(*at)) {
            let tag = &self.facts(at).tag;
            let patch = tag.number.is_some_and(|n| n > 0) && tag.version.is_none();
            if patch && self.answers(at).is_empty() {
                let of = (self.person(at), self.total(at));
                found.entry(of).or_default().push(at);
            }
        }
        found
    }

    /// Whether one of them was sent with that cover: by the same run of a tool, else within minutes.
    fn has_loose_patches(
        &self,
        loose: &HashMap<(Person<'a>, u32), Vec<usize>>,
        cover: usize,
    ) -> bool {
        let Some(patches) = loose.get(&(self.person(cover), self.total(cover))) else {
            return false;
        };
        let run = |at: usize| self.facts(at).stem.as_ref().map(|s| &s.sending);
        let near = |at: &usize| match (run(cover), run(*at)) {
            (Some(one), Some(other)) => one == other,
            _ => {
                self.secs(*at).abs_diff(self.secs(cover)) <= NEAR.unsigned_abs()
                    && have_common(self.lists(*at), self.lists(cover))
            }
        };
        let next = patches.partition_point(|at| *at < cover);
        let around = patches[next.saturating_sub(MAX_NEIGHBOURS)..]
            .iter()
            .take(2 * MAX_NEIGHBOURS);
        around.copied().any(|at| near(&at))
    }
}

/// Whose senders are authenticated, and which mails are copies of others. A signature counts once: whoever has a mail can send it
/// again under another Message-ID, with any of its signatures, from any server. The true one is what came from the domain's own
/// server, which stands without its signatures, also where somebody was faster; else what other signed mails of its series answer;
/// else what came first.
fn find_sure<'a>(mails: &[&'a Input]) -> (Vec<bool>, Vec<Option<usize>>) {
    let speaks = |mail: &Input| is_sure(&mail.standing) && !mail.recognised.rewritten;
    let of_series = |mail: &'a Input| {
        let tag = &mail.recognised.tag;
        (mail.person.as_str(), tag.version, tag.total)
    };
    let tracked = |mail: &&&Input| speaks(mail) && mail.recognised.kind.is_tracked();
    let named: HashSet<_> = mails
        .iter()
        .filter(tracked)
        .flat_map(|mail| mail.parents.iter().map(|id| (id, of_series(mail))))
        .collect();
    let rank = |at: &usize| {
        let mail = mails[*at];
        let is_named = named.contains(&(&mail.message_id, of_series(mail)));
        (!mail.standing.direct, !is_named)
    };
    let mut order: Vec<usize> = (0..mails.len()).collect();
    order.sort_by_key(|at| (rank(at), *at));
    let mut sure = vec![false; mails.len()];
    let mut copied = vec![None; mails.len()];
    // Who has a signature.
    let mut proofs: HashMap<&str, usize> = HashMap::new();
    for at in order {
        let mail = mails[at];
        let own = || mail.standing.proofs.iter().map(String::as_str);
        if !mail.standing.direct {
            copied[at] = own().find_map(|proof| proofs.get(proof).copied());
        }
        sure[at] = speaks(mail) && copied[at].is_none();
        for proof in own() {
            proofs.entry(proof).or_insert(at);
        }
    }
    (sure, copied)
}
