//! How long things have been waiting, and named values that change: what the operator is told of.

use super::{Reader, Store, StoreError};
use crate::types::Timestamp;

impl Reader {
    /// Since when the oldest mail is owed to somebody, of those that were tried, or should have been before `since`. What was held is
    /// owed since it was released.
    pub async fn oldest_owed(&self, since: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let copies = "select min(coalesce(d.started, f.started, d.run_at)) from delivery d \
             left join fan_out f on f.list = d.list and f.number = d.number \
             where d.state < 2 and (d.attempts > 0 or d.run_at < $1)";
        let letters =
            "select min(made) from letter where state < 2 and (attempts > 0 or run_at < $1)";
        let mut oldest: Option<i64> = None;
        for text in [copies, letters] {
            let row: Option<(Option<i64>,)> = self.fetch_one(text, vec![since.0.into()]).await?;
            let found = row.and_then(|r| r.0);
            oldest = oldest.into_iter().chain(found).min();
        }
        Ok(oldest.map(Timestamp))
    }

    /// When the first list was made.
    pub async fn first_list_made(&self) -> Result<Option<Timestamp>, StoreError> {
        let row: Option<(Option<i64>,)> = self
            .fetch_one("select min(created) from list", vec![])
            .await?;
        Ok(row.and_then(|r| r.0).map(Timestamp))
    }

    /// A named value of the site that is a moment.
    pub async fn find_moment(&self, key: &str) -> Result<Option<Timestamp>, StoreError> {
        let text = self.find_meta(key).await?;
        Ok(text.and_then(|t| t.parse().ok()).map(Timestamp))
    }
}

/// The name of what tells that a domain's mail was signed here.
pub fn signed(domain: &str) -> String {
    format!("signed {domain}")
}

impl Store {
    /// Sets a named value of the site, whatever it was.
    pub async fn record_meta(&self, key: String, value: String) -> Result<(), StoreError> {
        let text = "insert into meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value";
        self.write(move |tx| {
            Box::pin(async move { tx.execute(text, vec![key.into(), value.into()]).await })
        })
        .await?;
        Ok(())
    }
}
