//! Mails of our own that are owed to one address each: confirmations, notices, probes. Claimed and recorded as copies are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::delivery::{CLAIM_SECS, Outcome, REFUSED, but, domain_of};
use super::sql::Bind;
use super::writer::Tx;
use super::{Dialect, Reader, Store, StoreError, marks};
use crate::list::notice;
use crate::list::sign_in::HOLDS_SECS;
use crate::types::{Identity, LetterId, ListId, MemberId, Timestamp};

/// What a letter is for that is no mail of ours: its data is a [`CopyOnRequest`].
pub const ON_REQUEST: &str = "copy on request";

/// A copy of a posting that somebody asked for. It is made when it is sent, so that none goes out of what was taken back meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOnRequest {
    /// The posting's number.
    pub number: i64,
    /// The subscription of who asked, if there is one.
    pub member: Option<MemberId>,
    /// How it differs from the stored bytes where that was never decided for the members' copies, as stored.
    pub treatment: String,
}

impl CopyOnRequest {
    /// The letter that stands for it.
    pub fn letter(&self, list: ListId, recipient: String, about: Vec<i64>) -> NewLetter {
        NewLetter {
            list: Some(list),
            purpose: ON_REQUEST,
            recipient,
            return_path: String::new(),
            data: serde_json::to_vec(self).expect("plain values are written as JSON"),
            about,
        }
    }
}

/// A mail of our own to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLetter {
    /// For which list it speaks, if for one.
    pub list: Option<ListId>,
    /// What it is for, in a word or two: shown where the queue is.
    pub purpose: &'static str,
    /// Envelope recipient.
    pub recipient: String,
    /// Envelope sender; empty is the null sender (RFC 3834 section 3.3).
    pub return_path: String,
    /// The whole mail with LF line ends.
    pub data: Vec<u8>,
    /// Receipts of the mails of which it has words, and marks ([`mark_of`]) of such as may have none: it goes with them.
    pub about: Vec<i64>,
}

/// A claimed letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its row.
    pub id: LetterId,
    /// For which list it speaks, if for one.
    pub list: Option<ListId>,
    /// Envelope recipient.
    pub recipient: String,
    /// Envelope sender; empty is the null sender.
    pub return_path: String,
    /// The whole mail with LF line ends.
    pub data: Arc<[u8]>,
    /// The posting of its list of which it is a copy, if it is one.
    pub copy: Option<CopyOnRequest>,
    /// How often it was begun, this time included; with `until` it fences the claim.
    pub attempts: i64,
    /// Until when it is claimed.
    pub until: Timestamp,
    /// When it was made, from which the time to give up counts.
    pub made: Timestamp,
    /// It was refused for good when it was tried last, and is asked about again.
    pub refused: bool,
    /// From when on it is of no use: what it signs in with holds no longer.
    pub lapses: Option<Timestamp>,
}

/// Rows per statement.
const CHUNK: usize = 100;

/// What mails are for that sign somebody in.
pub(super) fn sign_in_purpose() -> &'static str {
    notice::rule(notice::Event::SignIn).purpose
}

/// By what a letter about a mail is found that has no receipt here, or not yet; no receipt has such a number.
pub fn mark_of(identity: &Identity) -> i64 {
    mark_of_hash(&identity.0)
}

/// The same of any other hash.
pub(super) fn mark_of_hash(hash: &[u8; 32]) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    i64::from_be_bytes([a, b, c, d, e, f, g, h]) | i64::MIN
}

/// Strikes off what is owed of letters with that mark in [`NewLetter::about`]; what is being sent at that moment is left alone.
pub(super) async fn strike_off(tx: &mut Tx, mark: i64) -> Result<(), StoreError> {
    let text = "delete from letter where state in (0, 3) and replace(about, $1, '') <> about";
    tx.execute(text, vec![format!("/{mark}/").into()]).await?;
    Ok(())
}

