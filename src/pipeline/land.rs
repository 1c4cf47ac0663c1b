//! Branches moved: which patches came in with them, and which left.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Ctx, PipelineError, think};
use crate::diff::mailinfo::mailinfo;
use crate::diff::patch_id::{PatchId, patch_id};
use crate::git::{Ends, check_pattern};
use crate::mail;
use crate::patchset::{Candidate, Landings, Recognised, shown_alone};
use crate::store::{BranchOf, Pending, RepoRow};
use crate::types::{Job, MailId, MessageId, RealmId, RepoId, Timestamp};

/// Series that are looked at when a branch moves, the newest.
const SERIES: i64 = 500;

/// A branch with commits that were not looked at yet.
#[derive(Debug, Clone)]
struct Move {
    place: BranchOf,
    old: Option<String>,
    new: String,
    /// The main branch's commit, if this is another branch.
    main: Option<String>,
}

/// A patch with what it may be known by.
pub(super) type Known = (Pending, Candidate);

/// A series that was applied: its row, in which repository, its realm, and the commits at its ends.
pub(super) type Applied = (i64, String, RealmId, Ends);

/// A patch whose commit left a branch.
struct Lost {
    patch: Pending,
    candidate: Candidate,
    /// What that commit changed: not what the mail says, if it had to be merged or was edited.
    change: Option<PatchId>,
}

impl Lost {
    /// The commit that took the old one's place.
    fn find<'a>(&self, all: &'a Landings) -> Option<&'a str> {
        let as_it_landed = || Candidate {
            patch_id: self.change,
            ..self.candidate.clone()
        };
        let found = all.find(&self.candidate, i64::MIN);
        found.or_else(|| all.find(&as_it_landed(), i64::MIN))
    }
}

impl Ctx {
    /// Follows other branches of a repository than before, beside its main one.
    pub async fn follow(&self, repo: RepoId, patterns: &[String]) -> Result<(), PipelineError> {
        for pattern in patterns {
            check_pattern(pattern)?;
        }
        self.store.update_follow(repo, patterns).await?;
        let jobs = vec![(Job::Fetch(repo), 3)];
        Ok(self.store.insert_jobs(jobs, crate::store::now()).await?)
    }

    /// Looks at what came into the followed branches of a repository since they were looked at last. Safe to repeat.
    ///
    /// `tip` is the main branch's commit; the caller notes it, so that nothing is passed over if this breaks off.
    pub(super) async fn land(
        &self,
        repo: &RepoRow,
        tip: Option<&String>,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let seen = self.store.load_branches(repo.id).await?;
        let moves = self.moves(repo, tip, &seen).await?;
        if moves.is_empty() {
            return Ok(());
        }
        let pending = self.store.load_pending(repo.id, SERIES).await?;
        let mut pending = self.candidates(pending).await?;
        self.add_wholes(&mut pending, None).await?;
        // What a branch has that is new here came in by the branch that had it first.
        let mut before: Vec<String> = seen.into_iter().map(|s| s.1).collect();
        before.extend(repo.tip.clone());
        for one in moves {
            let not = match &one.old {
                Some(old) => vec![old.clone()],
                None => before.clone(),
            };
            self.look(&one, not, &pending, now).await?;
            before.push(one.new.clone());
            if one.place.branch != repo.branch {
                let branch = one.place.branch.clone();
                self.store.record_branch(repo.id, branch, one.new).await?;
            }
        }
        Ok(())
    }

    async fn moves(
        &self,
        repo: &RepoRow,
        tip: Option<&String>,
        seen: &[(String, String)],
    ) -> Result<Vec<Move>, PipelineError> {
        let (git, name, follow) = (self.repos.clone(), repo.name.clone(), repo.follow.clone());
        let others = think(move || git.branches(&name, &follow)).await??;
        let place = |branch: &str| BranchOf {
            repo: repo.id,
            name: repo.name.clone(),
            branch: branch.to_owned(),
        };
        let main = tip.map(|new| Move {
            place: place(&repo.branch),
            old: repo.tip.clone(),
            new: new.clone(),
            main: None,
        });
        let other = |(branch, new): (String, String)| Move {
            place: place(&branch),
            old: seen.iter().find(|s| s.0 == branch).map(|s| s.1.clone()),
            new,
            main: tip.cloned(),
        };
        let others = others.into_iter().filter(|(b, _)| *b != repo.branch);
        let all = main.into_iter().chain(others.map(other));
        Ok(all.filter(|m| m.old.as_deref() != Some(&m.new)).collect())
    }

