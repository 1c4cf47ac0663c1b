//! What came back of copies: one row a copy and kind, however often a bounce is sent again.

use std::collections::{BTreeMap, HashSet};

use super::sql::Bind;
use super::{NewLetter, Reader, Store, StoreError, Tx, delivery, event, letter, marks};
use crate::list::bounce::Class;
use crate::list::{notice, token};
use crate::types::{Address, ListId, MemberId, Timestamp};

/// What came back of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBounce {
    /// Whose copy of what.
    pub copy: token::Bounce,
    /// What it means.
    pub class: Class,
    /// The server's code, or the class's word.
    pub code: String,
    /// The server's words, one clean line.
    pub text: String,
    /// When it came.
    pub arrived: Timestamp,
}

/// A bounce as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BounceRow {
    /// The posting's number.
    pub number: i64,
    /// What it means.
    pub class: String,
    /// The server's code.
    pub code: String,
    /// The server's words.
    pub text: String,
    /// When it came, in microseconds since 1970.
    pub arrived: i64,
    /// Whether it was part of a storm and not counted.
    pub storm: bool,
}

/// A copy that was given up and is not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Its row.
    pub id: i64,
    /// Whose copy of what.
    pub copy: token::Bounce,
    /// The next hop's last answer, or what else was in the way.
    pub problem: String,
}

const NOTE: i64 = 0;
const FAILURE: i64 = 1;
const COMPLAINT: i64 = 2;

fn kind(class: Class) -> i64 {
    match class {
        Class::Complaint => COMPLAINT,
        class if class.is_failure() => FAILURE,
        _ => NOTE,
    }
}

