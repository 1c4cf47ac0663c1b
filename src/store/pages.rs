//! What pages read: threads of a list, mails, patchsets. Values only; nothing is rendered here.

use super::copy::{Named, choose_named};
use super::{Bind, ListRow, Reader, StoreError, index, marks};
use crate::types::{ListId, MailId, MessageId, RealmId, Timestamp};
use crate::verdict::Verdict;

/// Whose mails are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One list's.
    List(ListId),
    /// Those of all public lists.
    Public,
}

impl Scope {
    /// A condition on a posting `p`, and what it binds.
    pub(super) fn condition(self) -> (&'static str, Option<Bind>) {
        match self {
            Scope::List(list) => ("p.list = ?", Some(list.0.into())),
            Scope::Public => (
                "p.list in (select id from list where visibility = 'public')",
                None,
            ),
        }
    }
}

/// A thread in a list's front page.
#[derive(Debug, Clone)]
pub struct ThreadRow {
    /// Its row, for paging.
    pub thread: i64,
    /// Newest arrival.
    pub last: Timestamp,
    /// How many mails the list has of it.
    pub postings: i64,
    /// The mail that gives it its title.
    pub root: MailId,
    /// Its name.
    pub message_id: String,
    /// Its subject.
    pub subject: String,
    /// Its author's name.
    pub author: String,
    /// Its author's address.
    pub address: String,
}

/// A mail with what a page shows of it.
#[derive(Debug, Clone)]
pub struct MailRow {
    /// Its row.
    pub mail: MailId,
    /// Its number in the list.
    pub number: i64,
    /// Its name.
    pub message_id: String,
    /// Its subject.
    pub subject: String,
    /// Its author's name.
    pub author: String,
    /// Its author's address.
    pub address: String,
    /// The Date field.
    pub date: Option<Timestamp>,
    /// Arrival.
    pub arrived: Timestamp,
    /// `patch`, `cover` …
    pub kind: String,
    /// Names of flaws.
    pub flaws: String,
    /// What a reader sees.
    pub text: String,
    /// Its place.
    pub node: i64,
    /// Its thread.
    pub thread: i64,
    /// What is known of its sender.
    pub verdict: Verdict,
    /// Taken back: shown as a tombstone.
    pub taken_back: bool,
}

type MailTuple = (
    i64,
    i64,
    String,
    String,
    String,
    String,
    Option<i64>,
    i64,
    String,
    String,
    String,
    i64,
    i64,
    String,
    i64,
);
const MAIL: &str = "select m.id, p.number, m.message_id, m.subject, m.author, m.address, m.date, m.arrived, m.kind, m.flaws, b.text, \
     m.node, n.thread, m.verdict, m.state from posting p join mail m on m.id = p.mail join node n on n.id = m.node join body b on b.mail = m.id";

/// Mails of realm $2 by the name $3, by index. Where it is used the order is by `+p.number`: the sign keeps SQLite from
/// reading all postings of the list in that order to find the one.
const NAMED: &str = "select m2.id from node n2 join mail m2 on m2.node = n2.id where n2.realm = $2 and n2.message_id = $3 \
     union select mail from alias where realm = $2 and message_id = $3";

fn mail_row(t: MailTuple) -> MailRow {
    let (
        mail,
        number,
        message_id,
        subject,
        author,
        address,
        date,
        arrived,
        kind,
        flaws,
        text,
        node,
        thread,
        verdict,
        state,
    ) = t;
    let (mail, date, arrived) = (MailId(mail), date.map(Timestamp), Timestamp(arrived));
    MailRow {
        mail,
        number,
        message_id,
        subject,
        author,
        address,
        date,
        arrived,
        kind,
        flaws,
        text,
        node,
        thread,
        verdict: Verdict::from_stored(&verdict),
        taken_back: state == 1,
    }
}

/// A mail of a thread without its text: what its place among the others is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadLine {
    /// Its row.
    pub mail: MailId,
    /// Its name.
    pub message_id: String,
    /// The Date field.
    pub date: Option<Timestamp>,
    /// Arrival.
    pub arrived: Timestamp,
    /// Its number in the list.
    pub number: i64,
}

