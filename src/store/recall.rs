//! Taking posted mail back: into the hold as if it had never been let through, or away for ever.

use super::purge::{forget_bytes, forget_groups, forget_mails, ids_of, on};
use super::sql::Bind;
use super::writer::Tx;
use super::{Reader, Store, StoreError, event, file, hold, index, job, marks};
use crate::list::settings::ban_keys;
use crate::types::{Job, ListId, MailId, MessageId, PatchsetId, RealmId, Timestamp};
use crate::verdict::Verdict;

/// What was done with one mail.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Recalled {
    /// Copies that were owed and are not sent.
    pub stopped: i64,
    /// Copies that were on their way just then: some of them may arrive.
    pub under_way: i64,
    /// Copies that had been sent.
    pub sent: i64,
    /// Lists that it was taken out of.
    pub lists: Vec<String>,
    /// What is banned now; empty: nothing.
    pub banned: Vec<String>,
}

/// A posted mail as a person may mean it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedMail {
    /// Its row.
    pub mail: MailId,
    /// Its realm.
    pub realm: RealmId,
    /// Decoded Subject.
    pub subject: String,
    /// Author's address as written.
    pub address: String,
}

impl Reader {
    /// These mails as a person may mean them.
    pub async fn load_posted(&self, mails: &[MailId]) -> Result<Vec<PostedMail>, StoreError> {
        let text = format!(
            "select id, realm, subject, address from mail where id in ({}) order by id",
            marks(mails.len())
        );
        let binds = mails.iter().map(|m| Bind::from(m.0)).collect();
        let rows: Vec<(i64, i64, String, String)> = self.fetch(text, binds).await?;
        let row = |(mail, realm, subject, address)| PostedMail {
            mail: MailId(mail),
            realm: RealmId(realm),
            subject,
            address,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// The mail of that name that a list has of one of these addresses, given in lower case; the best authenticated of several.
    /// With the lists that have it.
    pub async fn find_own_mail(
        &self,
        list: ListId,
        id: &MessageId,
        addresses: &[String],
    ) -> Result<Option<(PostedMail, Vec<ListId>)>, StoreError> {
        let text = format!(
            "select m.id, m.realm, m.subject, m.address from mail m join posting p on p.mail = m.id \
             where p.list = ? and m.message_id = ? and m.state = 0 and lower(m.address) in ({}) order by m.level desc, m.id limit 1",
            marks(addresses.len())
        );
        let mut binds: Vec<Bind> = vec![list.0.into(), id.as_str().into()];
        binds.extend(addresses.iter().map(Bind::from));
        let row: Option<(i64, i64, String, String)> = self.fetch_one(text, binds).await?;
        let Some((mail, realm, subject, address)) = row else {
            return Ok(None);
        };
        let text = "select list from posting where mail = $1 order by list";
        let lists: Vec<(i64,)> = self.fetch(text, vec![mail.into()]).await?;
        let posted = PostedMail {
            mail: MailId(mail),
            realm: RealmId(realm),
            subject,
            address,
        };
        Ok(Some((
            posted,
            lists.into_iter().map(|l| ListId(l.0)).collect(),
        )))
    }

    /// What recalls left to do in a realm.
    pub async fn load_aftermath(&self, realm: RealmId) -> Result<Aftermath, StoreError> {
        let text = "select patchset, label, mail from aftermath where realm = $1";
        let rows: Vec<(i64, String, i64)> = self.fetch(text, vec![realm.0.into()]).await?;
        let mut left = Aftermath::default();
        for (patchset, label, mail) in rows {
            match mail {
                0 => left.versions.push((patchset, label)),
                mail => left.near.push(MailId(mail)),
            }
        }
        Ok(left)
    }

    /// All patchsets of a realm.
    pub async fn load_patchsets_of(&self, realm: RealmId) -> Result<Vec<PatchsetId>, StoreError> {
        let text = "select id from patchset where realm = $1";
        let rows: Vec<(i64,)> = self.fetch(text, vec![realm.0.into()]).await?;
        Ok(rows.into_iter().map(|r| PatchsetId(r.0)).collect())
    }
}

/// What is left to do after mails were taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Versions whose refs hold what must not stay, as (patchset, label).
    pub versions: Vec<(i64, String)>,
    /// Mails that were grouped with what is gone: they want to be grouped anew.
    pub near: Vec<MailId>,
}

/// How a mail is taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Removal {
    /// It is held again: that can be undone.
    #[default]
    Recall,
    /// Its words and bytes go, its place in the thread stays and says so.
    Redact,
    /// All of it goes.
    Purge,
}

