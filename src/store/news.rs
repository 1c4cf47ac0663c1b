//! Decisions about patches and where they landed, as far as their authors want to hear of it: what is needed to tell them, and that they
//! were told.
//!
//! The note that somebody was told has a higher number than all notes of which he was told: whoever adds one or the other locks the realm first.

use super::event::{self, NewEvent};
use super::notice::{self, CappedLetter};
use super::report::STATES;
use super::sql::Bind;
use super::{ListRow, Owed, Reader, Store, StoreError, ToReport, Tx, file, job, marks, now};
use crate::list::notice::{Happened, What};
use crate::types::{Job, MailId, SeriesId, Timestamp};

/// What is noted once an author was told.
const TOLD: &str = "told news";
/// What happens within so many seconds is told in one letter: who decides on a series decides on several patches of it.
const PATIENCE: i64 = 5;

/// Owes a look at series of which something was noted, if anybody wants to hear of such things: mostly nobody does, and an import may find
/// thousands that landed.
pub(super) async fn owe(tx: &mut Tx, series: &[i64]) -> Result<(), StoreError> {
    // The highest bit.
    let text = "select count(*) from report_wish where conflict >= $1";
    let wanted: Option<(i64,)> = tx.fetch_one(text, vec![STATES.into()]).await?;
    if wanted.is_none_or(|w| w.0 == 0) {
        return Ok(());
    }
    let jobs: Vec<(Job, i64)> = series
        .iter()
        .map(|id| (Job::News(SeriesId(*id)), 4))
        .collect();
    job::insert_soonest(tx, &jobs, now().plus_secs(PATIENCE)).await
}

/// The same for those that have a mail as their own patch or cover letter.
pub(super) async fn owe_of(tx: &mut Tx, mail: MailId) -> Result<(), StoreError> {
    let text = "select series from patch where mail = $1 and taken_over = 0 union select id from series where cover = $1";
    let found: Vec<(i64,)> = tx.fetch(text, vec![mail.0.into()]).await?;
    let found: Vec<i64> = found.into_iter().map(|r| r.0).collect();
    match found.is_empty() {
        true => Ok(()),
        false => owe(tx, &found).await,
    }
}

/// What was noted of a version.
#[derive(Debug, Clone)]
pub struct Noted {
    /// Decisions and landings, oldest first.
    pub all: Vec<Happened>,
    /// The number up to which its author was told; 0: never.
    pub told: i64,
    /// Its present state, Patchwork's number.
    pub state: i64,
    /// Its first mail came by mail: of what was only imported nothing is told.
    pub live: bool,
}

/// A commit that a patch landed as, and when that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandedWhen {
    /// Place of the patch, from 1.
    pub number: i64,
    /// The repository's name.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// When.
    pub found: Timestamp,
}

impl Reader {
    /// What was noted of a version.
    pub async fn load_noted(&self, of: &ToReport) -> Result<Noted, StoreError> {
        let list = marks(of.mails.len());
        let own = || of.mails.iter().map(|m| Bind::from(m.0));
        let text = format!(
            "select e.id, e.kind, e.actor, e.happened, e.detail, coalesce(p.number, 0) from event e \
             left join patch p on p.mail = e.mail and p.series = ? and p.taken_over = 0 \
             where e.kind in ('state', 'patch state') and e.mail in ({list})"
        );
        let binds = std::iter::once(of.series.0.into()).chain(own()).collect();
        type Row = (i64, String, String, i64, String, i64);
        let mut rows: Vec<Row> = self.fetch(text, binds).await?;
        let text = "select id, kind, actor, happened, detail, cast(0 as bigint) from event \
             where kind = 'landed' and patchset = $1";
        let landed: Vec<Row> = self.fetch(text, vec![of.patchset.into()]).await?;
        let label = format!("v{}: ", of.label);
        rows.extend(landed.into_iter().filter(|r| r.4.starts_with(&label)));
        rows.sort_by_key(|r| r.0);
        let happened = |(id, kind, who, when, detail, patch): Row| Happened {
            id,
            what: match (kind.as_str(), detail.parse().unwrap_or(0)) {
                ("landed", _) => What::Landed,
                ("patch state", state) => What::PatchState(patch, state),
                (_, state) => What::State(state),
            },
            who,
            when: Timestamp(when),
        };
        let text = format!(
            "select coalesce(max(id), 0) from event where kind = '{TOLD}' and mail in ({list})"
        );
        let told: Option<(i64,)> = self.fetch_one(text, own().collect()).await?;
        let text = "select s.state, (select count(*) from receipt r where r.mail = $1 and r.source <> 'import') \
             from series s where s.id = $2";
        let binds = vec![of.mails[0].0.into(), of.series.0.into()];
        let row: Option<(i64, i64)> = self.fetch_one(text, binds).await?;
        let (state, receipts) = row.unwrap_or((0, 0));
        Ok(Noted {
            all: rows.into_iter().map(happened).collect(),
            told: told.map_or(0, |r| r.0),
            state,
            live: receipts > 0,
        })
    }