impl Reader {
    /// Newest threads of a list that had a mail last at `before` or earlier (microseconds since 1970).
    pub async fn load_threads(
        &self,
        list: ListId,
        before: i64,
        limit: i64,
    ) -> Result<Vec<ThreadRow>, StoreError> {
        type Row = (i64, i64, i64, i64, String, String, String, String);
        let text = "select t.thread, t.last_arrived, t.postings, m.id, m.message_id, m.subject, m.author, m.address \
             from list_thread t join mail m on m.id = t.root_mail where t.list = $1 \
             and t.last_arrived <= $2 order by t.last_arrived desc, t.thread desc limit $3";
        let rows: Vec<Row> = self
            .fetch(text, vec![list.0.into(), before.into(), limit.into()])
            .await?;
        let row = |(thread, last, postings, root, message_id, subject, author, address)| {
            let (last, root) = (Timestamp(last), MailId(root));
            ThreadRow {
                thread,
                last,
                postings,
                root,
                message_id,
                subject,
                author,
                address,
            }
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// The mails of that name in a list, the best authenticated first; more than one if different mails carry it.
    pub async fn find_mails(
        &self,
        list: &ListRow,
        id: &MessageId,
    ) -> Result<Vec<MailRow>, StoreError> {
        let text = format!(
            "{MAIL} where p.list = $1 and p.mail in ({NAMED}) order by case when m.message_id = $3 then 0 else 1 end, \
             case when lower(m.address) = (select lower(m3.address) from node n3 join mail m3 on m3.node = n3.id \
             join posting p3 on p3.mail = m3.id where n3.realm = $2 and n3.message_id = $3 and p3.list = $1 \
             order by m3.arrived, m3.id limit 1) then 0 else 1 end, m.level desc, m.arrived, p.number limit 20"
        );
        let binds = vec![list.id.0.into(), list.realm.0.into(), id.as_str().into()];
        Ok(self
            .fetch::<MailTuple>(text, binds)
            .await?
            .into_iter()
            .map(mail_row)
            .collect())
    }

    /// The mail of a number in a list.
    pub async fn find_mail_by_number(
        &self,
        list: ListId,
        number: i64,
    ) -> Result<Option<MailRow>, StoreError> {
        let text = format!("{MAIL} where p.list = $1 and p.number = $2");
        let binds = vec![list.0.into(), number.into()];
        let found: Option<MailTuple> = self.fetch_one(text, binds).await?;
        Ok(found.map(mail_row))
    }

    /// The public list that has a mail of that name, the oldest list first.
    pub async fn find_public_list_of(&self, id: &MessageId) -> Result<Option<String>, StoreError> {
        let text = "select l.name from mail m join posting p on p.mail = m.id join list l on l.id = p.list \
             where m.node in (select id from node where realm = $1 and message_id = $2) and l.visibility = 'public' \
             order by l.id limit 1";
        let row: Option<(String,)> = self
            .fetch_one(text, vec![RealmId::PUBLIC.0.into(), id.as_str().into()])
            .await?;
        Ok(row.map(|r| r.0))
    }

    /// The mails of a thread that a list has, by number, those above `after`; at most `limit`.
    pub async fn load_thread(
        &self,
        list: ListId,
        thread: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<MailRow>, StoreError> {
        let text = format!(
            "{MAIL} where p.list = ? and n.thread = ? and p.number > ? order by p.number limit ?"
        );
        let binds = vec![list.0.into(), thread.into(), after.into(), limit.into()];
        Ok(self
            .fetch::<MailTuple>(text, binds)
            .await?
            .into_iter()
            .map(mail_row)
            .collect())
    }

    /// The mails of a thread in a list without their texts, by number.
    pub async fn load_thread_lines(
        &self,
        list: ListId,
        thread: i64,
        limit: i64,
    ) -> Result<Vec<ThreadLine>, StoreError> {
        type Row = (i64, String, Option<i64>, i64, i64);
        let text = "select m.id, m.message_id, m.date, m.arrived, p.number from node n join mail m on m.node = n.id \
             join posting p on p.mail = m.id and p.list = $1 where n.thread = $2 order by p.number limit $3";
        let binds = vec![list.0.into(), thread.into(), limit.into()];
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let line = |(mail, message_id, date, arrived, number): Row| ThreadLine {
            mail: MailId(mail),
            message_id,
            date: date.map(Timestamp),
            arrived: Timestamp(arrived),
            number,
        };
        Ok(rows.into_iter().map(line).collect())
    }

    /// Of threads of a list that hold patches, a patch of the series that came last: (thread, mail).
    pub async fn load_patches_in(
        &self,
        list: ListId,
        threads: &[i64],
    ) -> Result<Vec<(i64, MailId)>, StoreError> {
        let mut all = Vec::new();
        for chunk in threads.chunks(200) {
            let text = format!(
                "select n.thread, max(m.id) from node n join mail m on m.node = n.id join posting q on q.mail = m.id and q.list = ? \
                 join patch p on p.mail = m.id and p.taken_over = 0 where n.thread in ({}) group by n.thread",
                marks(chunk.len())
            );
            let ids = chunk.iter().map(|t| Bind::from(*t));
            let binds = [Bind::from(list.0)].into_iter().chain(ids).collect();
            let rows: Vec<(i64, i64)> = self.fetch(text, binds).await?;
            all.extend(
                rows.into_iter()
                    .map(|(thread, mail)| (thread, MailId(mail))),
            );
        }
        Ok(all)
    }

    /// Mails of these threads as (row, name), by arrival: what an mbox holds. Those taken back are left out.
    pub async fn load_thread_ids(
        &self,
        scope: Scope,
        threads: &[i64],
    ) -> Result<Vec<(MailId, String)>, StoreError> {
        let (condition, bind) = scope.condition();
        let mut all: Vec<(i64, String, i64, String)> = Vec::new();
        for chunk in threads.chunks(400) {
            let text = format!(
                "select m.id, m.message_id, m.level, m.address from node n join mail m on m.node = n.id where n.thread in ({}) and m.state = 0 \
                 and exists (select 1 from posting p where p.mail = m.id and {condition}) order by m.arrived, m.id",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|t| Bind::from(*t)).chain(bind.clone());
            all.extend(self.fetch(text, binds.collect()).await?);
        }
        let named = |(id, name, rank, address): &(i64, String, i64, String)| Named {
            mail: MailId(*id),
            name: name.clone(),
            address: address.to_lowercase(),
            rank: *rank,
        };
        let served = choose_named(all.iter().map(named));
        let all = all.into_iter().map(|(id, name, ..)| (MailId(id), name));
        Ok(all.filter(|(id, _)| served.contains(id)).collect())
    }

    /// The threads of these mails, each once.
    pub async fn load_threads_of(&self, mails: &[MailId]) -> Result<Vec<i64>, StoreError> {
        let mut all = std::collections::BTreeSet::new();
        for chunk in mails.chunks(400) {
            let text = format!(
                "select n.thread from mail m join node n on n.id = m.node where m.id in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
            let rows: Vec<(i64,)> = self.fetch(text, binds).await?;
            all.extend(rows.into_iter().map(|r| r.0));
        }
        Ok(all.into_iter().collect())
    }

    /// Stored bytes of these mails and whether CRLF is to be put back, in no order; those taken back are left out.
    pub async fn load_bytes_of(
        &self,
        mails: &[MailId],
    ) -> Result<Vec<(MailId, Vec<u8>, bool)>, StoreError> {
        let text = format!(
            "select m.id, b.size, b.crlf, b.dictionary, b.data from mail m join blob b on b.realm = m.realm and b.hash = m.hash \
             where m.state = 0 and m.id in ({})",
            marks(mails.len())
        );
        let binds = mails.iter().map(|m| Bind::from(m.0)).collect();
        let rows: Vec<(i64, i64, i64, i64, Vec<u8>)> = self.fetch(text, binds).await?;
        let mut all = Vec::with_capacity(rows.len());
        for (mail, size, crlf, dictionary, data) in rows {
            let bytes = self.inflate(dictionary, size, &data).await?;
            all.push((MailId(mail), bytes, crlf == 1));
        }
        Ok(all)
    }

    /// Who wrote in these threads of a list, the latest first: (thread, name, address).
    pub async fn load_people(
        &self,
        list: ListId,
        threads: &[i64],
    ) -> Result<Vec<(i64, String, String)>, StoreError> {
        let mut all = Vec::new();
        for chunk in threads.chunks(200) {
            let text = format!(
                "select n.thread, m.author, m.address, max(m.arrived) from node n join mail m on m.node = n.id \
                 join posting p on p.mail = m.id and p.list = ? where n.thread in ({}) \
                 group by n.thread, m.author, m.address order by 4 desc",
                marks(chunk.len())
            );
            let binds =
                std::iter::once(Bind::from(list.0)).chain(chunk.iter().map(|t| Bind::from(*t)));
            let rows: Vec<(i64, String, String, i64)> = self.fetch(text, binds.collect()).await?;
            all.extend(
                rows.into_iter()
                    .map(|(t, name, address, _)| (t, name, address)),
            );
        }
        Ok(all)
    }

    /// What pages of a list are made of: raised by every visible change. (realm's version, members)
    pub async fn find_list_version(&self, list: &ListRow) -> Result<(i64, i64), StoreError> {
        let text = "select r.version, (select count(*) from member where list = $1) from realm r where r.id = $2";
        let binds = vec![list.id.0.into(), list.realm.0.into()];
        Ok(self.fetch_one(text, binds).await?.unwrap_or((0, 0)))
    }

    /// Thread and its version of the mail of that name in a list: what its pages are cached by, without reading them.
    pub async fn find_mail_version(
        &self,
        list: &ListRow,
        id: &MessageId,
    ) -> Result<Option<(i64, i64)>, StoreError> {
        let text = format!(
            "select t.id, t.version from posting p join mail m on m.id = p.mail join node n on n.id = m.node \
             join thread t on t.id = n.thread where p.list = $1 and p.mail in ({NAMED}) order by +p.number limit 1"
        );
        let binds = vec![list.id.0.into(), list.realm.0.into(), id.as_str().into()];
        self.fetch_one(text, binds).await
    }

    /// The parents of the mails of a thread: (mail, parent's name), nearest first.
    pub async fn load_parents(&self, thread: i64) -> Result<Vec<(i64, String)>, StoreError> {
        let text = "select e.mail, n.message_id from edge e join node c on c.id = e.child join node n on n.id = e.parent \
             where c.thread = $1 order by e.mail, e.position";
        self.fetch(text, vec![thread.into()]).await
    }

    /// The newest mails with their texts.
    pub async fn load_newest(&self, scope: Scope, limit: i64) -> Result<Vec<MailRow>, StoreError> {
        if scope == Scope::Public {
            // Of many lists the postings would have to be sorted: all mails have an order already.
            let found = self.newest_of_all(scope, limit).await?;
            let mut mails = self.load_mails(scope, &found).await?;
            mails.sort_by_key(|m| std::cmp::Reverse(index::position(m.arrived, m.mail)));
            return Ok(mails);
        }
        let (condition, bind) = scope.condition();
        let text = format!(
            "{MAIL} where m.state = 0 and {condition} order by p.arrived desc, p.number desc limit ?"
        );
        // A mail to several lists stands there several times.
        let binds = bind.into_iter().chain([Bind::from(limit * 2)]).collect();
        let rows: Vec<MailTuple> = self.fetch(text, binds).await?;
        let mut seen = std::collections::HashSet::new();
        let mails = rows.into_iter().map(mail_row);
        let mails = mails.filter(|m| seen.insert(m.mail));
        Ok(mails.take(usize::try_from(limit).unwrap_or(0)).collect())
    }

    /// These mails with their texts, each once, in no order.
    pub async fn load_mails(
        &self,
        scope: Scope,
        mails: &[MailId],
    ) -> Result<Vec<MailRow>, StoreError> {
        let (condition, bind) = scope.condition();
        let mut seen = std::collections::HashSet::new();
        let mut all = Vec::new();
        for chunk in mails.chunks(200) {
            let text = format!(
                "{MAIL} where {condition} and m.id in ({})",
                marks(chunk.len())
            );
            let ids = chunk.iter().map(|m| Bind::from(m.0));
            let binds = bind.clone().into_iter().chain(ids).collect();
            let rows: Vec<MailTuple> = self.fetch(text, binds).await?;
            all.extend(
                rows.into_iter()
                    .map(mail_row)
                    .filter(|m| seen.insert(m.mail)),
            );
        }
        Ok(all)
    }
}
