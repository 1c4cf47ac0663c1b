//! Moments that a clock which ran ahead left behind: nobody would reach them. They become now.

use super::sql::Bind;
use super::{Store, StoreError};
use crate::list::score;
use crate::types::Timestamp;

const DAY: i64 = 86_400;

/// Table, column, and how many days ahead it may lie.
const MOMENTS: [(&str, &str, i64); 9] = [
    ("delivery", "run_at", 1),
    ("delivery", "claimed_until", 1),
    ("letter", "run_at", 1),
    ("letter", "claimed_until", 1),
    ("job", "run_at", 8),
    ("job", "leased_until", 1),
    ("bounce", "arrived", 1),
    ("storm", "ended", 1),
    ("standing", "next", score::REMOVE_DAY + 1),
];

impl Store {
    /// Puts right what lies further ahead than anything is ever put off; returns how many rows. Where nothing does, it only looks.
    pub async fn mend_moments(&self, now: Timestamp) -> Result<u64, StoreError> {
        let bound = |days: i64| Bind::from(now.plus_secs(days * DAY).0);
        let today = score::day(now);
        let mut wrong = Vec::new();
        for (table, column, days) in MOMENTS {
            wrong.push((table, column, Bind::from(now.0), bound(days)));
        }
        wrong.push(("standing", "last_day", today.into(), (today + 1).into()));
        let mut found = Vec::new();
        for (table, column, new, most) in wrong {
            let text = format!("select 1 from {table} where {column} > $1 limit 1");
            let any: Option<(i32,)> = self.fetch_one(text, vec![most.clone()]).await?;
            if any.is_some() {
                let text = format!("update {table} set {column} = $1 where {column} > $2");
                found.push((text, vec![new, most]));
            }
        }
        if found.is_empty() {
            return Ok(0);
        }
        let mended = self
            .write(move |tx| {
                Box::pin(async move {
                    let mut mended = 0;
                    for (text, binds) in found {
                        mended += tx.execute(text, binds).await?;
                    }
                    Ok(mended)
                })
            })
            .await?;
        self.deliveries.notify_one();
        Ok(mended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::delivery_tests::{fan_out_all, open, seed};
    use crate::store::{Outcome, Turn};

    #[tokio::test]
    async fn what_a_clock_that_ran_ahead_put_off_is_due_again() {
        let (_folder, store) = open().await;
        let now = Timestamp::from_secs(1_800_000_000);
        let ahead = now.plus_secs(40_000 * DAY);
        let list = seed(&store, 2, b"Subject: s\n\nb\n", now).await;
        fan_out_all(&store, list, 1).await;
        let claim = async |limit, at| {
            let claimed = store.claim_deliveries(limit, &Turn::default(), at).await;
            claimed.expect("a claim")
        };
        let copy = claim(1, ahead).await.remove(0);
        let later = Outcome::Later(ahead.plus_secs(300), "450".to_owned());
        let recorded = store.record_deliveries(vec![(copy, later)]).await;
        recorded.expect("recorded");
        // Its claim was lost, too.
        assert_eq!(claim(1, ahead).await.len(), 1);
        assert!(claim(9, now).await.is_empty());
        assert_eq!(store.mend_moments(now).await.expect("mended"), 2);
        assert_eq!(claim(9, now).await.len(), 2);
        // What is put off as it should be stays so.
        assert_eq!(store.mend_moments(now).await.expect("a look"), 0);
    }
}