    /// Looks at one branch: what came in, and what left because it was rewritten.
    async fn look(
        &self,
        one: &Move,
        not: Vec<String>,
        pending: &[Known],
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        let lost = self.lost(one).await?;
        if pending.is_empty() && lost.is_empty() {
            return Ok(());
        }
        let (git, name, new) = (self.repos.clone(), one.place.name.clone(), one.new.clone());
        let came = think(move || git.arrivals(&name, &not, &new)).await??;
        let came = Landings::new(&came);
        let key = |p: &Pending| (p.series, p.number);
        let gone: HashSet<(i64, i64)> = lost.iter().map(|l| key(&l.patch)).collect();
        let rest = pending.iter().filter(|(p, _)| !gone.contains(&key(p)));
        let come = |(p, c): &Known| Some((p.clone(), came.find(c, i64::MIN)?.to_owned()));
        let mut found: Vec<(Pending, String)> = rest.filter_map(come).collect();
        let mut dropped = Vec::new();
        if !lost.is_empty() {
            let main = one.main.as_deref();
            let older = self.recent(&one.place, &one.new, main).await?;
            for one in lost {
                let find = |all: &Landings| one.find(all).map(str::to_owned);
                match find(&came).or_else(|| find(&older)) {
                    Some(commit) => found.push((one.patch, commit)),
                    None => dropped.push(one.patch),
                }
            }
        }
        self.record(&one.place, found, now).await?;
        self.drop_patches(&one.place, dropped, now).await
    }

    /// The patches whose commits are in a branch no more: it was rewritten.
    async fn lost(&self, one: &Move) -> Result<Vec<Lost>, PipelineError> {
        let Some(old) = one.old.clone() else {
            return Ok(Vec::new());
        };
        let (git, name) = (self.repos.clone(), one.place.name.clone());
        let (from, to) = (old.clone(), one.new.clone());
        let left = think(move || git.departures(&name, &from, &to)).await??;
        let lost = self.store.load_landed_in(&one.place, &left).await?;
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let (git, name, to) = (self.repos.clone(), one.place.name.clone(), one.new.clone());
        let left = think(move || git.arrivals(&name, &[to], &old)).await??;
        let changes: HashMap<String, Option<PatchId>> =
            left.into_iter().map(|c| (c.commit, c.patch_id)).collect();
        let (patches, commits): (Vec<Pending>, Vec<String>) = lost.into_iter().unzip();
        let known = self.candidates(patches).await?;
        let lost = known.into_iter().zip(commits);
        Ok(lost
            .map(|((patch, candidate), commit)| Lost {
                patch,
                candidate,
                change: changes.get(&commit).copied().flatten(),
            })
            .collect())
    }

    /// Records what was found, the newest series first: an event names the version that people look at.
    pub(super) async fn record(
        &self,
        place: &BranchOf,
        found: Vec<(Pending, String)>,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        for landed in by_series(found, |(p, _)| p.series) {
            let patchset = landed[0].0.patchset;
            let new = self.store.record_landed(place.clone(), landed, None, now);
            match new.await? {
                0 => {}
                count => tracing::info!(
                    patchset.id = patchset,
                    repo.name = place.name,
                    "{count} patches of patchset {patchset} landed in {place}"
                ),
            }
        }
        Ok(())
    }

    /// Records what left, for each series.
    async fn drop_patches(
        &self,
        place: &BranchOf,
        dropped: Vec<Pending>,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        for patches in by_series(dropped, |p| p.series) {
            let (patchset, count) = (patches[0].patchset, patches.len());
            tracing::info!(
                patchset.id = patchset,
                repo.name = place.name,
                "{count} patches of patchset {patchset} left {place}"
            );
            let recorded = self.store.record_dropped(place.clone(), patches, now);
            recorded.await?;
        }
        Ok(())
    }

