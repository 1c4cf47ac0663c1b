//! What moderators decide about held mail.

use std::collections::{BTreeMap, HashSet};

use super::{Ctx, PipelineError};
use crate::list::rules;
use crate::list::settings::Bits;
use crate::store::job::Held;
use crate::store::{Also, Fate, HeldRow, ListRow};
use crate::types::{ListId, Timestamp};

/// Held mails that are looked through at once.
const PAGE: i64 = 1_000;

/// Which held mails are meant, all of them that fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    /// A glob for the author's address.
    pub from: Option<String>,
    /// A glob for the subject.
    pub subject: Option<String>,
    /// A glob for the reason.
    pub reason: Option<String>,
}

impl HeldFilter {
    fn fits(&self, held: &HeldRow) -> bool {
        let fits = |pattern: &Option<String>, text: &str| {
            pattern.as_ref().is_none_or(|p| rules::is_match(p, text))
        };
        fits(&self.from, &held.address)
            && fits(&self.subject, &held.subject)
            && fits(&self.reason, &held.reason)
    }
}

/// Whose mails are looked through together.
fn sender(held: &HeldRow) -> (ListId, String, bool) {
    (held.list_id, held.address.clone(), held.authenticated)
}

/// By any of these a mail is of one series with others that have the same (`SeriesKey::is_same`).
fn ties(held: &HeldRow) -> impl Iterator<Item = ((ListId, String, bool), String, Tie)> {
    let series = &held.series;
    let root = Some(Tie::Root(series.root.clone()));
    let sending = Some(&series.sending).filter(|s| !s.is_empty());
    let sending = sending.map(|s| Tie::Sending(s.clone()));
    let (who, shape) = (sender(held), series.shape.clone());
    let ties = root.into_iter().chain(sending);
    ties.filter(|_| !held.series.shape.is_empty())
        .map(move |tie| (who.clone(), shape.clone(), tie))
}

#[derive(PartialEq, Eq, Hash)]
enum Tie {
    Root(String),
    Sending(String),
}

impl Ctx {
    /// Everything that is held, of one list if that is given.
    pub async fn load_held(&self, list: Option<ListId>) -> Result<Vec<HeldRow>, PipelineError> {
        let mut all: Vec<HeldRow> = Vec::new();
        loop {
            let after = all.last().map_or(0, |h| h.id);
            let page = self.store.load_held(list, after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// The held mails of a list that a filter means.
    pub async fn find_held(
        &self,
        list: ListId,
        filter: &HeldFilter,
    ) -> Result<Vec<HeldRow>, PipelineError> {
        let mut all = self.load_held(Some(list)).await?;
        all.retain(|held| filter.fits(held));
        Ok(all)
    }

    /// These held mails and all others of the same series: from the same address, and authenticated alike, so that nobody's
    /// mail slips in by looking like a part of it.
    pub async fn with_series(&self, held: Vec<HeldRow>) -> Result<Vec<HeldRow>, PipelineError> {
        let mut senders = HashSet::new();
        let mut keys = HashSet::new();
        let mut all: BTreeMap<i64, HeldRow> = BTreeMap::new();
        for one in &held {
            if !one.series.shape.is_empty() && !one.address.is_empty() {
                keys.extend(ties(one));
                if senders.insert(sender(one)) {
                    let beside = self.store.load_held_beside(one).await?;
                    all.extend(beside.into_iter().map(|h| (h.id, h)));
                }
            }
        }
        // What ties mails together names their sender too.
        all.retain(|_, other| ties(other).any(|tie| keys.contains(&tie)));
        all.extend(held.into_iter().map(|h| (h.id, h)));
        Ok(all.into_values().collect())
    }

    /// Lets held mails through, with their series; with `person`, their authors may post from now on. Returns those that it
    /// was done with: what somebody else decided before is left alone.
    pub async fn accept_held(
        &self,
        held: Vec<HeldRow>,
        person: bool,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<HeldRow>, PipelineError> {
        let all = self.with_series(held).await?;
        let also = Also {
            rights: person.then_some(Bits::WRITE),
            letters: Vec::new(),
        };
        let by = (actor.to_owned(), now);
        Ok(self.store.decide_held(all, Fate::Accept, also, by).await?)
    }

    /// Drops held mails; with words, authenticated authors hear them. Returns those that it was done with.
    pub async fn refuse_held(
        &self,
        held: Vec<HeldRow>,
        fate: Fate,
        actor: &str,
        now: Timestamp,
    ) -> Result<Vec<HeldRow>, PipelineError> {
        let letters = match &fate {
            Fate::Reject(words) => self.rejection_letters(&held, words, now).await?,
            _ => Vec::new(),
        };
        let also = Also {
            rights: None,
            letters,
        };
        let by = (actor.to_owned(), now);
        Ok(self.store.decide_held(held, fate, also, by).await?)
    }

    /// What is owed to a list's held mail from time to time.
    pub async fn tend_held(
        &self,
        list: ListId,
        job: Held,
        now: Timestamp,
    ) -> Result<(), PipelineError> {
        if let Some(list) = self.store.find_list_by_id(list).await? {
            self.expire_held(&list, now).await?;
            self.tell_moderators(&list, now).await?;
            self.remind_moderators(&list, now).await?;
        }
        Ok(self.store.finish_jobs(vec![job]).await?)
    }

    /// Drops what nobody decided on in as many days as the list gives, with a note. Returns how many.
    pub async fn expire_held(
        &self,
        list: &ListRow,
        now: Timestamp,
    ) -> Result<usize, PipelineError> {
        let before = now.plus_secs(-list.policy.hold_days * 24 * 3_600);
        let mut count = 0;
        loop {
            let old = self.store.load_held_before(list.id, before, PAGE).await?;
            if old.is_empty() {
                return Ok(count);
            }
            count += self.refuse_held(old, Fate::Expire, "", now).await?.len();
        }
    }
}