impl Reader {
    /// What came back of copies of a list for an address, the newest first.
    pub async fn load_bounces(
        &self,
        list: ListId,
        address: &str,
        limit: i64,
    ) -> Result<Vec<BounceRow>, StoreError> {
        let text = "select number, class, code, detail, arrived, state from bounce where address = $1 and list = $2 \
             order by id desc limit $3";
        let binds = vec![address.into(), list.0.into(), limit.into()];
        let rows: Vec<(i64, String, String, String, i64, i64)> = self.fetch(text, binds).await?;
        let row = |(number, class, code, text, arrived, state)| BounceRow {
            number,
            class,
            code,
            text,
            arrived,
            storm: state == 2,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Those of some addresses, at most a few hundred, of which copies of a list came back.
    pub async fn find_bounced(
        &self,
        list: ListId,
        addresses: &[String],
    ) -> Result<HashSet<String>, StoreError> {
        if addresses.is_empty() {
            return Ok(HashSet::new());
        }
        let text = format!(
            "select distinct address from bounce where list = ? and address in ({})",
            marks(addresses.len())
        );
        let own = addresses.iter().map(Bind::from);
        let binds = [Bind::from(list.0)].into_iter().chain(own).collect();
        let rows: Vec<(String,)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Whose copy it was, if that member is there still: the address, and whether it is an archive.
    pub async fn find_reader(
        &self,
        copy: token::Bounce,
    ) -> Result<Option<(String, bool)>, StoreError> {
        let text = "select address, kind from member where id = $1 and list = $2";
        let binds = vec![copy.member.0.into(), copy.list.0.into()];
        let row: Option<(String, String)> = self.fetch_one(text, binds).await?;
        Ok(row.map(|(address, kind)| (address, kind == "archive")))
    }

    /// Copies that were given up and that nobody judged yet.
    pub async fn load_given_up(&self, limit: i64) -> Result<Vec<GivenUp>, StoreError> {
        let text = "select id, list, number, member, problem from delivery where state = 2 and judged = 0 order by id limit $1";
        let rows: Vec<(i64, i64, i64, i64, String)> = self.fetch(text, vec![limit.into()]).await?;
        let row = |(id, list, number, member, problem)| GivenUp {
            id,
            copy: token::Bounce {
                list: ListId(list),
                number,
                member: MemberId(member),
            },
            problem,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

impl Store {
    /// Keeps what came back of a copy. A second bounce of the same copy is the same news: returns whether this one was new.
    ///
    /// A complaint ends the subscription in the same transaction, and its address is not kept beside it.
    pub async fn insert_bounce(&self, new: NewBounce) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let complaint = new.class == Class::Complaint;
                let (copy, now) = (new.copy, new.arrived);
                let fresh = insert(tx, vec![new]).await?;
                if fresh == 0 || !complaint {
                    return Ok(fresh > 0);
                }
                complain(tx, copy, now).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Keeps a complaint that nobody vouches for: the member gets no copies until he says so, and a letter that tells him. The same
    /// complaint again changes nothing.
    pub async fn pause_complained(
        &self,
        new: NewBounce,
        letter: Option<NewLetter>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let (copy, now) = (new.copy, new.arrived);
                if insert(tx, vec![new]).await? == 0 {
                    return Ok(());
                }
                let text = "update member set mail = 0 where id = $1 and list = $2 and mail = 1";
                let binds = vec![copy.member.0.into(), copy.list.0.into()];
                if tx.execute(text, binds).await? > 0 {
                    letter::insert(tx, letter.into_iter().collect(), now).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.deliveries.notify_one();
        Ok(())
    }

    /// Keeps what given up copies say (`None`: nothing about the member), and that they were judged.
    pub async fn record_judged(
        &self,
        judged: Vec<(GivenUp, Option<NewBounce>)>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let ids: Vec<i64> = judged.iter().map(|(row, _)| row.id).collect();
                for chunk in ids.chunks(400) {
                    let text = format!(
                        "update delivery set judged = 1 where id in ({})",
                        marks(chunk.len())
                    );
                    let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
                    tx.execute(text, binds).await?;
                }
                let bounces = judged.into_iter().filter_map(|(_, bounce)| bounce);
                insert(tx, bounces.collect()).await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets copies that were given up before then and are judged; their postings go on counting them.
    pub async fn delete_given_up(&self, before: Timestamp) -> Result<(), StoreError> {
        let of = "from delivery where state = 2 and judged = 1 and run_at < $1";
        let any = format!("select id {of} limit 1");
        let any = self.fetch_one::<(i64,)>(any, vec![before.0.into()]).await?;
        if any.is_none() {
            return Ok(());
        }
        let text = format!("delete {of}");
        self.write(move |tx| {
            Box::pin(async move { tx.execute(text, vec![before.0.into()]).await.map(|_| ()) })
        })
        .await
    }

    /// Forgets what came back before then, and the notes on it.
    pub async fn delete_old_bounces(&self, before: Timestamp) -> Result<(), StoreError> {
        let old = "select id from bounce where arrived < $1 and state > 0 limit 1";
        if self
            .fetch_one::<(i64,)>(old, vec![before.0.into()])
            .await?
            .is_none()
        {
            return Ok(());
        }
        self.write(move |tx| {
            Box::pin(async move {
                let at = || vec![Bind::from(before.0)];
                tx.execute("delete from bounce where arrived < $1 and state > 0", at())
                    .await?;
                let text = "delete from event where kind = 'bounce' and happened < $1";
                tx.execute(text, at()).await?;
                Ok(())
            })
        })
        .await
    }
}

/// Inserts bounces with the addresses that their members have now; returns how many are news. Each news about a list is noted there.
async fn insert(tx: &mut Tx, bounces: Vec<NewBounce>) -> Result<usize, StoreError> {
    let members: Vec<i64> = bounces.iter().map(|b| b.copy.member.0).collect();
    let addresses = addresses(tx, &members).await?;
    let address = |new: &NewBounce| {
        let of = (new.copy.list.0, new.copy.member.0);
        addresses.get(&of).cloned().unwrap_or_default()
    };
    let row = |new: &NewBounce| {
        let complaint = new.class == Class::Complaint;
        let address = if complaint {
            String::new()
        } else {
            address(new)
        };
        // Of who left nothing is counted.
        let waits = kind(new.class) == FAILURE && !address.is_empty();
        vec![
            new.copy.list.0.into(),
            new.copy.number.into(),
            new.copy.member.0.into(),
            kind(new.class).into(),
            delivery::domain_of(&address).into(),
            address.into(),
            new.class.word().into(),
            new.code.as_str().into(),
            new.text.as_str().into(),
            new.arrived.0.into(),
            i64::from(!waits).into(),
        ]
    };
    let head =
        "bounce (list, number, member, kind, domain, address, class, code, detail, arrived, state)";
    let tail =
        "on conflict (list, number, member, kind) do nothing returning list, number, member, kind";
    let rows = tx
        .insert(head, bounces.iter().map(row).collect(), tail)
        .await?;
    let mut fresh = std::collections::BTreeSet::new();
    for row in &rows {
        use sqlx::Row;
        let part = |at: usize| row.try_get::<i64, _>(at);
        fresh.insert((part(0)?, part(1)?, part(2)?, part(3)?));
    }
    let key = |b: &NewBounce| (b.copy.list.0, b.copy.number, b.copy.member.0, kind(b.class));
    let news: Vec<&NewBounce> = bounces.iter().filter(|b| fresh.contains(&key(b))).collect();
    let note = |new: &&NewBounce| event::NewEvent {
        list: new.copy.list,
        kind: match new.class {
            Class::Complaint => "complaint",
            _ => "bounce",
        },
        // Of complaints the owner learns how many there are, and not whose.
        actor: match new.class {
            Class::Complaint => String::new(),
            _ => address(new),
        },
        detail: describe(new),
        happened: new.arrived,
    };
    event::record(tx, news.iter().map(note).collect()).await?;
    Ok(news.len())
}

fn describe(new: &NewBounce) -> String {
    match new.class {
        Class::Complaint => "a copy was called spam: its member gets no more of them".to_owned(),
        class => format!(
            "{} {}, the copy of posting {}: {}",
            class.word(),
            new.code,
            new.copy.number,
            new.text
        ),
    }
}

/// Addresses by (list, member), of those that are members still.
async fn addresses(
    tx: &mut Tx,
    members: &[i64],
) -> Result<BTreeMap<(i64, i64), String>, StoreError> {
    let mut found = BTreeMap::new();
    for chunk in members.chunks(400) {
        let text = format!(
            "select list, id, address from member where id in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
        let rows: Vec<(i64, i64, String)> = tx.fetch(text, binds).await?;
        found.extend(rows.into_iter().map(|(list, id, a)| ((list, id), a)));
    }
    Ok(found)
}

/// Whether an address, as it is counted (`list::notice::counted`), called a copy spam since then.
pub(super) async fn has_complained(
    tx: &mut Tx,
    counted: &str,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let text = "select happened from complaint where address = $1 and happened > $2";
    let row: Option<(i64,)> = tx
        .fetch_one(text, vec![counted.into(), since.0.into()])
        .await?;
    Ok(row.is_some())
}

/// Ends the subscription that a copy was for, and remembers not to ask there for a while.
async fn complain(tx: &mut Tx, copy: token::Bounce, now: Timestamp) -> Result<(), StoreError> {
    let text = "delete from member where id = $1 and list = $2 returning address";
    let binds = vec![copy.member.0.into(), copy.list.0.into()];
    let gone: Vec<(String,)> = tx.fetch(text, binds).await?;
    for (address,) in gone {
        let parsed = address.parse::<Address>().ok();
        let counted = parsed.map_or(address, |a| notice::counted(&a));
        let text = "insert into complaint (address, happened) values ($1, $2) \
             on conflict (address) do update set happened = excluded.happened";
        tx.execute(text, vec![counted.into(), now.0.into()]).await?;
    }
    Ok(())
}

/// Notes that copies went out on a list that day.
pub(super) async fn note_copies(
    tx: &mut Tx,
    list: ListId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "insert into copy_day (list, day) values ($1, $2) on conflict do nothing";
    let day = crate::list::score::day(now);
    tx.execute(text, vec![list.0.into(), day.into()]).await?;
    Ok(())
}

/// What keeps an address from getting copies, as a condition on `column`.
pub(super) fn not_disabled(column: &str) -> String {
    format!(
        "not exists (select 1 from standing s where s.address = {column} and s.state = 'disabled')"
    )
}