    pub(super) async fn candidates(
        &self,
        pending: Vec<Pending>,
    ) -> Result<Vec<Known>, PipelineError> {
        let mut candidates = Vec::with_capacity(pending.len());
        let mails: Vec<MailId> = pending.iter().map(|p| p.mail).collect();
        let mut pending = pending.into_iter();
        for mails in self.store.batches(&mails).await? {
            let found = self.store.load_bytes_of(&mails).await?;
            let shadowed = self.store.find_shadowed(None, &mails).await?;
            let batch: Vec<Pending> = pending.by_ref().take(mails.len()).collect();
            let read = think(move || {
                let bytes: BTreeMap<i64, Vec<u8>> = found
                    .into_iter()
                    .map(|(mail, bytes, _)| (mail.0, bytes))
                    .collect();
                let read = |p: Pending| {
                    // A mail on which reading breaks off has no patch-id, and keeps no other from being found.
                    let calm = || candidate(&p, bytes.get(&p.mail.0));
                    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(calm));
                    let mut candidate = found.unwrap_or_else(|_| candidate(&p, None));
                    if shadowed.contains(&p.mail) {
                        candidate.message_id = None;
                    }
                    (p, candidate)
                };
                batch.into_iter().map(read).collect::<Vec<_>>()
            });
            candidates.extend(read.await?);
        }
        Ok(candidates)
    }
}

impl Ctx {
    /// Adds what whole series change, where they were applied: a maintainer may make one commit of all patches.
    /// `fresh` is what is not stored yet.
    pub(super) async fn add_wholes(
        &self,
        known: &mut [Known],
        fresh: Option<Applied>,
    ) -> Result<(), PipelineError> {
        let mut patches: HashMap<i64, HashSet<Option<PatchId>>> = HashMap::new();
        for (patch, candidate) in known.iter() {
            let all = patches.entry(patch.series).or_default();
            all.insert(candidate.patch_id);
        }
        patches.retain(|_, all| all.len() > 1);
        let series: Vec<i64> = patches.keys().copied().collect();
        let mut places: BTreeMap<(String, RealmId), Vec<(i64, Ends)>> = BTreeMap::new();
        let stored = self.store.load_applied_ends(&series).await?;
        for (series, repo, realm, ends) in stored.into_iter().chain(fresh) {
            let place = places.entry((repo, realm)).or_default();
            place.push((series, ends));
        }
        let mut wholes: HashMap<i64, PatchId> = HashMap::new();
        for ((repo, realm), all) in places {
            let git = self.repos.clone();
            let private = Some(realm.0).filter(|_| realm != RealmId::PUBLIC);
            let ends: Vec<Ends> = all.iter().map(|(_, ends)| ends.clone()).collect();
            let changes = think(move || git.changes(&repo, private, &ends)).await?;
            let changes = changes.unwrap_or_else(|error| {
                // What is not known is not found; all else is.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "whole series cannot be compared with commits: {error}"
                );
                HashMap::new()
            });
            let change = |(series, (_, head)): (i64, Ends)| Some((series, *changes.get(&head)?));
            wholes.extend(all.into_iter().filter_map(change));
        }
        for (patch, candidate) in known {
            // Where one patch changes all that the series does, the others are not in its commit.
            let whole = wholes.get(&patch.series).copied();
            candidate.whole = whole.filter(|id| !patches[&patch.series].contains(&Some(*id)));
        }
        Ok(())
    }
}

/// Groups of one series each, the newest series first.
fn by_series<T>(patches: Vec<T>, series: impl Fn(&T) -> i64) -> impl Iterator<Item = Vec<T>> {
    let mut groups: BTreeMap<i64, Vec<T>> = BTreeMap::new();
    for patch in patches {
        groups.entry(series(&patch)).or_default().push(patch);
    }
    groups.into_values().rev()
}

fn candidate(patch: &Pending, bytes: Option<&Vec<u8>>) -> Candidate {
    // What another version of this program wrote is read again by `reclassify`; until then the title is unknown.
    let facts: Option<Recognised> = serde_json::from_str(&patch.recognised).ok();
    let letter = bytes.and_then(|b| mailinfo(&shown_alone(b, &mail::parse(b))).ok());
    Candidate {
        message_id: MessageId::parse(&patch.message_id),
        title: facts.map(|f| f.normal_title).unwrap_or_default(),
        patch_id: letter.and_then(|l| patch_id(&l.patch)),
        whole: None,
    }
}
