//! How the copies of a posting are made: decided once, before the first of them.

use super::{Ctx, PipelineError, parse, think_of};
use crate::list::header::CopyHead;
use crate::list::treatment::{self, Class, Treatment, Unaligned};
use crate::store::PostingToSend;
use crate::types::ListId;
use crate::verdict::{Outcome, Signature, from_domain};
use crate::view::url;

impl Ctx {
    /// Decides how copies are made, and whether they wait for an operator; what was decided stays.
    pub(super) async fn treat(&self, list: ListId, number: i64) -> Result<(), PipelineError> {
        if let Some(posting) = self.store.load_posting_to_send(list, number).await?
            && posting.treatment.is_empty()
        {
            let made = self.find_treatment(posting).await?;
            count(made);
            let stored = made.to_stored();
            self.store
                .record_treatment(list, number, stored, made.held)
                .await?;
        }
        Ok(())
    }

    /// How copies of a posting are to be made; records nothing.
    pub(super) async fn find_treatment(
        &self,
        mut posting: PostingToSend,
    ) -> Result<Treatment, PipelineError> {
        self.ask_again(&mut posting).await?;
        self.ask_policy(&mut posting).await?;
        let base_url = self.base_url.clone();
        let size = posting.bytes.len();
        think_of(size, move || decide(&posting, &base_url)).await
    }

    /// What DNS owed when the mail came is asked for once more: a signature that nobody could check says neither yes nor no. This decides
    /// about copies only; the mail's standing is seen to by a job of its own.
    async fn ask_again(&self, posting: &mut PostingToSend) -> Result<(), PipelineError> {
        let owed = |s: &Signature| s.outcome == Outcome::Unknown;
        if self.checks.is_none() || !posting.verdict.signatures.iter().any(owed) {
            return Ok(());
        }
        let asked = self.ask_dns(posting.bytes.clone(), true, &posting.verdict);
        let (_, found) = asked.await?;
        posting.verdict.signatures = found.signatures;
        posting.verdict.policy = posting.verdict.policy.take().or(found.policy);
        Ok(())
    }

    /// When a mail came, nobody asked for its domain's policy if nothing was there to be checked: behind a mail server, say.
    async fn ask_policy(&self, posting: &mut PostingToSend) -> Result<(), PipelineError> {
        let Some(checks) = &self.checks else {
            return Ok(());
        };
        if posting.verdict.policy.is_some() || treatment::classify(&posting.verdict) == Class::A {
            return Ok(());
        }
        let message = parse(posting.bytes.clone()).await?;
        if let Some(domain) = from_domain(&message) {
            posting.verdict.policy = checks.dns.find_policy(&domain).await;
        }
        Ok(())
    }
}

fn decide(posting: &PostingToSend, base_url: &str) -> Treatment {
    let page = format!("{base_url}/{}/", posting.list);
    let permalink = format!("{page}{}/", url::message_id(&posting.message_id));
    let head = CopyHead {
        address: &posting.address,
        description: &posting.description,
        page: &page,
        permalink: &permalink,
    };
    let unaligned = Unaligned::from_stored(&posting.unaligned);
    treatment::decide(&posting.bytes, &posting.verdict, &head, unaligned)
}

fn count(made: Treatment) {
    if made.class == Class::A || made.broken {
        metrics::counter!("patchpost_signatures_checked").increment(1);
    }
    if made.broken {
        metrics::counter!("patchpost_signatures_broken").increment(1);
    }
    if made.munged {
        metrics::counter!("patchpost_postings_munged").increment(1);
    }
}
