//! Copies for the members of a list: who gets one of a posting, and who has asked for none of such.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Ctx, PipelineError};
use crate::mail::{self, Mailbox};
use crate::store::Spared;
use crate::store::job::Held;
use crate::types::{Address, ListId};
use crate::verdict::Level;

impl Ctx {
    /// Makes the copies of a posting, batch by batch. Safe to run twice.
    pub async fn fan_out(&self, list: ListId, number: i64, job: Held) -> Result<(), PipelineError> {
        self.treat(list, number).await?;
        let spared = Arc::new(self.find_spared(list, number).await?);
        while !self
            .store
            .fan_out(list, number, Arc::clone(&spared), job, crate::store::now())
            .await?
        {}
        Ok(())
    }

    /// Who is named in the mail and who wrote it, with the addresses that are linked with theirs. Only the envelope is decided by this:
    /// the mail itself stays as it is.
    async fn find_spared(&self, list: ListId, number: i64) -> Result<Spared, PipelineError> {
        if !self.store.spares_any(list).await? {
            return Ok(Spared::default());
        }
        let Some(posting) = self.store.load_posting_to_send(list, number).await? else {
            return Ok(Spared::default());
        };
        let verdict = self.store.load_posting_verdict(list, number).await?;
        let bytes = posting.bytes;
        let message = super::think_of(bytes.len(), move || mail::parse(&bytes)).await?;
        let keys = |boxes: &[Mailbox]| -> Vec<String> {
            let addresses = boxes
                .iter()
                .filter_map(|m| m.address.parse::<Address>().ok());
            addresses.map(|a| a.key()).collect()
        };
        let named = keys(&[message.to, message.cc].concat());
        // Else a forged mail would be kept from the one in whose name it is.
        let authors = match verdict.level {
            Level::Aligned => keys(&message.from),
            _ => Vec::new(),
        };
        Ok(Spared {
            named: self.with_linked(named).await?,
            authors: self.with_linked(authors).await?,
        })
    }

    async fn with_linked(&self, keys: Vec<String>) -> Result<HashSet<String>, PipelineError> {
        let linked = self.store.load_all_linked(&keys).await?;
        Ok(keys.into_iter().chain(linked).collect())
    }
}
