//! After `250`: file it. Safe to run twice.
//!
//! First half: the message gets its place, in one transaction a batch. Second half: what belongs together is read, thought about
//! outside any lock, and recorded if the realm is still as it was read; else thought about again.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Ctx, PipelineError, think};
use crate::mail::{self, Message};
use crate::patchset::{self, Correction, Kind, Recognised, steer};
use crate::query;
use crate::store::index::Entry;
use crate::store::job::Held;
use crate::store::{
    Closure, Done, KnownMail, NewMail, NewPatchset, NewSeries, Receipt, Recorded, StoreError,
};
use crate::types::{BlobHash, Job, ListId, MailId, RealmId, ReceiptId, Timestamp};
use crate::verdict::{Standing, Verdict};

/// A receipt to be filed, with the job that asks for it.
#[derive(Debug, Clone, Copy)]
pub struct Filing {
    /// The job, as it was claimed.
    pub job: Held,
    /// The receipt.
    pub receipt: ReceiptId,
}

/// Tries before a busy realm is left for later.
const MAX_STALE: usize = 50;

impl Ctx {
    /// Files receipts. With `plain`, nothing is recognised: the way out for mails on which recognition fails.
    pub async fn file(&self, filings: &[Filing], plain: bool) -> Result<(), PipelineError> {
        let ids: Vec<ReceiptId> = filings.iter().map(|f| f.receipt).collect();
        let receipts = self.store.load_receipts(&ids).await?;
        let mut realms: BTreeMap<RealmId, Vec<Receipt>> = BTreeMap::new();
        let known: HashSet<ReceiptId> = receipts.iter().map(|r| r.id).collect();
        for receipt in receipts {
            realms.entry(receipt.realm).or_default().push(receipt);
        }
        for (realm, receipts) in realms {
            let job_of = |r: &Receipt| filings.iter().find(|f| f.receipt == r.id).map(|f| f.job);
            let jobs: Vec<Held> = receipts.iter().filter_map(job_of).collect();
            self.file_in_realm(realm, receipts, jobs, plain).await?;
        }
        // Jobs whose receipts were filed before the last crash.
        let gone: Vec<Held> = filings
            .iter()
            .filter(|f| !known.contains(&f.receipt))
            .map(|f| f.job)
            .collect();
        if !gone.is_empty() {
            self.store.finish_jobs(gone).await?;
        }
        Ok(())
    }

    async fn file_in_realm(
        &self,
        realm: RealmId,
        receipts: Vec<Receipt>,
        jobs: Vec<Held>,
        plain: bool,
    ) -> Result<(), PipelineError> {
        let ids: Vec<ReceiptId> = receipts.iter().map(|r| r.id).collect();
        let quiet = receipts.iter().all(|r| r.source == "import");
        let mails = think(move || {
            let read = |r: Receipt| {
                let size = r.bytes.len();
                understand(mail::parse(&r.bytes), size, &r.into(), plain)
            };
            receipts.into_iter().map(read).collect::<Vec<_>>()
        })
        .await?;
        self.file_understood(realm, ids, mails, jobs, quiet).await
    }

    /// Files mails that were understood already, for their receipts; strikes `jobs` off.
    pub(super) async fn file_understood(
        &self,
        realm: RealmId,
        ids: Vec<ReceiptId>,
        mails: Vec<NewMail>,
        jobs: Vec<Held>,
        quiet: bool,
    ) -> Result<(), PipelineError> {
        let wishing: Vec<bool> = mails.iter().map(|m| m.wishing).collect();
        let imported: Vec<bool> = mails.iter().map(|m| m.import).collect();
        let mails = ids.iter().copied().zip(mails).collect();
        let filed = self.store.file_mails(realm, mails).await?;
        let rows: Vec<MailId> = filed.iter().flatten().copied().collect();
        if rows.is_empty() {
            // All of them were taken back meanwhile.
            return Ok(self.store.finish_jobs(jobs).await?);
        }
        let wishing = filed.iter().zip(wishing).filter(|(_, wishing)| *wishing);
        let wishing = wishing.filter_map(|(mail, _)| *mail).collect();
        let live = filed.iter().zip(imported).filter(|(_, import)| !import);
        let live = live.filter_map(|(mail, _)| *mail).collect();
        let filed = ids.into_iter().zip(filed);
        let receipts = filed.filter_map(|(r, mail)| Some((r, mail?))).collect();
        let done = Done {
            receipts,
            jobs,
            quiet,
            wishing,
            live,
            base_url: self.base_url.to_string(),
        };
        self.regroup(realm, &rows, done).await?;
        metrics::counter!("patchpost_mails_filed").increment(rows.len() as u64);
        if self.store.count_filed(realm, rows.len()) {
            let job = (Job::Learn(realm), 5);
            self.store
                .insert_jobs(vec![job], crate::store::now())
                .await?;
        }
        Ok(())
    }

