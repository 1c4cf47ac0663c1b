//! What is kept of one person, as they see it; and its deletion.

use super::event::{self, NewEvent};
use super::list::MemberRow;
use super::queue::{self, Choice, Steer};
use super::sql::Bind;
use super::writer::Tx;
use super::{Reader, Store, StoreError, marks, person, sign_in};
use crate::list::notice;
use crate::list::roster::Kind;
use crate::list::settings::Bits;
use crate::types::{Address, ListId, MemberId, Timestamp};

/// A subscription with its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipRow {
    /// The list.
    pub list: ListId,
    /// Its name.
    pub name: String,
    /// Its posting address.
    pub list_address: String,
    /// Its style: what holds where the member has not chosen.
    pub style: String,
    /// Everybody may know of it.
    pub public: bool,
    /// The subscription.
    pub member: MemberRow,
}

/// A mail of an author.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OwnMail {
    /// The list.
    pub list: String,
    /// Its number there.
    pub number: i64,
    /// Its name.
    pub message_id: String,
    /// Its subject.
    pub subject: String,
    /// Arrival, in microseconds since 1970.
    pub arrived: i64,
}

/// A mail of an author that waits for a moderator.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OwnHeld {
    /// The list.
    pub list: String,
    /// Its name.
    pub message_id: String,
    /// Its subject.
    pub subject: String,
    /// Arrival, in microseconds since 1970.
    pub arrived: i64,
    /// When it was taken back, if it was posted before; 0: it never was.
    pub taken_back: i64,
}

/// A note that names an address as who did something, or to whom it happened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OwnNote {
    /// The list.
    pub list: String,
    /// What happened, in a word.
    pub kind: String,
    /// When, in microseconds since 1970.
    pub happened: i64,
    /// What it was.
    pub detail: String,
}

/// An automatic mail of the last days, as limits count it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OwnNotice {
    /// The limit's name.
    pub kind: String,
    /// When, in microseconds since 1970.
    pub made: i64,
    /// The network from which it was caused; may be empty.
    pub network: String,
}

/// Lists of which an address may be told: the public ones, and those that it is a member of.
const SHOWN: &str =
    "(l.visibility = 'public' or l.id in (select list from member where address = $1))";

/// Notes about what a person did or what became of their mail; others say who decided what, and stay.
const PERSONAL: [&str; 17] = [
    "joined",
    "left",
    "paused",
    "resumed",
    "dropped",
    "refused",
    "bounce",
    "complaint",
    "probe",
    "warning",
    "disabled",
    "enabled",
    "removed",
    "removal wished",
    "told",
    "told incomplete",
    "told news",
];

