//! What authors hear of their own patches: what is needed to tell them, that they were told, and what they want to hear.

use super::event::{self, NewEvent};
use super::notice::{self, CappedLetter};
use super::person::LINKED;
use super::sql::Bind;
use super::{Owed, Reader, Store, StoreError, Tx, job, marks};
use crate::list::notice::{Arrived, ReportWish};
use crate::types::{Job, ListId, MailId, SeriesId, Timestamp};
use crate::verdict::Level;

/// A version of which its author may hear.
#[derive(Debug, Clone)]
pub struct ToReport {
    /// Its row.
    pub series: SeriesId,
    /// The patchset's number.
    pub patchset: i64,
    /// `2`, `3-r1`.
    pub label: String,
    /// Title without tags.
    pub title: String,
    /// How many patches it says it has.
    pub total: i64,
    /// The numbers of those that are there.
    pub numbers: Vec<i64>,
    /// All are there.
    pub complete: bool,
    /// Its own mails, the cover letter or the first patch first; never empty.
    pub mails: Vec<MailId>,
    /// Who wrote the first of them, as it says; `None` if that domain does not speak for it.
    pub author: Option<String>,
    /// When the newest of them came.
    pub arrived: Timestamp,
    /// It is still to be applied.
    pub owed: bool,
    /// What its author was told of it.
    pub told: Vec<Told>,
}

/// What an author was told of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// That patches are missing.
    Incomplete,
    /// What became of it.
    Outcome,
}

/// `report_wish.conflict` is a number that held 0 or 1; what came later are further bits of it.
const CONFLICT: i64 = 1;
pub(super) const STATES: i64 = 2;

/// What each is noted as.
const KINDS: [(Told, &str); 2] = [
    (Told::Incomplete, "told incomplete"),
    (Told::Outcome, "told"),
];