impl Removal {
    /// The kind of the event that notes it.
    fn kind(self) -> &'static str {
        match self {
            Removal::Recall => "recalled",
            Removal::Redact => "redacted",
            Removal::Purge => "purged",
        }
    }
}

/// What a removal is to do beside taking the mail back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecallWish {
    /// How it is taken back.
    pub how: Removal,
    /// Ban the author's address at the lists that the mail was posted to.
    pub ban: bool,
    /// Why, in words.
    pub why: String,
    /// Who decided.
    pub actor: String,
}

impl Store {
    /// Strikes off what was left to do; what came meanwhile stays.
    pub async fn finish_aftermath(
        &self,
        realm: RealmId,
        done: Aftermath,
        job: job::Held,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                for (patchset, label) in done.versions {
                    let text =
                        "delete from aftermath where realm = $1 and patchset = $2 and label = $3";
                    let binds = vec![realm.0.into(), patchset.into(), label.into()];
                    tx.execute(text, binds).await?;
                }
                let near: Vec<i64> = done.near.iter().map(|m| m.0).collect();
                for chunk in near.chunks(400) {
                    on(
                        tx,
                        "delete from aftermath where patchset = 0 and mail in (..)",
                        chunk,
                    )
                    .await?;
                }
                job::finish(tx, &[job]).await
            })
        })
        .await
    }

    /// Takes a mail out of the archive and all its lists and stops the copies that were not sent, in one commit; `None` if it is not
    /// there. After a purge [`Store::scrub_realm`] writes the files anew.
    pub async fn recall(
        &self,
        mail: MailId,
        wish: RecallWish,
        now: Timestamp,
    ) -> Result<Option<Recalled>, StoreError> {
        let done = self
            .write(move |tx| Box::pin(recall(tx, mail, wish, now)))
            .await?;
        self.jobs.ring("aftermath");
        Ok(done)
    }
}

/// What is needed of the mail's row.
type Row = (
    i64,
    i64,
    Vec<u8>,
    String,
    String,
    String,
    String,
    i64,
    i64,
    String,
    i64,
);

