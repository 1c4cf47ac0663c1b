//! Wishes that mails have about series: what is needed to see whether they may have them, and that they were answered.

use super::landed::OWN_MAILS;
use super::notice::{self, CappedLetter};
use super::sql::Bind;
use super::{NewConfirmation, Place, Reader, Store, StoreError, job, membership};
use crate::types::{Identity, ListId, MailId, RealmId, Timestamp};
use crate::verdict::Verdict;

/// A mail that has wishes.
#[derive(Debug, Clone)]
pub struct Wishing {
    /// Its realm.
    pub realm: RealmId,
    /// The lists that have it.
    pub lists: Vec<ListId>,
    /// When it came.
    pub arrived: Timestamp,
    /// Who speaks for it.
    pub verdict: Verdict,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Envelope sender of its last copy; empty: nobody's.
    pub sender: String,
    /// The series that it answers, or is a part of.
    pub series: Option<WishedFor>,
    /// It was answered before.
    pub done: bool,
}

/// A series that a mail is about.
#[derive(Debug, Clone)]
pub struct WishedFor {
    /// The patch or cover that is answered.
    pub mail: MailId,
    /// The patchset.
    pub patchset: i64,
    /// Its title.
    pub title: String,
    /// `2`, `3-r1`.
    pub label: String,
    /// Patchwork's number of its state.
    pub state: i64,
    /// Address of who sent it.
    pub submitter: String,
    /// The lists that have a patch of it, or its cover: only their moderators decide about it.
    pub lists: Vec<ListId>,
}

/// Kind of the note that a mail's wishes were answered, and of the note that nothing proved whose they were: a better
/// authenticated copy of the same mail may come.
const KIND: &str = "wish";
const UNPROVEN: &str = "unproven wish";

impl Reader {
    /// A mail with what its wishes are about; `None` if it is gone.
    pub async fn load_wishing(&self, mail: MailId) -> Result<Option<Wishing>, StoreError> {
        let found = self.load_to_reread(&[mail]).await?;
        let Some((_, arrived, _, verdict, bytes)) = found.into_iter().next() else {
            return Ok(None);
        };
        let text = "select m.realm, (select count(*) from event where mail = m.id and kind = $1) from mail m where m.id = $2 and m.state = 0";
        let binds = vec![KIND.into(), mail.0.into()];
        let row: Option<(i64, i64)> = self.fetch_one(text, binds).await?;
        let Some((realm, done)) = row else {
            return Ok(None);
        };
        let text = "select list from posting where mail = $1 order by list";
        let lists: Vec<(i64,)> = self.fetch(text, vec![mail.0.into()]).await?;
        let text = "select sender from receipt where mail = $1 order by id desc limit 1";
        let sender: Option<(String,)> = self.fetch_one(text, vec![mail.0.into()]).await?;
        Ok(Some(Wishing {
            realm: RealmId(realm),
            lists: lists.into_iter().map(|l| ListId(l.0)).collect(),
            arrived,
            verdict,
            bytes,
            sender: sender.map_or_else(String::new, |s| s.0),
            series: self.find_wished_for(mail).await?,
            done: done > 0,
        }))
    }

    /// The version of which a mail is a patch or cover, or in which what it answers is one; not one that took a patch over.
    async fn find_wished_for(&self, mail: MailId) -> Result<Option<WishedFor>, StoreError> {
        let text = "select t.mail, s.patchset, s.label, s.state, s.submitter, s.id, s.title from \
             (select cast($1 as bigint) as mail, 0 as rank union all select target, 1 from comment where mail = $2) t \
             join series s on s.cover = t.mail or exists \
             (select 1 from patch p where p.series = s.id and p.mail = t.mail and p.taken_over = 0) \
             order by t.rank, s.id limit 1";
        let binds: Vec<Bind> = vec![mail.0.into(), mail.0.into()];
        let row: Option<(i64, i64, String, i64, String, i64, String)> =
            self.fetch_one(text, binds).await?;
        let Some((mail, patchset, label, state, submitter, series, title)) = row else {
            return Ok(None);
        };
        let text = "select distinct p.list from posting p where p.mail in (select mail from patch where series = $1 and taken_over = 0) \
             or p.mail in (select cover from series where id = $1 and cover is not null) order by 1";
        let lists: Vec<(i64,)> = self.fetch(text, vec![series.into()]).await?;
        Ok(Some(WishedFor {
            mail: MailId(mail),
            patchset,
            title,
            label,
            state,
            submitter,
            lists: lists.into_iter().map(|l| ListId(l.0)).collect(),
        }))
    }