    /// Trains the dictionary with which a realm's mail is stored from now on.
    pub async fn learn(&self, realm: RealmId, job: Held) -> Result<(), PipelineError> {
        let now = crate::store::now();
        match self.store.train_dictionary(realm, now).await {
            Ok(true) => tracing::info!(realm = realm.0, "trained a dictionary for stored mail"),
            Ok(false) => {}
            // Some mails are not alike enough; more of them may be.
            Err(StoreError::Unusable(error)) => {
                tracing::warn!(
                    error,
                    "no dictionary was trained; mail is stored without one"
                );
            }
            Err(error) => return Err(error.into()),
        }
        Ok(self.store.finish_jobs(vec![job]).await?)
    }

    /// Assembles what may belong together with `seeds` and records it.
    pub async fn regroup(
        &self,
        realm: RealmId,
        seeds: &[MailId],
        done: Done,
    ) -> Result<Recorded, PipelineError> {
        for _ in 0..MAX_STALE {
            let closure = self.store.load_closure(realm, seeds).await?;
            let version = closure.version;
            let mails: Vec<MailId> = closure.mails.iter().map(|m| m.mail).collect();
            let patchsets = think(move || group(closure)).await?;
            match self
                .store
                .record_patchsets(realm, version, mails, patchsets, done.clone())
                .await
            {
                Err(StoreError::Stale) => {}
                other => return Ok(other?),
            }
        }
        Err(StoreError::Stale.into())
    }
}

pub(super) fn to_json(recognised: &Recognised) -> String {
    serde_json::to_string(recognised).expect("plain values are written as JSON")
}

/// What filing has to know of a receipt besides the mail itself.
pub(super) struct Owed {
    pub list: ListId,
    pub arrived: Timestamp,
    pub import: bool,
    pub send_at: Timestamp,
    pub hash: BlobHash,
    pub verdict: Verdict,
}

impl From<Receipt> for Owed {
    fn from(receipt: Receipt) -> Self {
        Owed {
            list: receipt.list,
            arrived: receipt.arrived,
            import: receipt.source == "import",
            send_at: receipt.send_at,
            hash: receipt.hash,
            verdict: receipt.verdict,
        }
    }
}

/// Reads a mail of `size` bytes as its list will show it. With `plain`, nothing is recognised and the mail ties to nothing:
/// recognition is what failed.
pub(super) fn understand(message: Message, size: usize, owed: &Owed, plain: bool) -> NewMail {
    let mut keys = Vec::new();
    let (mut kind, mut recognised, mut files) = (Kind::Plain.as_str(), String::new(), Vec::new());
    if !plain {
        let found = patchset::recognise(&message);
        let input = patchset::Input {
            mail: MailId(0),
            identity: message.identity,
            message_id: message.message_id.clone(),
            parents: message.parents.clone(),
            arrived: owed.arrived,
            lists: vec![owed.list],
            standing: Standing::from(&owed.verdict),
            person: found.submitter.clone(),
            recognised: found,
        };
        keys = patchset::link_keys(&input);
        (kind, recognised) = (input.recognised.kind.as_str(), to_json(&input.recognised));
        files = input.recognised.files;
    }
    let patch = (!plain).then(|| patchset::patch_text(&message)).flatten();
    // Old mail wishes nothing any more.
    let wishing = !plain && !owed.import && !steer::wishes(&message, |_| true).is_empty();
    let marks = query::marks(&message, patch);
    let author = message.author();
    let mut flaws: Vec<String> = message.flaws.iter().map(|f| format!("{f:?}")).collect();
    flaws.extend(plain.then(|| "Unclassified".to_owned()));
    flaws.dedup();
    let Message {
        message_id,
        aliases,
        parents,
        subject,
        date,
        text,
        identity,
        ..
    } = message;
    NewMail {
        list: owed.list,
        arrived: owed.arrived,
        import: owed.import,
        send_at: owed.send_at,
        identity,
        hash: owed.hash,
        size: i64::try_from(size).unwrap_or(i64::MAX),
        message_id,
        aliases,
        parents,
        entry: Entry::new(&subject, &author.name, &author.address, &text, &files)
            .with_marks(&marks),
        subject,
        author: author.name,
        address: author.address,
        date,
        flaws: flaws.join(" "),
        kind: kind.to_owned(),
        recognised,
        verdict: owed.verdict.clone(),
        text,
        keys,
        wishing,
    }
}

