//! What members change about themselves: asked, confirmed and carried out, each in one commit with the record that it was, so that
//! a mail that comes again does nothing again.

use std::collections::BTreeMap;

use super::act::{Act, Acted, Asked, By, NewConfirmation, Once, Place, Tell};
use super::notice::{self, CappedLetter, Owed};
use super::person::{self, LINKED};
use super::writer::Tx;
use super::{Reader, Store, StoreError, event, recall, standing};
use crate::list::command::{Spare, Wish};
use crate::list::notice::{ASK, counted as counted_as};
use crate::list::roster::{Entry, Kind};
use crate::types::{Address, Identity, ListId, MemberId, Timestamp};
use crate::verdict::Verdict;

/// How long a confirmation holds, in seconds: three days, as the mail says.
const HOLDS: i64 = 3 * 86_400;
/// How long what was carried out by mail is remembered: longer than any mail server tries, and than a signature commands.
const REMEMBERED: i64 = 14 * 86_400;

impl Reader {
    /// What was asked under a number, if it can still be confirmed or was.
    pub async fn find_confirmation(
        &self,
        list: ListId,
        nonce: i64,
        now: Timestamp,
    ) -> Result<Option<Asked>, StoreError> {
        let row: Option<AskedRow> = self.fetch_one(ASKED, asked_binds(list, nonce, now)).await?;
        Ok(row.and_then(asked))
    }

    /// The list and address of a subscription.
    pub async fn find_member(
        &self,
        member: MemberId,
    ) -> Result<Option<(ListId, String)>, StoreError> {
        let text = "select list, address from member where id = $1";
        let row: Option<(i64, String)> = self.fetch_one(text, vec![member.0.into()]).await?;
        Ok(row.map(|(list, address)| (ListId(list), address)))
    }

    /// Whether any member of a list wants no copies of some posts.
    pub async fn spares_any(&self, list: ListId) -> Result<bool, StoreError> {
        let text = "select m.id from member m join list l on l.id = m.list where m.list = $1 \
             and (m.own = 0 or m.nodupes = 1 or (m.nodupes is null and l.style = 'discuss')) limit 1";
        let row: Option<(i64,)> = self.fetch_one(text, vec![list.0.into()]).await?;
        Ok(row.is_some())
    }

    /// Who speaks for a posting.
    pub async fn load_posting_verdict(
        &self,
        list: ListId,
        number: i64,
    ) -> Result<Verdict, StoreError> {
        let text = "select m.verdict from posting p join mail m on m.id = p.mail where p.list = $1 and p.number = $2";
        let row: Option<(String,)> = self
            .fetch_one(text, vec![list.0.into(), number.into()])
            .await?;
        Ok(row.map_or_else(Verdict::default, |r| Verdict::from_stored(&r.0)))
    }
}

type AskedRow = (String, String, String, i64);
const ASKED: &str = "select address, what, other, done from confirmation where list = $1 and nonce = $2 and made >= $3";

fn asked_binds(list: ListId, nonce: i64, now: Timestamp) -> Vec<super::Bind> {
    let since = now.plus_secs(-HOLDS).0;
    vec![list.0.into(), nonce.into(), since.into()]
}

fn asked((address, what, other, done): AskedRow) -> Option<Asked> {
    // What another version wrote is as if it had run out.
    let wish = Wish::parse(&what)?;
    Some(Asked {
        address,
        wish,
        other,
        done: done == 1,
    })
}

