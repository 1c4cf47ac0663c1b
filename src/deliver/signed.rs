//! Whether a domain's mail may go out unsigned: where it never had keys, or its last one was dropped. Where its keys are gone, mail waits.

use std::sync::Arc;

use tokio::time::Instant;

use super::batch::{LOADED_FOR, Sender};
use crate::store::{StoreError, signed};

impl Sender {
    /// Why the domain's mail waits, if it does. That its keys sign is noted, as the folder cannot tell it once they are gone.
    pub(super) async fn find_lost_keys(
        &mut self,
        domain: &str,
    ) -> Result<Option<String>, StoreError> {
        if let Some((at, of, why)) = &self.signing
            && of == domain
            && at.elapsed() < LOADED_FOR
        {
            return Ok(why.clone());
        }
        let why = self.look_for_keys(domain).await?;
        if let Some(why) = &why
            && self
                .settings
                .keys
                .is_news(domain, why, std::time::Instant::now())
        {
            tracing::warn!(sender.domain = domain, "mail from {domain} waits: {why}");
        }
        self.signing = Some((Instant::now(), domain.to_owned(), why.clone()));
        Ok(why)
    }

    /// Whoever holds a connection is not shared between threads: hence `mut`.
    async fn look_for_keys(&mut self, domain: &str) -> Result<Option<String>, StoreError> {
        let keyring = Arc::clone(&self.settings.keys);
        // Those that cannot be read are told of when they are to sign.
        let Ok(keys) = keyring.of(domain) else {
            return Ok(None);
        };
        let known = self.store.find_meta(&signed(domain)).await?.is_some();
        if !keys.pairs.is_empty() {
            if !known {
                self.store.record_meta(signed(domain), "1".into()).await?;
            }
            return Ok(None);
        }
        let lost = known && !keyring.has_folder(domain);
        Ok(lost.then(|| {
            format!(
                "the keys that signed for {domain} are gone; `patchpost doctor` says how to mend it"
            )
        }))
    }
}