/// Mails of the archive as the grouping sees them, and what people said of them.
pub(super) fn inputs(closure: &Closure) -> (Vec<patchset::Input>, Vec<Correction>) {
    let read = |m: &KnownMail| {
        // A row that cannot be read was written by another version; `reclassify` reads the mail again.
        let recognised: Recognised = serde_json::from_str(&m.recognised).ok()?;
        let (identity, message_id, parents) = (m.identity, m.message_id.clone(), m.parents.clone());
        let person = closure.people.get(&recognised.submitter);
        Some(patchset::Input {
            mail: m.mail,
            identity,
            message_id,
            parents,
            arrived: m.arrived,
            lists: m.lists.clone(),
            standing: Standing::from(&m.verdict),
            person: person.unwrap_or(&recognised.submitter).clone(),
            recognised,
        })
    };
    let said = closure.corrections.iter();
    let corrections = said.filter_map(|c| Correction::parse(&c.kind, c.mail, &c.detail));
    (
        closure.mails.iter().filter_map(read).collect(),
        corrections.collect(),
    )
}

/// The thinking: stored words → inputs → patchsets, corrected by what people said → rows.
pub(super) fn group(closure: Closure) -> Vec<NewPatchset> {
    let (inputs, corrections) = inputs(&closure);
    // The last word on each mail, with its place in the order of all.
    let said = |kind: &str| -> Said {
        let all = closure.corrections.iter().enumerate();
        let all = all.filter(|(_, c)| c.kind == kind);
        all.filter_map(|(at, c)| Some((c.mail, (at, c.detail.parse().ok()?))))
            .collect()
    };
    let (states, of_patches) = (said("state"), said("patch state"));
    let sets = patchset::assemble_corrected(&inputs, &corrections);
    let row = |set| row(set, &states, &of_patches);
    sets.into_iter().map(row).collect()
}

/// States that people gave, with the place of each in the order of all that was said; 0 takes one back.
type Said = HashMap<MailId, (usize, i64)>;

/// The state that a person gave a series last, by any of its own mails.
fn state_of(series: &patchset::Series, states: &Said) -> Option<i64> {
    let own = series.patches.iter().filter(|p| !p.taken_over);
    let mails = own.map(|p| p.mail).chain(series.cover);
    let last = mails.filter_map(|m| states.get(&m)).max();
    last.map(|(_, state)| *state).filter(|state| *state > 0)
}

/// The states that people gave patches of a series by themselves; one that was taken over keeps its own.
fn states_of(series: &patchset::Series, of_patches: &Said) -> Vec<(MailId, i64)> {
    let own = |mail| Some((mail, of_patches.get(&mail).filter(|said| said.1 > 0)?.1));
    series.patches.iter().filter_map(|p| own(p.mail)).collect()
}

fn row(set: patchset::Patchset, states: &Said, of_patches: &Said) -> NewPatchset {
    let series = set.series.into_iter().map(|s| NewSeries {
        state: state_of(&s, states),
        states: states_of(&s, of_patches),
        anchor: s.anchor,
        label: s.label,
        version: i64::from(s.version.major),
        total: i64::from(s.total),
        patches: s
            .patches
            .iter()
            .map(|p| (i64::from(p.number), p.mail, p.taken_over))
            .collect(),
        comments: s.comments,
        cover: s.cover,
        complete: s.complete,
        superseded: s.superseded,
        claims: s.claims,
        submitter: s.submitter,
        submitter_name: s.submitter_name,
        title: s.title,
        base_commit: s.base_commit,
        flags: s.flags.join(" "),
        reason: s.reason,
        arrived: s.arrived,
    });
    NewPatchset {
        anchor: set.anchor,
        title: set.title,
        prefixes: set.prefixes.join(" "),
        series: series.collect(),
    }
}