impl Store {
    /// Carries an act out and owes what `letters` makes of its outcome, in one commit; with `once`, only the first time.
    ///
    /// Returns when the commit is flushed. What `letters` makes is not sent if it would be one too many.
    pub async fn act<L: IntoIterator<Item = CappedLetter, IntoIter: Send>>(
        &self,
        place: Place,
        once: Option<Once>,
        act: Act,
        letters: impl FnOnce(&Acted) -> L + Send + 'static,
        now: Timestamp,
    ) -> Result<Acted, StoreError> {
        let acted = self
            .write(move |tx| {
                Box::pin(async move {
                    if let Some(once) = &once
                        && !is_first(tx, place.list, once, now).await?
                    {
                        return Ok(Acted::Before);
                    }
                    let acted = run(tx, place, act, now).await?;
                    if let (
                        Some(once),
                        Acted::Asked(Owed::EnoughForAddress | Owed::EnoughFromSource),
                    ) = (&once, &acted)
                    {
                        // Nothing was done: a flood leaves nothing behind.
                        forget(tx, place.list, once).await?;
                    }
                    let letters = letters(&acted).into_iter();
                    for letter in letters {
                        notice::insert(tx, letter, now).await?;
                    }
                    Ok(acted)
                })
            })
            .await?;
        self.deliveries.notify_one();
        if matches!(acted, Acted::TakenBack(_)) {
            self.jobs.ring("aftermath");
        }
        Ok(acted)
    }

    /// Changes what a member gets; `false` if there is no such member.
    pub async fn update_member(&self, list: ListId, entry: Entry) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let way = (entry.mail, entry.nodupes, entry.own, entry.kind);
                Ok(settle(tx, list, way, &[entry.address]).await? > 0)
            })
        })
        .await
    }

    /// Subscribes members with their settings, all or none; those who are there get the settings that are given. Returns how many are new.
    pub async fn import_members(
        &self,
        list: ListId,
        entries: Vec<Entry>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = |e: &Entry| {
                    vec![
                        list.0.into(),
                        e.address.as_str().into(),
                        1.into(),
                        now.0.into(),
                    ]
                };
                let head = "member (list, address, mail, created)";
                let tail = "on conflict (list, address) do nothing returning address";
                let rows = entries.iter().map(row).collect();
                let new = tx.insert(head, rows, tail).await?;
                let new = new.iter().map(|row| sqlx::Row::try_get(row, 0));
                let new: Vec<String> = new.collect::<Result<_, _>>()?;
                // Who is on the list already and disabled stays so: a roster that is read again is no wish about anybody.
                standing::enable_all(tx, &new, now).await?;
                // A handful of ways to be a member, whatever the number of members.
                let mut ways: BTreeMap<Settings, Vec<String>> = BTreeMap::new();
                for entry in entries {
                    let way = (entry.mail, entry.nodupes, entry.own, entry.kind);
                    ways.entry(way).or_default().push(entry.address);
                }
                for (way, addresses) in ways {
                    settle(tx, list, way, &addresses).await?;
                }
                Ok(new.len() as u64)
            })
        })
        .await
    }
}

/// Mail, nodupes, own and kind, where they are given.
type Settings = (
    Option<bool>,
    Option<Option<bool>>,
    Option<bool>,
    Option<Kind>,
);

/// Sets what is given; returns how many of the addresses are members.
async fn settle(
    tx: &mut Tx,
    list: ListId,
    (mail, nodupes, own, kind): Settings,
    addresses: &[String],
) -> Result<u64, StoreError> {
    let number = |flag: Option<bool>| flag.map(i64::from);
    let mut touched = 0;
    for chunk in addresses.chunks(400) {
        let text = format!(
            "update member set mail = coalesce(cast(? as bigint), mail), own = coalesce(cast(? as bigint), own), \
             kind = coalesce(cast(? as text), kind), \
             nodupes = case when cast(? as bigint) = 1 then cast(? as bigint) else nodupes end \
             where list = ? and address in ({})",
            super::marks(chunk.len())
        );
        let mut binds = vec![
            number(mail).into(),
            number(own).into(),
            kind.map(|k| k.as_str().to_owned()).into(),
            nodupes.is_some().into(),
            number(nodupes.flatten()).into(),
            list.0.into(),
        ];
        binds.extend(chunk.iter().map(super::Bind::from));
        touched += tx.execute(text, binds).await?;
    }
    Ok(touched)
}

