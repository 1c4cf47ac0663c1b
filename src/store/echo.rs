//! Probes of the way out that came back, until `doctor` has looked at them.

use super::{Reader, Store, StoreError};
use crate::types::Timestamp;

/// A probe as it came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// Envelope sender; empty is the null sender.
    pub sender: String,
    /// The bytes as they came, with LF line ends if that loses nothing.
    pub bytes: Vec<u8>,
}

/// How long in seconds one is kept, and its token is good.
pub const KEPT: i64 = 86_400;

impl Reader {
    /// A probe by its token, if it is back.
    pub async fn find_echo(&self, token: &str) -> Result<Option<Echo>, StoreError> {
        let text = "select sender, bytes from echo where token = $1";
        let row: Option<(String, Vec<u8>)> = self.fetch_one(text, vec![token.into()]).await?;
        Ok(row.map(|(sender, bytes)| Echo { sender, bytes }))
    }
}

impl Store {
    /// Keeps a probe that came back for a day; of two with one token the first.
    pub async fn record_echo(
        &self,
        token: String,
        echo: Echo,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let binds = vec![
            token.into(),
            echo.sender.into(),
            echo.bytes.into(),
            now.0.into(),
        ];
        let old = vec![now.plus_secs(-KEPT).0.into()];
        self.write(move |tx| {
            Box::pin(async move {
                tx.execute("delete from echo where arrived < $1", old)
                    .await?;
                let text = "insert into echo (token, sender, bytes, arrived) values ($1, $2, $3, $4) on conflict do nothing";
                tx.execute(text, binds).await.map(|_| ())
            })
        })
        .await
    }
}