/// Owes a look at the series that have one of these mails as a patch of their own.
pub(super) async fn owe(tx: &mut Tx, mails: &[MailId]) -> Result<(), StoreError> {
    for chunk in mails.chunks(300) {
        let text = format!(
            "select distinct series from patch where taken_over = 0 and mail in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
        let found: Vec<(i64,)> = tx.fetch(text, binds).await?;
        let jobs: Vec<(Job, i64)> = found
            .into_iter()
            .map(|(id,)| (Job::Report(SeriesId(id)), 4))
            .collect();
        job::insert(tx, &jobs, Timestamp(0)).await?;
    }
    Ok(())
}

impl Reader {
    /// A version with what its author may hear of it; `None` if it is gone or has no mail of its own.
    pub async fn load_to_report(&self, series: SeriesId) -> Result<Option<ToReport>, StoreError> {
        type Row = (i64, String, String, i64, i64, Option<i64>, i64);
        let text = "select s.patchset, s.label, s.title, s.total, s.complete, s.cover, \
             (select count(*) from series o where o.anchor = s.claims and o.submitter = s.submitter) from series s where s.id = $1";
        let row: Option<Row> = self.fetch_one(text, vec![series.0.into()]).await?;
        let Some((patchset, label, title, total, complete, cover, posing)) = row else {
            return Ok(None);
        };
        let text = "select p.number, p.mail, p.taken_over, m.arrived from patch p join mail m on m.id = p.mail \
             where p.series = $1 and m.state = 0 order by p.number";
        let patches: Vec<(i64, i64, i64, i64)> = self.fetch(text, vec![series.0.into()]).await?;
        let own = patches.iter().filter(|p| p.2 == 0);
        let arrived = own.clone().map(|p| p.3).max();
        let mails: Vec<i64> = cover.into_iter().chain(own.map(|p| p.1)).collect();
        let Some(arrived) = arrived else {
            return Ok(None);
        };
        let text = "select address, level from mail where id = $1";
        let first: Option<(String, i64)> = self.fetch_one(text, vec![mails[0].into()]).await?;
        // A copy has the signature of what it only claims to belong to.
        let author = first.filter(|(_, level)| posing == 0 && *level >= Level::Aligned.rank());
        let text = "select count(*) from job where kind = 'apply' and key = $1 and state = 0";
        let owed: Option<(i64,)> = self
            .fetch_one(text, vec![series.to_string().into()])
            .await?;
        let text = format!(
            "select distinct kind from event where kind in ('{}', '{}') and mail in ({})",
            KINDS[0].1,
            KINDS[1].1,
            marks(mails.len())
        );
        let binds = mails.iter().map(|m| Bind::from(*m)).collect();
        let told: Vec<(String,)> = self.fetch(text, binds).await?;
        let known = |(word,): &(String,)| KINDS.iter().find(|(_, kind)| kind == word);
        Ok(Some(ToReport {
            series,
            patchset,
            label,
            title,
            total,
            numbers: patches.iter().map(|p| p.0).collect(),
            complete: complete == 1,
            mails: mails.into_iter().map(MailId).collect(),
            author: author.map(|(address, _)| address),
            arrived: Timestamp(arrived),
            owed: owed.is_some_and(|r| r.0 > 0),
            told: told
                .iter()
                .filter_map(known)
                .map(|(told, _)| *told)
                .collect(),
        }))
    }

    /// Whether a patch or cover letter of an author, given in lower case, came to the realm of a version's mails before their first,
    /// the mails themselves left out: they may come in any order. What nothing proves to be the author's counts only if it was imported.
    pub async fn has_sent_before(
        &self,
        mails: &[MailId],
        address: &str,
    ) -> Result<bool, StoreError> {
        let Some(first) = mails.first() else {
            return Ok(false);
        };
        let text = format!(
            "select o.id from mail m join mail o on o.realm = m.realm where m.id = ? and lower(o.address) = ? \
             and o.kind in ('patch', 'cover', 'pull-request') and o.state = 0 and o.arrived < m.arrived and o.id not in ({}) \
             and (o.level = 1 or exists (select 1 from receipt r where r.mail = o.id and r.source = 'import')) limit 1",
            marks(mails.len())
        );
        let own = mails.iter().map(|m| Bind::from(m.0));
        let binds = [first.0.into(), address.into()].into_iter().chain(own);
        let binds = binds.collect();
        let row: Option<(i64,)> = self.fetch_one(text, binds).await?;
        Ok(row.is_some())
    }

    /// What the person with an address, given in lower case, wants to hear of own patches.
    pub async fn load_report_wish(&self, address: &str) -> Result<ReportWish, StoreError> {
        let text = format!(
            "select arrived, conflict from report_wish where address in ({LINKED}) order by changed desc limit 1"
        );
        let row: Option<(String, i64)> = self.fetch_one(text, vec![address.into()]).await?;
        let usual = ReportWish::default();
        Ok(row.map_or(usual, |(arrived, flags)| ReportWish {
            arrived: Arrived::parse(&arrived).unwrap_or(usual.arrived),
            conflict: flags & CONFLICT != 0,
            states: flags & STATES != 0,
        }))
    }

    /// Since when the person with an address, given in lower case, wants to hear of states and landings of own patches; `None` if not at all.
    pub async fn load_news_wish(&self, address: &str) -> Result<Option<Timestamp>, StoreError> {
        let text = format!(
            "select conflict, changed from report_wish where address in ({LINKED}) order by changed desc limit 1"
        );
        let row: Option<(i64, i64)> = self.fetch_one(text, vec![address.into()]).await?;
        let wanted = row.filter(|(flags, _)| flags & STATES != 0);
        Ok(wanted.map(|(_, changed)| Timestamp(changed)))
    }
}

impl Store {
    /// Keeps what somebody wants to hear of own patches.
    pub async fn record_report_wish(
        &self,
        address: String,
        wish: ReportWish,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let flag = |wanted: bool, flag: i64| if wanted { flag } else { 0 };
        let flags = flag(wish.conflict, CONFLICT) | flag(wish.states, STATES);
        let row = vec![
            address.into(),
            wish.arrived.as_str().into(),
            flags.into(),
            now.0.into(),
        ];
        let tail = "on conflict (address) do update set arrived = excluded.arrived, conflict = excluded.conflict, changed = excluded.changed";
        self.write(move |tx| {
            Box::pin(async move {
                let head = "report_wish (address, arrived, conflict, changed)";
                tx.insert(head, vec![row], tail).await?;
                Ok(())
            })
        })
        .await
    }

    /// Owes a report about the mail that stands for its version and notes that it was told, if its limits allow it; strikes the job off.
    pub async fn record_report(
        &self,
        (list, mail, told): (ListId, MailId, Told),
        letter: CappedLetter,
        detail: String,
        job: job::Held,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (actor, kind) = (letter.letter.recipient.clone(), word(told));
        self.write(move |tx| {
            Box::pin(async move {
                // Who comes back late tells nothing: the claim that followed did.
                let text =
                    "update job set leased_until = leased_until where id = $1 and lease = $2";
                let held = vec![job.id.0.into(), job.lease.into()];
                if tx.execute(text, held).await? == 0 {
                    return Ok(());
                }
                if notice::insert(tx, letter, now).await? == Owed::Yes {
                    let note = NewEvent {
                        list,
                        kind,
                        actor,
                        detail,
                        happened: now,
                    };
                    event::record_about(tx, mail, note).await?;
                }
                job::finish(tx, &[job]).await
            })
        })
        .await?;
        self.deliveries.notify_one();
        Ok(())
    }
}

fn word(told: Told) -> &'static str {
    let found = KINDS.iter().find(|(known, _)| *known == told);
    found.map_or("told", |(_, word)| word)
}