impl Reader {
    async fn load_claimed_letters(&self, ids: &[i64]) -> Result<Vec<Letter>, StoreError> {
        type Row = (
            i64,
            Option<i64>,
            String,
            String,
            String,
            Vec<u8>,
            i64,
            i64,
            i64,
            i64,
        );
        let mut claimed = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            let text = format!(
                "select id, list, purpose, recipient, return_path, data, attempts, claimed_until, made, {REFUSED} from letter where id in ({}) order by id",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
            claimed.extend(self.fetch::<Row>(text, binds).await?.into_iter().map(
                |(
                    id,
                    list,
                    purpose,
                    recipient,
                    return_path,
                    data,
                    attempts,
                    until,
                    made,
                    refused,
                )| {
                    Letter {
                        id: LetterId(id),
                        list: list.map(ListId),
                        recipient,
                        return_path,
                        copy: match purpose.as_str() {
                            ON_REQUEST => serde_json::from_slice(&data).ok(),
                            _ => None,
                        },
                        data: data.into(),
                        attempts,
                        until: Timestamp(until),
                        made: Timestamp(made),
                        refused: refused == 1,
                        lapses: (purpose == sign_in_purpose())
                            .then(|| Timestamp(made).plus_secs(HOLDS_SECS)),
                    }
                },
            ));
        }
        Ok(claimed)
    }

    /// Letters of a purpose that were given up and that nobody judged yet, as (row, return path, last answer), the oldest first.
    pub async fn load_given_up_letters(
        &self,
        purpose: &'static str,
        limit: i64,
    ) -> Result<Vec<(LetterId, String, String)>, StoreError> {
        let text = "select id, return_path, problem from letter where state = 2 and judged = 0 and purpose = $1 order by id limit $2";
        let binds = vec![purpose.into(), limit.into()];
        let rows: Vec<(i64, String, String)> = self.fetch(text, binds).await?;
        let row = |(id, path, problem)| (LetterId(id), path, problem);
        Ok(rows.into_iter().map(row).collect())
    }

    /// How many letters are owed, and how many were given up.
    pub async fn count_letters(&self) -> Result<(i64, i64), StoreError> {
        let text = "select cast(coalesce(sum(case when state < 2 then 1 else 0 end), 0) as bigint), \
             cast(coalesce(sum(case when state = 2 then 1 else 0 end), 0) as bigint) from letter";
        Ok(self.fetch_one(text, vec![]).await?.unwrap_or((0, 0)))
    }
}

impl Store {
    /// Claims due letters but those to `closed` domains; empty when none is due. The claim is committed before anything is sent.
    pub async fn claim_letters(
        &self,
        limit: i64,
        closed: &[String],
        now: Timestamp,
    ) -> Result<Vec<Letter>, StoreError> {
        // Looking costs no commit.
        let due = format!(
            "select id from (select id from letter where state = 0 and run_at <= ?{} limit 1) fresh union all \
             select id from (select id from letter where state = 1 and claimed_until <= ? limit 1) lapsed",
            but(closed)
        );
        let mut binds = vec![Bind::from(now.0)];
        binds.extend(closed.iter().map(Bind::from));
        binds.push(now.0.into());
        if self.fetch_one::<(i64,)>(due, binds).await?.is_none() {
            return Ok(Vec::new());
        }
        let closed = closed.to_vec();
        let ids = self
            .write(move |tx| Box::pin(claim(tx, limit, closed, now)))
            .await?;
        let claimed = self.load_claimed_letters(&ids).await;
        if claimed.is_err() {
            let until = now.plus_secs(CLAIM_SECS);
            self.give_back("letter", ids, (now, until)).await;
        }
        claimed
    }

    /// Records what became of letters, in one commit. Safe to repeat; a letter that somebody else has claimed meanwhile is
    /// theirs: only that it was sent is still taken from here.
    pub async fn record_letters(&self, outcomes: Vec<(Letter, Outcome)>) -> Result<(), StoreError> {
        self.record_outcomes(Vec::new(), outcomes).await
    }

