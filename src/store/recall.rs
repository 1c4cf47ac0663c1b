//! Taking posted mail back: into the hold as if it had never been let through, or away for ever.

use super::mail::hash_of;
use super::purge::{forget_bytes, forget_groups, forget_mails, ids_of, on};
use super::sql::Bind;
use super::traces::{self, Leaving};
use super::writer::Tx;
use super::{Reader, Store, StoreError, event, file, hold, index, job, mark_of, marks};
use crate::list::settings::ban_keys;
use crate::types::{Identity, Job, ListId, MailId, MessageId, PatchsetId, RealmId, Timestamp};
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

/// By what letters and notes about a mail go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Its receipts, with their lists.
    pub receipts: Vec<(ListId, i64)>,
    /// Its mark, which it has without any.
    pub mark: i64,
}

impl Traces {
    /// What letters about it name ([`CappedLetter::about`]).
    pub fn about(&self) -> Vec<i64> {
        let receipts = self.receipts.iter().map(|r| r.1);
        receipts.chain([self.mark]).collect()
    }
}

/// A posted mail as a person may mean it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedMail {
    /// Its row.
    pub mail: MailId,
    /// Its realm.
    pub realm: RealmId,
    /// Its name.
    pub message_id: String,
    /// Decoded Subject.
    pub subject: String,
    /// Author's address as written.
    pub address: String,
}

