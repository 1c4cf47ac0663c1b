//! What an operator decides about mail that is owed.

use super::{Ctx, PipelineError};
use crate::store::queue::{Choice, Steer};

impl Ctx {
    /// Tries again, holds back or drops owed mails, and notes it with the reason; returns how many.
    pub async fn steer_queue(
        &self,
        choice: Choice,
        steer: Steer,
        why: String,
    ) -> Result<u64, PipelineError> {
        let now = crate::store::now();
        let done = self.store.steer_queue(choice, steer, why, now).await?;
        tracing::info!(queue.mails = done, "{done} owed mails {}", steer.done());
        Ok(done)
    }
}