/// Whether nothing was done for this before; it is remembered.
pub(super) async fn is_first(
    tx: &mut Tx,
    list: ListId,
    once: &Once,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let old = now.plus_secs(-REMEMBERED).0;
    tx.execute("delete from command where happened < $1", vec![old.into()])
        .await?;
    let row = |key: &Identity| vec![list.0.into(), once.word.into(), key.0.into(), now.0.into()];
    let rows: Vec<_> = once.keys.iter().map(row).collect();
    let head = "command (list, word, identity, happened)";
    let tail = "on conflict do nothing returning list";
    // One signature that was seen before is enough: the others may have been taken off then.
    Ok(tx.insert(head, rows, tail).await?.len() == once.keys.len())
}

async fn forget(tx: &mut Tx, list: ListId, once: &Once) -> Result<(), StoreError> {
    for key in &once.keys {
        let text = "delete from command where list = $1 and word = $2 and identity = $3";
        let binds = vec![list.0.into(), once.word.into(), key.0.into()];
        tx.execute(text, binds).await?;
    }
    Ok(())
}

async fn run(tx: &mut Tx, place: Place, act: Act, now: Timestamp) -> Result<Acted, StoreError> {
    match act {
        Act::Ask(confirmation, letter) => ask(tx, place, confirmation, *letter, now).await,
        Act::Change(address, wish) => {
            let address = find_linked(tx, place.list, address, wish).await?;
            change(tx, place, address, wish, (By::Owner, now)).await
        }
        Act::Exactly(address, wish, by) => change(tx, place, address, wish, (by, now)).await,
        Act::Confirm(nonce) => confirm(tx, place, nonce, now).await,
        Act::Leave(member) => {
            let text = "select address from member where id = $1 and list = $2";
            let found: Option<(String,)> = tx
                .fetch_one(text, vec![member.0.into(), place.list.0.into()])
                .await?;
            match found {
                Some((address,)) => {
                    change(tx, place, address, Wish::Unsubscribe, (By::Owner, now)).await
                }
                None => Ok(Acted::NoMember {
                    address: String::new(),
                }),
            }
        }
        Act::Answer => Ok(Acted::Answered),
        Act::TakeBack(mail, wish) => {
            let done = recall::recall(tx, mail, wish, now).await?;
            Ok(done.map_or(Acted::Gone, |done| Acted::TakenBack(done.sent)))
        }
        Act::Tell(tell) => tell_once(tx, place, *tell, now).await,
    }
}

async fn tell_once(
    tx: &mut Tx,
    place: Place,
    tell: Tell,
    now: Timestamp,
) -> Result<Acted, StoreError> {
    if !is_first(tx, place.list, &tell.once, now).await? {
        return Ok(Acted::Told(None));
    }
    let mut owed = 0;
    for letter in tell.letters {
        owed += usize::from(notice::insert(tx, letter, now).await? == Owed::Yes);
    }
    if owed == 0 {
        // Nobody heard of it: another time somebody may.
        forget(tx, place.list, &tell.once).await?;
        return Ok(Acted::Told(Some(0)));
    }
    let note = event::Note {
        realm: place.realm,
        list: place.list,
        kind: tell.kind,
        actor: tell.actor,
        detail: tell.detail,
        receipt: tell.receipt,
    };
    event::insert(tx, vec![note], now).await?;
    Ok(Acted::Told(Some(owed)))
}

pub(super) async fn ask(
    tx: &mut Tx,
    place: Place,
    confirmation: NewConfirmation,
    letter: CappedLetter,
    now: Timestamp,
) -> Result<Acted, StoreError> {
    let owed = notice::insert(tx, letter, now).await?;
    if owed == Owed::Yes {
        let old = now.plus_secs(-2 * HOLDS).0;
        tx.execute("delete from confirmation where made < $1", vec![old.into()])
            .await?;
        let row = vec![
            confirmation.nonce.into(),
            place.list.0.into(),
            confirmation.address.into(),
            confirmation.wish.as_str().into(),
            confirmation.other.into(),
            now.0.into(),
            0.into(),
        ];
        let head = "confirmation (nonce, list, address, what, other, made, done)";
        tx.insert(head, vec![row], "").await?;
    }
    Ok(Acted::Asked(owed))
}