impl Reader {
    /// These mails as a person may mean them.
    pub async fn load_posted(&self, mails: &[MailId]) -> Result<Vec<PostedMail>, StoreError> {
        let text = format!(
            "select id, realm, message_id, subject, address from mail where id in ({}) order by id",
            marks(mails.len())
        );
        let binds = mails.iter().map(|m| Bind::from(m.0)).collect();
        let rows: Vec<(i64, i64, String, String, String)> = self.fetch(text, binds).await?;
        let row = |(mail, realm, message_id, subject, address)| PostedMail {
            mail: MailId(mail),
            realm: RealmId(realm),
            message_id,
            subject,
            address,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// By what letters and notes about a mail go with it; `None` if it is gone.
    pub async fn find_traces(&self, mail: MailId) -> Result<Option<Traces>, StoreError> {
        let text = "select realm, identity from mail where id = $1";
        let row: Option<(i64, Vec<u8>)> = self.fetch_one(text, vec![mail.0.into()]).await?;
        let Some((realm, identity)) = row else {
            return Ok(None);
        };
        let mark = mark_of(&Identity(hash_of(identity.clone())?.0));
        let text = "select list, id from receipt where realm = $1 and identity = $2 order by id";
        let rows: Vec<(i64, i64)> = self
            .fetch(text, vec![realm.into(), identity.into()])
            .await?;
        let receipts = rows.into_iter().map(|(list, id)| (ListId(list), id));
        Ok(Some(Traces {
            receipts: receipts.collect(),
            mark,
        }))
    }

    /// The mail of that name, or that it has from another server, which a list has of one of these addresses, given in lower case; the
    /// best authenticated of several. With the lists that have it.
    pub async fn find_own_mail(
        &self,
        list: ListId,
        id: &MessageId,
        addresses: &[String],
    ) -> Result<Option<(PostedMail, Vec<ListId>)>, StoreError> {
        let text = format!(
            "select m.id, m.realm, m.message_id, m.subject, m.address from mail m join posting p on p.mail = m.id \
             where p.list = ? and (m.message_id = ? or m.id in (select a.mail from alias a where a.message_id = ?)) \
             and m.state = 0 and lower(m.address) in ({}) \
             order by case when m.message_id = ? then 0 else 1 end, m.level desc, m.id limit 1",
            marks(addresses.len())
        );
        let id = || Bind::from(id.as_str());
        let mut binds: Vec<Bind> = vec![list.0.into(), id(), id()];
        binds.extend(addresses.iter().map(Bind::from));
        binds.push(id());
        let row: Option<(i64, i64, String, String, String)> = self.fetch_one(text, binds).await?;
        let Some((mail, realm, message_id, subject, address)) = row else {
            return Ok(None);
        };
        let text = "select list from posting where mail = $1 order by list";
        let lists: Vec<(i64,)> = self.fetch(text, vec![mail.into()]).await?;
        let posted = PostedMail {
            mail: MailId(mail),
            realm: RealmId(realm),
            message_id,
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
    /// What is redacted or purged comes back to no realm, not only not to its own.
    pub everywhere: bool,
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
    /// there, or to be held again and redacted. After a purge [`Store::scrub_realm`] writes the files anew.
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
    Vec<u8>,
    String,
    String,
    String,
    String,
    i64,
    i64,
    String,
    i64,
    i64,
);

pub(super) async fn recall(
    tx: &mut Tx,
    mail: MailId,
    wish: RecallWish,
    now: Timestamp,
) -> Result<Option<Recalled>, StoreError> {
    let text = "select realm, node, identity, hash, message_id, subject, author, address, size, arrived, verdict, level, state from mail where id = $1";
    let Some(row) = tx.fetch_one::<Row>(text, vec![mail.0.into()]).await? else {
        return Ok(None);
    };
    // Of a redacted mail there is nothing to hold; its place stays.
    if wish.how == Removal::Recall && row.12 != 0 {
        return Ok(None);
    }
    let (realm, node, arrived, address) = (RealmId(row.0), row.1, row.9, row.7.to_lowercase());
    // What is redacted or purged leaves no name anywhere.
    let name = match wish.how {
        Removal::Recall => format!(": {}", row.4),
        Removal::Redact | Removal::Purge => String::new(),
    };
    file::lock_realm(tx, realm).await?;
    let threads = super::application::threads(tx, &[mail]).await?;
    let text = "select p.list, p.number, l.name from posting p join list l on l.id = p.list where p.mail = $1 order by p.list";
    let postings: Vec<(i64, i64, String)> = tx.fetch(text, vec![mail.0.into()]).await?;
    let mut done = Recalled::default();
    for (list, number, name) in &postings {
        if wish.how == Removal::Recall {
            keep_reach(tx, *list, *number, &row.2).await?;
        }
        stop(tx, *list, *number, &mut done).await?;
        done.lists.push(name.clone());
    }
    match wish.how {
        Removal::Recall => hold_again(tx, row, &wish.why, now).await?,
        Removal::Redact | Removal::Purge => {
            let barred = if wish.everywhere { RealmId(0) } else { realm };
            deny(tx, barred, &row, now).await?;
        }
    }
    let versions = versions_with(tx, mail).await?;
    let near = forget_groups(tx, &[mail.0]).await?;
    owe_aftermath(tx, realm, versions, near, now).await?;
    if wish.how != Removal::Recall {
        forget_bytes(tx, realm, &[mail.0]).await?;
    }
    if wish.how == Removal::Purge {
        super::scrub::owe(tx, realm, now).await?;
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
                "{}; copies stopped {}, under way {}, sent {}{name}",
                wish.why, done.stopped, done.under_way, done.sent
            ),
            receipt: None,
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
pub(super) async fn owe_aftermath(
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

/// Bars a mail from coming back to a realm (0: to any) by whatever way, wherever in its own it is or waits, and drops what notes
/// and letters say of it.
async fn deny(tx: &mut Tx, barred: RealmId, row: &Row, now: Timestamp) -> Result<(), StoreError> {
    let (realm, identity, message_id) = (row.0, &row.2, &row.4);
    let bar = vec![barred.0.into(), identity.clone().into(), now.0.into()];
    let head = "barred (realm, identity, made)";
    tx.insert(head, vec![bar], "on conflict do nothing").await?;
    let text = "select id from receipt where realm = $1 and identity = $2";
    let binds = vec![realm.into(), identity.clone().into()];
    let receipts: Vec<(i64,)> = tx.fetch(text, binds).await?;
    let ids: Vec<i64> = receipts.iter().map(|r| r.0).collect();
    for text in [
        "delete from held where receipt in (..)",
        "delete from reached where receipt in (..)",
        "delete from unreached where receipt in (..)",
    ] {
        on(tx, text, &ids).await?;
    }
    strike_off_filing(tx, &ids).await?;
    // At the highest level no copy is better: none is decided on anew.
    let text = format!(
        "update receipt set state = {}, again = 0, level = 1, sender = '', verdict = '' where id in (..)",
        hold::REFUSED
    );
    on(tx, &text, &ids).await?;
    let leaving = Leaving {
        identity: identity.clone(),
        message_id,
        receipts: ids,
    };
    traces::forget(tx, RealmId(realm), None, &[leaving]).await
}

/// Nobody files these receipts any more.
async fn strike_off_filing(tx: &mut Tx, receipts: &[i64]) -> Result<(), StoreError> {
    for chunk in receipts.chunks(400) {
        let text = format!(
            "delete from job where kind = 'file' and key in ({})",
            marks(chunk.len())
        );
        let keys = chunk.iter().map(|id| Bind::from(id.to_string()));
        tx.execute(text, keys.collect()).await?;
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
    let text = "select f.sent, (select count(*) from member m where m.list = f.list and m.mail = 1 and m.id > f.cursor and f.finished is null) \
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

/// Keeps who had a copy of one posting: let through again, it goes to the others only. What is under way just then may
/// arrive or not, and goes out again; what was given up is not tried anew.
async fn keep_reach(
    tx: &mut Tx,
    list: i64,
    number: i64,
    identity: &[u8],
) -> Result<(), StoreError> {
    let binds = || vec![list.into(), number.into(), identity.to_vec().into()];
    // An earlier time that it was taken back may not have been made up for yet.
    let text = "delete from unreached where receipt in (select id from receipt where list = $1 and identity = $3) \
         and member <= (select cursor from fan_out where list = $1 and number = $2)";
    tx.execute(text, binds()).await?;
    // Without a row nobody was to get it: whoever is a member now does not, either.
    let text = "insert into reached (receipt, cursor) select r.id, coalesce((select f.cursor from fan_out f \
         where f.list = $1 and f.number = $2), (select coalesce(max(m.id), 0) from member m where m.list = $1)) \
         from receipt r where r.list = $1 and r.identity = $3 \
         on conflict (receipt) do update set cursor = case when excluded.cursor > reached.cursor then excluded.cursor else reached.cursor end";
    tx.execute(text, binds()).await?;
    let text = "insert into unreached (receipt, member) select r.id, d.member from delivery d join receipt r on r.list = d.list \
         where d.list = $1 and d.number = $2 and r.identity = $3 and d.state <> 2 on conflict do nothing";
    tx.execute(text, binds()).await.map(|_| ())
}

/// The mail's receipts are held again, each for its list: also those that are to be filed just now, so that it goes out nowhere.
async fn hold_again(tx: &mut Tx, row: Row, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let (realm, _, identity, hash, message_id, subject, author, address, size, ..) = row;
    let (.., verdict, level, _) = row;
    let text = format!(
        "select id, list, arrived from receipt where realm = $1 and identity = $2 and state < {}",
        hold::HELD
    );
    let binds = vec![realm.into(), identity.clone().into()];
    let receipts: Vec<(i64, i64, i64)> = tx.fetch(text, binds).await?;
    let ids: Vec<i64> = receipts.iter().map(|r| r.0).collect();
    strike_off_filing(tx, &ids).await?;
    let text = format!(
        "update receipt set state = {}, mail = null, again = 0, turn = turn + 1 where id in (..)",
        hold::HELD
    );
    on(tx, &text, &ids).await?;
    let words = Verdict::from_stored(&verdict).words();
    let row = |(id, list, arrived): (i64, i64, i64)| {
        let none = || Bind::from("");
        vec![
            id.into(),
            list.into(),
            realm.into(),
            identity.clone().into(),
            hash.clone().into(),
            message_id.as_str().into(),
            subject.as_str().into(),
            author.as_str().into(),
            address.to_lowercase().into(),
            size.into(),
            arrived.into(),
            now.0.into(),
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
