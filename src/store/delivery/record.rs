//! What became of copies and letters is recorded; a claim that cannot be read is given back.

use super::super::letter::{self, Letter};
use super::super::sql::Bind;
use super::super::{Store, StoreError, Tx, marks};
use super::{Delivery, Outcome};
use crate::types::Timestamp;

/// Rows per statement of a record: SQLite compares each with all.
const CHUNK: usize = 100;
/// A claim that could not be read is due again after so many seconds: others have their turn before, should it never be read.
const GIVEN_BACK: i64 = 60;

impl Store {
    /// Records what became of copies and letters, in one commit. Safe to repeat, also after part of it was claimed anew.
    ///
    /// What somebody else has claimed meanwhile is theirs: only that it was sent is still taken from here.
    pub async fn record_outcomes(
        &self,
        copies: Vec<(Delivery, Outcome)>,
        letters: Vec<(Letter, Outcome)>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                record(tx, copies).await?;
                letter::record(tx, letters).await
            })
        })
        .await
    }

    /// The same of copies alone.
    pub async fn record_deliveries(
        &self,
        outcomes: Vec<(Delivery, Outcome)>,
    ) -> Result<(), StoreError> {
        self.record_outcomes(outcomes, Vec::new()).await
    }

    /// Gives a claim of `table` back that is to end `until` then: it was committed and could not be read.
    pub(in crate::store) async fn give_back(
        &self,
        table: &'static str,
        ids: Vec<i64>,
        (now, until): (Timestamp, Timestamp),
    ) {
        let count = ids.len();
        let given_back = self.write(move |tx| {
            Box::pin(async move {
                for chunk in ids.chunks(CHUNK) {
                    let text = format!(
                        "update {table} set state = 0, claimed_until = 0, attempts = attempts - 1, run_at = ? \
                         where state = 1 and claimed_until = ? and id in ({})",
                        marks(chunk.len())
                    );
                    let mut binds = vec![now.plus_secs(GIVEN_BACK).0.into(), until.0.into()];
                    binds.extend(chunk.iter().map(|id| Bind::from(*id)));
                    tx.execute(text, binds).await?;
                }
                Ok(())
            })
        });
        if let Err(error) = given_back.await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "{count} claimed mails are due again only when their lease runs out: {error}"
            );
        }
    }
}

/// What a row that stays is set to.
struct Left {
    id: i64,
    attempts: i64,
    until: i64,
    state: i64,
    /// How the attempts change.
    add: i64,
    run_at: Option<i64>,
    problem: Option<String>,
}

async fn record(tx: &mut Tx, outcomes: Vec<(Delivery, Outcome)>) -> Result<(), StoreError> {
    let (mut sent, mut unwanted, mut left) = (vec![], vec![], vec![]);
    for (delivery, outcome) in outcomes {
        let (id, attempts, until) = (delivery.id.0, delivery.attempts, delivery.until.0);
        let (state, add, run_at, problem) = match outcome {
            Outcome::Sent => {
                sent.push(id);
                continue;
            }
            Outcome::Unwanted => {
                unwanted.push(id);
                continue;
            }
            Outcome::Later(at, problem) => (0, 0, Some(at.0), Some(problem)),
            Outcome::Untried(problem) => (0, -1, None, Some(problem).filter(|p| !p.is_empty())),
            Outcome::Waits(at, problem) => (0, -1, Some(at.0), Some(problem)),
            Outcome::GaveUp(problem) => (2, 0, None, Some(problem)),
        };
        left.push(Left {
            id,
            attempts,
            until,
            state,
            add,
            run_at,
            problem,
        });
    }
    let mut counts = Counts::new();
    for (list, number) in delete(tx, &sent).await? {
        counts.entry((list, number)).or_default().0 += 1;
    }
    delete(tx, &unwanted).await?;
    for chunk in left.chunks(CHUNK) {
        for (list, number) in update(tx, chunk).await? {
            counts.entry((list, number)).or_default().1 += 1;
        }
    }
    count(tx, counts).await
}

/// (sent, given up) by posting.
type Counts = std::collections::BTreeMap<(i64, i64), (i64, i64)>;

/// Deletes rows; returns the posting of each that was still there, so that nothing is counted twice.
async fn delete(tx: &mut Tx, ids: &[i64]) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut gone = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(400) {
        let text = format!(
            "delete from delivery where id in ({}) returning list, number",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
        gone.extend(tx.fetch::<(i64, i64)>(text, binds).await?);
    }
    Ok(gone)
}

/// Updates rows that are still claimed by us; returns the posting of each that was given up.
async fn update(tx: &mut Tx, rows: &[Left]) -> Result<Vec<(i64, i64)>, StoreError> {
    let case = |column: &str, value: &str| {
        let arms = format!("when ? then {value} ").repeat(rows.len());
        format!("{column} = case id {arms} end")
    };
    let text = format!(
        "update delivery set {}, {}, {}, {}, claimed_until = 0 where state = 1 and (id, attempts, claimed_until) in (values {}) \
         returning state, list, number",
        case("state", "cast(? as bigint)"),
        case("attempts", "attempts + cast(? as bigint)"),
        case("run_at", "coalesce(cast(? as bigint), run_at)"),
        case("problem", "coalesce(cast(? as text), problem)"),
        vec!["(?,?,?)"; rows.len()].join(",")
    );
    let mut binds = Vec::with_capacity(rows.len() * 11);
    let mut column = |value: &dyn Fn(&Left) -> Bind| {
        for row in rows {
            binds.extend([Bind::from(row.id), value(row)]);
        }
    };
    column(&|row| row.state.into());
    column(&|row| row.add.into());
    column(&|row| row.run_at.into());
    column(&|row| row.problem.clone().into());
    for row in rows {
        binds.extend([row.id.into(), row.attempts.into(), row.until.into()]);
    }
    let updated: Vec<(i64, i64, i64)> = tx.fetch(text, binds).await?;
    let given_up = updated.into_iter().filter(|row| row.0 == 2);
    Ok(given_up.map(|(_, list, number)| (list, number)).collect())
}

/// Few postings share a record: usually one.
async fn count(tx: &mut Tx, counts: Counts) -> Result<(), StoreError> {
    for ((list, number), (sent, failed)) in counts {
        let text = "update fan_out set sent = sent + $1, failed = failed + $2 where list = $3 and number = $4";
        let binds = vec![sent.into(), failed.into(), list.into(), number.into()];
        tx.execute(text, binds).await?;
    }
    Ok(())
}