    /// Given up letters are judged: they are not looked at again.
    pub async fn record_judged_letters(&self, ids: Vec<LetterId>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for chunk in ids.chunks(CHUNK) {
                    let marks = marks(chunk.len());
                    let text = format!("update letter set judged = 1 where id in ({marks})");
                    let binds = chunk.iter().map(|id| Bind::from(id.0)).collect();
                    tx.execute(text, binds).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Owes letters; they go out as soon as the next hop takes them.
    pub async fn insert_letters(
        &self,
        letters: Vec<NewLetter>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| Box::pin(async move { insert(tx, letters, now).await }))
            .await?;
        self.deliveries.notify_one();
        Ok(())
    }
}

/// Owes letters in a transaction that has more to do: who calls rings `deliveries` after it.
pub(super) async fn insert(
    tx: &mut Tx,
    letters: Vec<NewLetter>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |letter: NewLetter| {
        let about: String = letter.about.iter().map(|id| format!("{id}/")).collect();
        vec![
            letter.list.map(|l| l.0).into(),
            letter.purpose.into(),
            domain_of(&letter.recipient).into(),
            letter.recipient.into(),
            letter.return_path.into(),
            letter.data.into(),
            now.0.into(),
            0.into(),
            0.into(),
            now.0.into(),
            0.into(),
            "".into(),
            match about.as_str() {
                "" => "".into(),
                ids => format!("/{ids}").into(),
            },
        ]
    };
    let rows: Vec<_> = letters.into_iter().map(row).collect();
    let head = "letter (list, purpose, domain, recipient, return_path, data, made, state, attempts, run_at, claimed_until, problem, about)";
    tx.insert(head, rows, "returning id").await?;
    Ok(())
}

/// Returns the ids of the rows that are claimed now.
async fn claim(
    tx: &mut Tx,
    limit: i64,
    closed: Vec<String>,
    now: Timestamp,
) -> Result<Vec<i64>, StoreError> {
    let lapsed =
        "update letter set state = 0, claimed_until = 0 where state = 1 and claimed_until <= $1";
    tx.execute(lapsed, vec![now.0.into()]).await?;
    let skip = match tx.dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => "for update skip locked",
    };
    let text = format!(
        "update letter set state = 1, claimed_until = ?, attempts = attempts + 1 where id in (select id from letter \
         where state = 0 and run_at <= ?{} order by run_at, id limit ? {skip}) returning id",
        but(&closed)
    );
    let until = now.plus_secs(CLAIM_SECS);
    let mut binds = vec![until.0.into(), now.0.into()];
    binds.extend(closed.iter().map(Bind::from));
    binds.push(limit.into());
    let rows: Vec<(i64,)> = tx.fetch(text, binds).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

pub(super) async fn record(
    tx: &mut Tx,
    outcomes: Vec<(Letter, Outcome)>,
) -> Result<(), StoreError> {
    let mut gone = Vec::new();
    for (letter, outcome) in outcomes {
        let (state, add, run_at, problem) = match outcome {
            Outcome::Sent | Outcome::Unwanted => {
                gone.push(Bind::from(letter.id.0));
                continue;
            }
            Outcome::Later(at, problem) => (0, 0, Some(at.0), Some(problem)),
            Outcome::Untried(problem) => (0, -1, None, Some(problem).filter(|p| !p.is_empty())),
            Outcome::Waits(at, problem) => (0, -1, Some(at.0), Some(problem)),
            Outcome::GaveUp(problem) => (2, 0, None, Some(problem)),
        };
        // What stays is seldom more than a letter or two.
        let text = "update letter set state = $1, attempts = attempts + $2, run_at = coalesce(cast($3 as bigint), run_at), \
             problem = coalesce(cast($4 as text), problem), claimed_until = 0 where id = $5 and attempts = $6 and claimed_until = $7 and state = 1";
        let binds: Vec<Bind> = vec![
            state.into(),
            add.into(),
            run_at.into(),
            problem.into(),
            letter.id.0.into(),
            letter.attempts.into(),
            letter.until.0.into(),
        ];
        tx.execute(text, binds).await?;
    }
    for chunk in gone.chunks(CHUNK) {
        let text = format!("delete from letter where id in ({})", marks(chunk.len()));
        tx.execute(text, chunk.to_vec()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
