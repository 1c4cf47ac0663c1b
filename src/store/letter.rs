//! Mails of our own that are owed to one address each: confirmations, notices, probes.

use super::writer::Tx;
use super::{Store, StoreError};
use crate::types::{ListId, Timestamp};

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
}

impl Store {
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
        vec![
            letter.list.map(|l| l.0).into(),
            letter.purpose.into(),
            letter.recipient.into(),
            letter.return_path.into(),
            letter.data.into(),
            now.0.into(),
            0.into(),
            0.into(),
            now.0.into(),
            0.into(),
            "".into(),
        ]
    };
    let rows: Vec<_> = letters.into_iter().map(row).collect();
    let head = "letter (list, purpose, recipient, return_path, data, made, state, attempts, run_at, claimed_until, problem)";
    tx.insert(head, rows, "returning id").await?;
    Ok(())
}
