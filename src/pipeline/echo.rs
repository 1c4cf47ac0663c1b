//! A probe of `doctor` that comes back: kept for it to look at, whoever brings it. It is no posting, and nobody is answered.

use super::{Ctx, PipelineError};
use crate::list::address::Target;
use crate::list::{echo, token};
use crate::mail::Message;
use crate::store::{Echo, KEPT};
use crate::types::Timestamp;

impl Ctx {
    /// Whether a token is that of a probe that may still come back.
    pub(super) fn knows_echo(&self, token: &str, now: Timestamp) -> bool {
        let sent = token::parse_echo(&self.token_key, token);
        sent.is_some_and(|secs| (secs..secs + KEPT).contains(&now.secs()))
    }

    /// Keeps the mail if it is a probe of ours, by the token in its address or in its subject; `false` if it is none.
    pub(super) async fn take_echo(
        &self,
        target: &Target,
        message: &Message,
        bytes: &[u8],
        sender: &str,
        now: Timestamp,
    ) -> Result<bool, PipelineError> {
        let Target::Echo(told) = target else {
            return Ok(false);
        };
        let found = told.as_deref().or_else(|| echo::token_of(&message.subject));
        let Some(token) = found.filter(|token| self.knows_echo(token, now)) else {
            return Ok(false);
        };
        let came = Echo {
            sender: sender.to_owned(),
            bytes: bytes.to_vec(),
        };
        let token = token.to_ascii_lowercase();
        self.store.record_echo(token, came, now).await?;
        Ok(true)
    }
}