async fn confirm(
    tx: &mut Tx,
    place: Place,
    nonce: i64,
    now: Timestamp,
) -> Result<Acted, StoreError> {
    let row: Option<AskedRow> = tx
        .fetch_one(ASKED, asked_binds(place.list, nonce, now))
        .await?;
    let Some(asked) = row.and_then(asked) else {
        return Ok(Acted::Unknown);
    };
    let text = "update confirmation set done = 1 where nonce = $1 and done = 0 returning made";
    let made: Option<(i64,)> = tx.fetch_one(text, vec![nonce.into()]).await?;
    let first = made.is_some();
    if let Some((made,)) = made {
        // What was answered was wanted: it does not count against what is asked next.
        let text = "delete from notice where cap = $1 and list = $2 and address = $3 and made = $4";
        let counted = asked.address.parse::<Address>();
        let counted = counted.map_or_else(|_| asked.address.clone(), |a| counted_as(&a));
        let binds = vec![
            ASK.name.into(),
            place.list.0.into(),
            counted.into(),
            made.into(),
        ];
        tx.execute(text, binds).await?;
    }
    match (asked.wish, first) {
        (Wish::Steer, true) => Ok(Acted::Meant {
            address: asked.address,
        }),
        (Wish::Steer, false) => Ok(Acted::Before),
        (Wish::Link, true) => confirm_link(tx, place, asked, now).await,
        // Used before: what it did may have been undone since, and is not done again.
        (wish, true) => {
            let address = find_linked(tx, place.list, asked.address, wish).await?;
            change(tx, place, address, wish, (By::Owner, now)).await
        }
        (_, false) => Ok(Acted::Used {
            address: asked.address,
        }),
    }
}

/// Both addresses are asked, each for itself; the second that confirms makes the link.
async fn confirm_link(
    tx: &mut Tx,
    place: Place,
    asked: Asked,
    now: Timestamp,
) -> Result<Acted, StoreError> {
    let text = "select count(*) from confirmation where list = $1 and address = $2 and other = $3 and what = $4 and done = 1 and made >= $5";
    let binds = vec![
        place.list.0.into(),
        asked.other.as_str().into(),
        asked.address.as_str().into(),
        Wish::Link.as_str().into(),
        now.plus_secs(-HOLDS).0.into(),
    ];
    let both: Option<(i64,)> = tx.fetch_one(text, binds).await?;
    if both.is_none_or(|b| b.0 == 0) {
        return Ok(Acted::Waits);
    }
    person::link(tx, &asked.address, &asked.other, now).await?;
    Ok(Acted::Linked {
        address: asked.address,
        other: asked.other,
    })
}

/// (subscription, whether it gets copies)
async fn find(
    tx: &mut Tx,
    list: ListId,
    address: &str,
) -> Result<Option<(MemberId, bool)>, StoreError> {
    let text = "select id, mail from member where list = $1 and address = $2";
    let row: Option<(i64, i64)> = tx
        .fetch_one(text, vec![list.0.into(), address.into()])
        .await?;
    Ok(row.map(|(id, mail)| (MemberId(id), mail == 1)))
}

/// The address, or the one of the same person that is a member.
async fn find_linked(
    tx: &mut Tx,
    list: ListId,
    address: String,
    wish: Wish,
) -> Result<String, StoreError> {
    if wish == Wish::Subscribe || find(tx, list, &address).await?.is_some() {
        return Ok(address);
    }
    let text = format!(
        "select m.address from member m where m.list = $2 and m.address in ({LINKED}) order by m.id limit 1"
    );
    let binds = vec![address.as_str().into(), list.0.into()];
    let linked: Option<(String,)> = tx.fetch_one(text, binds).await?;
    Ok(linked.map_or(address, |l| l.0))
}

