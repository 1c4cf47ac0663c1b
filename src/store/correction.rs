//! What people decided about grouping and states: events on mails, which never change and outlive every recomputation.

use super::sql::{self, Bind};
use super::{Reader, Store, StoreError, marks};
use crate::types::{ListId, MailId, MessageId, PatchsetId, RealmId, SeriesId, Timestamp};

/// A decision of a person, ready to be recorded.
#[derive(Debug, Clone)]
pub struct NewCorrection {
    /// `move`, `split`, `merge`, `cut`, `version`, `state` or `patch state`.
    pub kind: &'static str,
    /// The mail that it is about.
    pub mail: MailId,
    /// Further mails that it names: who groups one of them groups all.
    pub others: Vec<MailId>,
    /// What `patchset::Correction::parse` reads; for `state` Patchwork's number, 0 for "as the rules say", for `patch state` the
    /// same of the patch alone, 0 for "as its series".
    pub detail: String,
    /// Who decided.
    pub actor: String,
}

/// A correction as stored, in the order in which people decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCorrection {
    /// As in [`NewCorrection`].
    pub kind: String,
    /// The mail that it is about.
    pub mail: MailId,
    /// As in [`NewCorrection`].
    pub detail: String,
}

/// A version of a patchset, by the mail that stands for it.
#[derive(Debug, Clone)]
pub struct VersionAnchor {
    /// Its row.
    pub series: SeriesId,
    /// The mail.
    pub anchor: MailId,
    /// Its realm.
    pub realm: RealmId,
    /// `2`, `3-r1`.
    pub label: String,
    /// It is the newest of its patchset.
    pub newest: bool,
}

impl Reader {
    /// The corrections that name any of these mails, in the order in which they were made.
    pub(super) async fn load_corrections(
        &self,
        ids: &[i64],
    ) -> Result<Vec<StoredCorrection>, StoreError> {
        let mut all = std::collections::BTreeMap::new();
        for chunk in ids.chunks(400) {
            let text = format!(
                "select id, kind, mail, detail from event where mail is not null and id in \
                 (select event from correction_mail where mail in ({}))",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|m| Bind::from(*m)).collect();
            for (id, kind, mail, detail) in self
                .fetch::<(i64, String, i64, String)>(text, binds)
                .await?
            {
                let mail = MailId(mail);
                all.insert(id, StoredCorrection { kind, mail, detail });
            }
        }
        Ok(all.into_values().collect())
    }

    /// The mails of that name with their realms, those filed first before others; of one list, or of all.
    pub async fn find_mails_named(
        &self,
        id: &MessageId,
        list: Option<ListId>,
    ) -> Result<Vec<(MailId, RealmId)>, StoreError> {
        let (filter, bind) = match list {
            Some(list) => (
                "and exists (select 1 from posting p where p.mail = m.id and p.list = ?)",
                Some(Bind::from(list.0)),
            ),
            None => ("", None),
        };
        let text = format!(
            "select m.id, m.realm from mail m where (m.message_id = ? or m.id in \
             (select mail from alias where message_id = ?)) {filter} order by m.id limit 20"
        );
        let binds = [id.as_str().into(), id.as_str().into()];
        let rows: Vec<(i64, i64)> = self
            .fetch(text, binds.into_iter().chain(bind).collect())
            .await?;
        let rows = rows.into_iter();
        Ok(rows.map(|(m, r)| (MailId(m), RealmId(r))).collect())
    }

    /// The mails that stand for the versions of a patchset, with their labels and whether they are the newest, oldest first; an old
    /// number leads to what it became.
    pub async fn load_anchors(
        &self,
        patchset: PatchsetId,
    ) -> Result<Vec<VersionAnchor>, StoreError> {
        let text = "select s.id, s.anchor, s.realm, s.label, case when p.newest = s.id then 1 else 0 end from series s \
             join patchset p on p.id = s.patchset where p.id = \
             coalesce((select patchset from patchset_alias where old = $1), $1) order by s.position";
        self.anchors(text, vec![patchset.0.into()]).await
    }

    /// The version that a mail is a patch or the cover letter of; not one that took it over.
    pub async fn find_anchor_of(&self, mail: MailId) -> Result<Option<VersionAnchor>, StoreError> {
        let text = "select s.id, s.anchor, s.realm, s.label, 1 from series s where s.cover = $1 or s.id in \
             (select series from patch where mail = $1 and taken_over = 0) order by s.id limit 1";
        Ok(self.anchors(text, vec![mail.0.into()]).await?.pop())
    }

    async fn anchors(
        &self,
        text: &'static str,
        binds: Vec<Bind>,
    ) -> Result<Vec<VersionAnchor>, StoreError> {
        let rows: Vec<(i64, i64, i64, String, i64)> = self.fetch(text, binds).await?;
        let row = |(series, anchor, realm, label, newest)| VersionAnchor {
            series: SeriesId(series),
            anchor: MailId(anchor),
            realm: RealmId(realm),
            label,
            newest: newest == 1,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// The patches of a version by their numbers.
    pub async fn load_patch_mails(
        &self,
        series: SeriesId,
    ) -> Result<Vec<(i64, MailId)>, StoreError> {
        let text = "select number, mail from patch where series = $1 order by number";
        let rows: Vec<(i64, i64)> = self.fetch(text, vec![series.0.into()]).await?;
        Ok(rows.into_iter().map(|(n, m)| (n, MailId(m))).collect())
    }

    /// The nearest mail above a mail that is there.
    pub async fn find_parent(&self, mail: MailId) -> Result<Option<MailId>, StoreError> {
        let text = "select p.id from mail c join edge e on e.child = c.node join mail p on p.node = e.parent \
             where c.id = $1 order by e.position, p.id limit 1";
        let row: Option<(i64,)> = self.fetch_one(text, vec![mail.0.into()]).await?;
        Ok(row.map(|r| MailId(r.0)))
    }
}

impl Store {
    /// Notes a decision. What is being thought about the realm at this moment is thought about again.
    pub async fn insert_correction(
        &self,
        realm: RealmId,
        new: NewCorrection,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                // Before the note gets its number: what is told of notes is told up to a number (`news`).
                super::file::lock_realm(tx, realm).await?;
                let row = vec![
                    realm.0.into(),
                    new.kind.into(),
                    new.mail.0.into(),
                    new.actor.into(),
                    now.0.into(),
                    new.detail.into(),
                ];
                let head = "event (realm, kind, mail, actor, happened, detail)";
                let event = sql::id(&tx.insert(head, vec![row], "returning id").await?[0])?;
                if matches!(new.kind, "state" | "patch state") {
                    super::news::owe_of(tx, new.mail).await?;
                }
                let named = std::iter::once(new.mail).chain(new.others);
                let rows = named.map(|m| vec![event.into(), m.0.into()]).collect();
                let tail = "on conflict do nothing";
                tx.insert("correction_mail (event, mail)", rows, tail)
                    .await?;
                super::file::raise(tx, realm, &[]).await
            })
        })
        .await
    }
}