impl Reader {
    /// The subscriptions of some addresses by list and address. The postmaster's list is made of the settings and left out.
    pub async fn load_memberships(
        &self,
        addresses: &[String],
    ) -> Result<Vec<MembershipRow>, StoreError> {
        type Row = (
            i64,
            String,
            String,
            String,
            String,
            i64,
            String,
            i64,
            Option<i64>,
            i64,
            String,
            i64,
        );
        let text = format!(
            "select l.id, l.name, l.address, l.style, l.visibility, m.id, m.address, m.mail, m.nodupes, m.own, m.kind, m.created \
             from member m join list l on l.id = m.list where l.name <> 'postmaster' and m.address in ({}) order by l.name, m.address",
            marks(addresses.len())
        );
        let binds = addresses.iter().map(Bind::from).collect();
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let row = |(
            list,
            name,
            list_address,
            style,
            visibility,
            id,
            address,
            mail,
            nodupes,
            own,
            kind,
            created,
        ): Row| MembershipRow {
            list: ListId(list),
            name,
            list_address,
            style,
            public: visibility == "public",
            member: MemberRow {
                id: MemberId(id),
                address,
                mail: mail == 1,
                nodupes: nodupes.map(|n| n == 1),
                own: own == 1,
                kind: Kind::parse(&kind),
                created: Timestamp(created),
            },
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Rights of its own that an address has, by list, as far as it may know of their lists: who moderates one knows of it.
    pub async fn load_rights(&self, address: &str) -> Result<Vec<(String, Bits)>, StoreError> {
        let text = format!(
            "select l.name, a.bits from access a join list l on l.id = a.list where a.address = $1 and ({SHOWN} or (a.bits & {}) <> 0) \
             order by l.name",
            Bits::MODERATE.0
        );
        let rows: Vec<(String, i64)> = self.fetch(text, vec![address.into()]).await?;
        Ok(rows.into_iter().map(|(l, b)| (l, Bits(b))).collect())
    }

    /// How many mails a list holds.
    pub async fn count_held_of(&self, list: ListId) -> Result<i64, StoreError> {
        let text = "select count(*) from held where list = $1";
        let row: Option<(i64,)> = self.fetch_one(text, vec![list.0.into()]).await?;
        Ok(row.map_or(0, |r| r.0))
    }

    /// The newest mails with that author's address, as far as the author may know of their lists.
    pub async fn load_own_mails(
        &self,
        address: &str,
        limit: i64,
    ) -> Result<Vec<OwnMail>, StoreError> {
        let text = format!(
            "select l.name, p.number, m.message_id, m.subject, p.arrived from realm r join mail m on m.realm = r.id \
             join posting p on p.mail = m.id join list l on l.id = p.list where lower(m.address) = $1 and m.state = 0 and {SHOWN} \
             order by p.arrived desc, p.number desc limit $2"
        );
        let binds = vec![address.into(), limit.into()];
        let rows: Vec<(String, i64, String, String, i64)> = self.fetch(text, binds).await?;
        let row = |(list, number, message_id, subject, arrived)| OwnMail {
            list,
            number,
            message_id,
            subject,
            arrived,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Held mails that are proved to be of that author, as far as the author may know of their lists.
    pub async fn load_own_held(&self, address: &str) -> Result<Vec<OwnHeld>, StoreError> {
        let text = format!(
            "select l.name, h.message_id, h.subject, h.arrived, case when h.reason like 'recalled: %' then h.since else 0 end \
             from held h join list l on l.id = h.list where h.address = $1 and h.level = 1 and {SHOWN} order by h.receipt limit 1000"
        );
        let rows: Vec<(String, String, String, i64, i64)> =
            self.fetch(text, vec![address.into()]).await?;
        let row = |(list, message_id, subject, arrived, taken_back)| OwnHeld {
            list,
            message_id,
            subject,
            arrived,
            taken_back,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// The newest notes about an address, as far as it may know of their lists.
    pub async fn load_own_notes(
        &self,
        address: &str,
        limit: i64,
    ) -> Result<Vec<OwnNote>, StoreError> {
        let text = format!(
            "select l.name, e.kind, e.happened, e.detail from event e join list l on l.id = e.list \
             where lower(e.actor) = $1 and {SHOWN} order by e.id desc limit $2"
        );
        let binds = vec![address.into(), limit.into()];
        let rows: Vec<(String, String, i64, String)> = self.fetch(text, binds).await?;
        let row = |(list, kind, happened, detail)| OwnNote {
            list,
            kind,
            happened,
            detail,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Automatic mails to an address that limits still count.
    pub async fn load_own_notices(&self, address: &str) -> Result<Vec<OwnNotice>, StoreError> {
        let text =
            "select cap, made, source from notice where address = $1 order by id desc limit 1000";
        let rows: Vec<(String, i64, String)> =
            self.fetch(text, vec![counted(address).into()]).await?;
        let row = |(kind, made, network): (String, i64, String)| OwnNotice {
            kind,
            made,
            // Of what somebody asked for signed in, it is himself.
            network: Some(network)
                .filter(|n| !n.contains('@'))
                .unwrap_or_default(),
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// An address as limits count it.
fn counted(address: &str) -> String {
    let parsed = address.parse::<Address>();
    parsed.map_or_else(|_| address.to_owned(), |a| notice::counted(&a))
}

impl Store {
    /// Deletes all that is kept of an address but mail that is archived or held, bans and rights that are taken away, and who decided what.
    pub async fn erase_address(&self, address: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |tx| Box::pin(async move { erase(tx, &address, now).await }))
            .await
    }
}

async fn erase(tx: &mut Tx, address: &str, now: Timestamp) -> Result<(), StoreError> {
    let choice = Choice {
        recipient: Some(address.to_owned()),
        ..Choice::default()
    };
    let why = "their recipient was erased".to_owned();
    queue::steer_all(tx, choice, Steer::Drop, why, now).await?;
    person::unlink(tx, address).await?;
    sign_in::end_all(tx, address).await?;
    let text = "delete from member where address = $1 returning list";
    let lists: Vec<(i64,)> = tx.fetch(text, vec![address.into()]).await?;
    let left = |(list,): (i64,)| NewEvent {
        list: ListId(list),
        kind: "left",
        actor: String::new(),
        detail: "erased on the page".to_owned(),
        happened: now,
    };
    event::record(tx, lists.into_iter().map(left).collect()).await?;
    for text in [
        "delete from standing where address = $1",
        "delete from bounce where address = $1",
        "delete from rehearsal where address = $1",
        "delete from confirmation where address = $1 or other = $1",
        "delete from sign_in where address = $1 or other = $1",
        "delete from report_wish where address = $1",
    ] {
        tx.execute(text, vec![address.into()]).await?;
    }
    // Notes of what moderators and commands did with a member begin with the address; that they did it stays, and so do bans.
    let text = "update event set detail = 'somebody' || substr(detail, length($1) + 1) where kind in ('members', 'settings') \
         and substr(detail, 1, length($1) + 1) = $1 || ' ' and detail not like '% is banned%'";
    tx.execute(text, vec![address.into()]).await?;
    // Who was silenced is not heard again by this: what gives no right to begin threads or to moderate stays.
    let text = "delete from access where address = $1 and (bits & $2) <> 0";
    let binds = vec![address.into(), (Bits::POST.0 | Bits::MODERATE.0).into()];
    tx.execute(text, binds).await?;
    for text in [
        "delete from notice where address = $1",
        "delete from complaint where address = $1",
    ] {
        tx.execute(text, vec![counted(address).into()]).await?;
    }
    let text = format!(
        "update event set actor = '' where lower(actor) = ? and kind in ({})",
        marks(PERSONAL.len())
    );
    let kinds = PERSONAL.iter().map(|kind| Bind::from(*kind));
    let binds = std::iter::once(Bind::from(address)).chain(kinds);
    tx.execute(text, binds.collect()).await?;
    Ok(())
}