pub(super) async fn recall(
    tx: &mut Tx,
    mail: MailId,
    wish: RecallWish,
    now: Timestamp,
) -> Result<Option<Recalled>, StoreError> {
    let text = "select realm, node, hash, message_id, subject, author, address, size, arrived, verdict, level from mail where id = $1";
    let Some(row) = tx.fetch_one::<Row>(text, vec![mail.0.into()]).await? else {
        return Ok(None);
    };
    let (realm, node, arrived, address) = (RealmId(row.0), row.1, row.8, row.6.to_lowercase());
    file::lock_realm(tx, realm).await?;
    let threads = super::application::threads(tx, &[mail]).await?;
    let text = "select p.list, p.number, l.name from posting p join list l on l.id = p.list where p.mail = $1 order by p.list";
    let postings: Vec<(i64, i64, String)> = tx.fetch(text, vec![mail.0.into()]).await?;
    let mut done = Recalled::default();
    for (list, number, name) in &postings {
        stop(tx, *list, *number, &mut done).await?;
        done.lists.push(name.clone());
    }
    let message_id = row.3.clone();
    match wish.how {
        Removal::Recall => hold_again(tx, mail, row, &wish.why).await?,
        Removal::Redact | Removal::Purge => deny(tx, mail, &message_id, &postings, now).await?,
    }
    let versions = versions_with(tx, mail).await?;
    let near = forget_groups(tx, &[mail.0]).await?;
    owe_aftermath(tx, realm, versions, near, now).await?;
    if wish.how != Removal::Recall {
        forget_bytes(tx, realm, &[mail.0]).await?;
    }
    match wish.how {
        Removal::Redact => blacken(tx, mail, Timestamp(arrived)).await?,
        Removal::Recall | Removal::Purge => {
            tx.execute("delete from posting where mail = $1", vec![mail.0.into()])
                .await?;
            forget_mails(tx, realm, &[(mail.0, arrived, node)]).await?;
        }
    }
    file::refresh_list_threads(tx, &threads).await?;
    file::raise(tx, realm, &threads).await?;
    let ban = ban_keys(&address).into_iter().take(1).filter(|_| wish.ban);
    done.banned = ban.collect();
    let mut notes = Vec::new();
    for (list, ..) in &postings {
        super::access::ban(tx, *list, done.banned.clone(), &wish.why, now).await?;
        notes.push(event::Note {
            realm,
            list: ListId(*list),
            kind: wish.how.kind(),
            actor: wish.actor.clone(),
            detail: format!(
                "{}; copies stopped {}, under way {}, sent {}",
                wish.why, done.stopped, done.under_way, done.sent
            ),
        });
    }
    event::insert(tx, notes, now).await?;
    Ok(Some(done))
}