async fn change(
    tx: &mut Tx,
    place: Place,
    address: String,
    wish: Wish,
    (by, now): (By, Timestamp),
) -> Result<Acted, StoreError> {
    let found = find(tx, place.list, &address).await?;
    let (member, new, kind) = match (wish, found) {
        (Wish::Link | Wish::Steer, _) => return Ok(Acted::Unknown),
        (Wish::Subscribe, None) => {
            let member = join(tx, place.list, &address, now).await?;
            (member, true, "joined")
        }
        (_, None) => return Ok(Acted::NoMember { address }),
        (Wish::Unsubscribe, Some((member, _))) => {
            tx.execute("delete from member where id = $1", vec![member.0.into()])
                .await?;
            (member, true, "left")
        }
        (Wish::Nomail, Some((member, mail))) => {
            set_mail(tx, member, false).await?;
            (member, mail, "paused")
        }
        (Wish::Subscribe | Wish::Mail, Some((member, mail))) => {
            set_mail(tx, member, true).await?;
            (member, !mail, "resumed")
        }
        (Wish::Spare(spare), Some((member, _))) => {
            let new = set_spare(tx, member, spare).await?;
            (member, new, spared(spare))
        }
    };
    if by == By::Owner && matches!(wish, Wish::Subscribe | Wish::Mail) {
        // It reads its mail: what came back before is over.
        standing::enable(tx, &address, now).await?;
    }
    if new {
        let text = "insert into event (realm, list, kind, actor, happened, detail) values ($1, $2, $3, $4, $5, $6)";
        let binds = vec![
            place.realm.0.into(),
            place.list.0.into(),
            kind.into(),
            address.as_str().into(),
            now.0.into(),
            place.way.into(),
        ];
        tx.execute(text, binds).await?;
    }
    Ok(Acted::Holds {
        wish,
        address,
        member,
        new,
    })
}

async fn join(
    tx: &mut Tx,
    list: ListId,
    address: &str,
    now: Timestamp,
) -> Result<MemberId, StoreError> {
    let row = vec![list.0.into(), address.into(), 1.into(), now.0.into()];
    let head = "member (list, address, mail, created)";
    // Another process may have been faster.
    let tail = "on conflict (list, address) do update set mail = 1 returning id";
    let rows = tx.insert(head, vec![row], tail).await?;
    Ok(MemberId(super::sql::id(&rows[0])?))
}

/// Whether that was otherwise before.
async fn set_spare(tx: &mut Tx, member: MemberId, spare: Spare) -> Result<bool, StoreError> {
    let (column, value) = match spare {
        Spare::NoDupes => ("nodupes", true),
        Spare::Dupes => ("nodupes", false),
        Spare::NoOwn => ("own", false),
        Spare::Own => ("own", true),
    };
    // Without a value it is as the list's style has it.
    let text = format!(
        "update member set {column} = $1 where id = $2 and ({column} is null or {column} <> $1)"
    );
    let binds = vec![value.into(), member.0.into()];
    Ok(tx.execute(text, binds).await? > 0)
}

/// What is noted of it.
fn spared(spare: Spare) -> &'static str {
    match spare {
        Spare::NoDupes => "wants no duplicates",
        Spare::Dupes => "wants duplicates",
        Spare::NoOwn => "wants no own posts",
        Spare::Own => "wants own posts",
    }
}

async fn set_mail(tx: &mut Tx, member: MemberId, mail: bool) -> Result<(), StoreError> {
    let text = "update member set mail = $1 where id = $2";
    tx.execute(text, vec![mail.into(), member.0.into()])
        .await
        .map(|_| ())
}