    /// Whether a mail with one of these signatures was obeyed in a realm before.
    pub async fn was_obeyed(
        &self,
        realm: RealmId,
        proofs: &[Identity],
    ) -> Result<bool, StoreError> {
        if proofs.is_empty() {
            return Ok(false);
        }
        let text = format!(
            "select count(*) from command where list = ? and word = ? and identity in ({})",
            super::marks(proofs.len())
        );
        let mut binds = vec![of_realm(realm).into(), KIND.into()];
        binds.extend(proofs.iter().map(|p| Bind::from(p.0)));
        let row: Option<(i64,)> = self.fetch_one(text, binds).await?;
        Ok(row.is_some_and(|r| r.0 > 0))
    }

    /// Whether a decision of that kind was noted for that mail, by that person at that moment.
    pub async fn is_noted(
        &self,
        (kind, mail): (&'static str, MailId),
        actor: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let text = "select count(*) from event where mail = $1 and kind = $2 and actor = $3 and happened = $4";
        let binds = vec![mail.0.into(), kind.into(), actor.into(), at.0.into()];
        let row: Option<(i64,)> = self.fetch_one(text, binds).await?;
        Ok(row.is_some_and(|r| r.0 > 0))
    }

    /// Who looks after the versions of a patchset: (version's label, address), by the last word on each.
    pub async fn load_delegates(&self, patchset: i64) -> Result<Vec<(String, String)>, StoreError> {
        let text = format!(
            "select t.label, e.detail from {OWN_MAILS} t join event e on e.mail = t.mail and e.kind = 'delegate' order by e.id"
        );
        let binds = vec![patchset.into(), patchset.into()];
        let rows: Vec<(String, String)> = self.fetch(text, binds).await?;
        let mut last: std::collections::BTreeMap<String, String> = rows.into_iter().collect();
        last.retain(|_, address| !address.is_empty());
        Ok(last.into_iter().collect())
    }
}

/// Wishes are remembered beside the lists' commands, under no list's number.
fn of_realm(realm: RealmId) -> i64 {
    -realm.0
}

impl Store {
    /// Notes that a mail's wishes were answered (`actor` empty: that nothing proves whose they are), owes the answer within its
    /// limits, or asks an address whether they are its own, remembers what the mail was signed with, and strikes the job off, in one commit.
    pub async fn record_wish(
        &self,
        (realm, list, mail): (RealmId, Option<ListId>, MailId),
        actor: String,
        detail: String,
        (letter, asked, proofs): (Option<CappedLetter>, Option<NewConfirmation>, Vec<Identity>),
        job: job::Held,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let kind = if actor.is_empty() { UNPROVEN } else { KIND };
        self.write(move |tx| {
            Box::pin(async move {
                let row = vec![
                    realm.0.into(),
                    list.map(|l| l.0).into(),
                    kind.into(),
                    mail.0.into(),
                    actor.into(),
                    now.0.into(),
                    detail.into(),
                ];
                let head = "event (realm, list, kind, mail, actor, happened, detail)";
                tx.insert(head, vec![row], "").await?;
                let row = |p: Identity| {
                    vec![
                        of_realm(realm).into(),
                        KIND.into(),
                        p.0.into(),
                        now.0.into(),
                    ]
                };
                let head = "command (list, word, identity, happened)";
                let rows = proofs.into_iter().map(row).collect();
                tx.insert(head, rows, "on conflict do nothing").await?;
                match (letter, asked, list) {
                    (Some(letter), Some(asked), Some(list)) => {
                        let place = Place {
                            list,
                            realm,
                            way: "by mail",
                        };
                        membership::ask(tx, place, asked, letter, now).await?;
                    }
                    (Some(letter), ..) => {
                        notice::insert(tx, letter, now).await?;
                    }
                    (None, ..) => {}
                }
                job::finish(tx, &[job]).await
            })
        })
        .await?;
        self.deliveries.notify_one();
        Ok(())
    }
}