/// The versions that a mail is a part of, and those that were applied on commits of these.
async fn versions_with(tx: &mut Tx, mail: MailId) -> Result<Vec<(i64, String)>, StoreError> {
    let own = "select s.id from series s where s.anchor in (..) or s.cover in (..) \
         or s.id in (select p.series from patch p where p.mail in (..))";
    let own = ids_of(tx, own, &[mail.0]).await?;
    let built = "with recursive built(series) as (select a.series from application a where a.on_series in (..) \
         union select a.series from application a join built b on a.on_series = b.series) select series from built";
    let mut all = ids_of(tx, built, &own).await?;
    all.extend(own);
    let mut versions = Vec::new();
    for chunk in all.chunks(400) {
        let text = format!(
            "select distinct patchset, label from series where id in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
        versions.extend(tx.fetch::<(i64, String)>(text, binds).await?);
    }
    Ok(versions)
}

/// Refs go and groups are made anew after the commit: what takes time must not keep copies going.
async fn owe_aftermath(
    tx: &mut Tx,
    realm: RealmId,
    versions: Vec<(i64, String)>,
    near: Vec<i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |patchset: i64, label: &str, mail: i64| {
        vec![realm.0.into(), patchset.into(), label.into(), mail.into()]
    };
    let versions = versions
        .iter()
        .map(|(patchset, label)| row(*patchset, label, 0));
    let near = near.into_iter().map(|mail| row(0, "", mail));
    let rows = versions.chain(near).collect();
    let head = "aftermath (realm, patchset, label, mail)";
    tx.insert(head, rows, "on conflict do nothing").await?;
    job::insert(tx, &[(Job::Aftermath(realm), 0)], now).await
}

/// Bars a mail from coming back by whatever way, and drops what notes say of it.
async fn deny(
    tx: &mut Tx,
    mail: MailId,
    message_id: &str,
    postings: &[(i64, i64, String)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "insert into denied (identity, made) select identity, cast($1 as bigint) from mail where id = $2 on conflict do nothing";
    tx.execute(text, vec![now.0.into(), mail.0.into()]).await?;
    let text = format!(
        "update receipt set state = {}, sender = '', verdict = '' where mail = $1",
        hold::REFUSED
    );
    tx.execute(text, vec![mail.0.into()]).await?;
    for (list, ..) in postings {
        let text = "delete from event where list = $1 and replace(detail, $2, '') <> detail";
        tx.execute(text, vec![(*list).into(), message_id.into()])
            .await?;
    }
    Ok(())
}

/// Takes a mail's words away; its place in the thread and its name stay.
async fn blacken(tx: &mut Tx, mail: MailId, arrived: Timestamp) -> Result<(), StoreError> {
    index::remove(tx, &[index::position(arrived, mail)]).await?;
    let ids = &[mail.0];
    let events = "select event from correction_mail where mail in (..) union select id from event where mail in (..)";
    let events = ids_of(tx, events, ids).await?;
    for text in [
        "delete from correction_mail where event in (..)",
        "delete from event where id in (..)",
    ] {
        on(tx, text, &events).await?;
    }
    for text in [
        "update body set text = '' where mail in (..)",
        "delete from alias where mail in (..)",
        "delete from link_key where mail in (..)",
        "delete from landed where mail in (..)",
        "update mail set state = 1, subject = '(removed)', author = '', address = '', flaws = '', kind = 'plain', recognised = '', \
         verdict = '', size = 0 where id in (..)",
    ] {
        on(tx, text, ids).await?;
    }
    Ok(())
}

/// Stops the copies of one posting.
async fn stop(tx: &mut Tx, list: i64, number: i64, done: &mut Recalled) -> Result<(), StoreError> {
    let place = || vec![list.into(), number.into()];
    let text = "select f.sent, (select count(*) from member m where m.list = f.list and m.mail = 1 and m.id > f.cursor) \
         from fan_out f where f.list = $1 and f.number = $2";
    if let Some((sent, unreached)) = tx.fetch_one::<(i64, i64)>(text, place()).await? {
        done.sent += sent;
        done.stopped += unreached;
    }
    let text = "delete from delivery where list = $1 and number = $2 returning state";
    for (state,) in tx.fetch::<(i64,)>(text, place()).await? {
        match state {
            1 => done.under_way += 1,
            // Given up before.
            2 => {}
            _ => done.stopped += 1,
        }
    }
    let text = "delete from fan_out where list = $1 and number = $2";
    tx.execute(text, place()).await?;
    let key = format!("{list}/{number}");
    let text = "delete from job where kind = 'fan-out' and key = $1";
    tx.execute(text, vec![key.into()]).await.map(|_| ())
}

/// The mail's receipts are held again, each for its list.
async fn hold_again(tx: &mut Tx, mail: MailId, row: Row, why: &str) -> Result<(), StoreError> {
    let (_, _, hash, message_id, subject, author, address, size, _, verdict, level) = row;
    let text = "select id, list, realm, identity, arrived from receipt where mail = $1";
    let receipts: Vec<(i64, i64, i64, Vec<u8>, i64)> = tx.fetch(text, vec![mail.0.into()]).await?;
    let text = format!(
        "update receipt set state = {}, mail = null, again = 0 where mail = $1",
        hold::HELD
    );
    tx.execute(text, vec![mail.0.into()]).await?;
    let words = Verdict::from_stored(&verdict).words();
    let row = |(id, list, realm, identity, arrived): (i64, i64, i64, Vec<u8>, i64)| {
        let none = || Bind::from("");
        vec![
            id.into(),
            list.into(),
            realm.into(),
            identity.into(),
            hash.clone().into(),
            message_id.as_str().into(),
            subject.as_str().into(),
            author.as_str().into(),
            address.to_lowercase().into(),
            size.into(),
            arrived.into(),
            format!("recalled: {why}").into(),
            words.as_str().into(),
            level.into(),
            none(),
            none(),
            none(),
            // Whoever recalled it knows.
            1.into(),
        ]
    };
    let rows = receipts.into_iter().map(row).collect();
    hold::insert_rows(tx, rows).await
}
