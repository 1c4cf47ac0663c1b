//! What an operator decides about mail that is owed.

use super::{Ctx, PipelineError};
use crate::store::queue::{Choice, RETRIED, Steer};

impl Ctx {
    /// Tries again, holds back or drops owed mails, and notes it with the reason; returns how many.
    pub async fn steer_queue(
        &self,
        choice: Choice,
        steer: Steer,
        why: String,
    ) -> Result<u64, PipelineError> {
        let now = crate::store::now();
        if steer == Steer::Retry {
            // A pause after trouble with the next hop ends by it, before any of these mails is looked at.
            let wished = (RETRIED.to_owned(), now.0.to_string());
            self.store.record_meta(wished.0, wished.1).await?;
        }
        let done = self.store.steer_queue(choice, steer, why, now).await?;
        tracing::info!(queue.mails = done, "{done} owed mails {}", steer.done());
        Ok(done)
    }
}