    /// The commits that the patches of a version landed as, by branch, those of main branches first.
    pub async fn load_landed_when(&self, series: SeriesId) -> Result<Vec<LandedWhen>, StoreError> {
        let text = "select p.number, r.name, l.branch, l.commit_id, l.found from patch p join landed l on l.mail = p.mail \
             join repo r on r.id = l.repo where p.series = $1 \
             order by case when l.branch = r.branch then 0 else 1 end, l.repo, l.branch, p.number";
        let rows: Vec<(i64, String, String, String, i64)> =
            self.fetch(text, vec![series.0.into()]).await?;
        let row = |(number, repo, branch, commit, found)| LandedWhen {
            number,
            repo,
            branch,
            commit,
            found: Timestamp(found),
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

impl Store {
    /// Owes the letter about all that was noted of a version up to a number and notes that its author was told, if its limits allow it;
    /// strikes the job off. Where more was noted since, it is left to the look that is owed for that.
    pub async fn record_news(
        &self,
        (list, of, newest): (&ListRow, &ToReport, i64),
        letter: CappedLetter,
        detail: String,
        job: job::Held,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (realm, list, of) = (list.realm, list.id, of.clone());
        let actor = letter.letter.recipient.clone();
        self.write(move |tx| {
            Box::pin(async move {
                file::lock_realm(tx, realm).await?;
                // Who comes back late tells nothing: the claim that followed did.
                let text =
                    "update job set leased_until = leased_until where id = $1 and lease = $2";
                let held = vec![job.id.0.into(), job.lease.into()];
                if tx.execute(text, held).await? == 0 {
                    return Ok(());
                }
                if newest_of(tx, &of).await? > newest {
                    return job::finish(tx, &[job]).await;
                }
                if notice::insert(tx, letter, now).await? == Owed::Yes {
                    let note = NewEvent {
                        list,
                        kind: TOLD,
                        actor,
                        detail,
                        happened: now,
                    };
                    event::record_about(tx, of.mails[0], note).await?;
                }
                job::finish(tx, &[job]).await
            })
        })
        .await?;
        self.deliveries.notify_one();
        Ok(())
    }
}

/// The number of the newest note about a version, or about another one of its patchset that landed.
async fn newest_of(tx: &mut Tx, of: &ToReport) -> Result<i64, StoreError> {
    let text = format!(
        "select coalesce(max(id), 0) from event where (kind in ('state', 'patch state') and mail in ({})) \
         or (kind = 'landed' and patchset = ? and substr(detail, 1, cast(? as integer)) = ?)",
        marks(of.mails.len())
    );
    let label = format!("v{}: ", of.label);
    let mut binds: Vec<Bind> = of.mails.iter().map(|m| Bind::from(m.0)).collect();
    binds.extend([
        of.patchset.into(),
        (label.chars().count() as i64).into(),
        label.into(),
    ]);
    let row: Option<(i64,)> = tx.fetch_one(text, binds).await?;
    Ok(row.map_or(0, |r| r.0))
}
