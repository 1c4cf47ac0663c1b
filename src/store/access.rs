//! What a list knows of an address: rights of its own, bans, and whether it was seen before.

use super::sql::Bind;
use super::writer::Tx;
use super::{ListRow, Reader, Store, StoreError, marks};
use crate::list::order::Known;
use crate::list::settings::{Bits, ban_keys};
use crate::types::{Identity, ListId, MessageId, RealmId, Timestamp};

/// Rights of one address.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AccessRow {
    /// The address in lower case.
    pub address: String,
    /// What it may do.
    #[serde(serialize_with = "words")]
    pub rights: Bits,
}

fn words<S: serde::Serializer>(bits: &Bits, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(bits)
}

/// An address or domain of which no mail is taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BanRow {
    /// It.
    pub name: String,
    /// Holds for all lists.
    pub everywhere: bool,
    /// Why, in words.
    pub why: String,
}

/// A mail, as far as a list has to be asked about it.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The author's address in lower case.
    pub address: &'a str,
    /// The envelope sender's in lower case.
    pub sender: &'a str,
    /// What it answers.
    pub parents: &'a [MessageId],
    /// What makes copies the same mail.
    pub identity: Identity,
}

/// Strangers are counted over so many seconds.
const HOUR: i64 = 3_600;

impl Reader {
    /// What a list knows of the author's address, the envelope sender's and of the mails that a mail answers.
    pub async fn load_sender(
        &self,
        list: &ListRow,
        asked: &Asking<'_>,
        now: Timestamp,
    ) -> Result<Known, StoreError> {
        let Asking {
            address,
            sender,
            parents,
            ..
        } = *asked;
        let mut keys = ban_keys(address);
        keys.extend(ban_keys(sender));
        // Neither address nor sender: nothing is banned by an empty name.
        keys.push(String::new());
        let mut names = vec![""];
        names.extend(parents.iter().map(MessageId::as_str));
        let text = format!(
            "select coalesce((select bits from access where list = ? and address = ?), -1), \
             (select count(*) from member where list = ? and address = ?), \
             case when exists (select 1 from mail m join posting p on p.mail = m.id and p.list = ? \
             where m.realm = ? and lower(m.address) = ? and m.state = 0) then 1 else 0 end, \
             case when exists (select 1 from node n join mail m on m.node = n.id join posting p on p.mail = m.id and p.list = ? \
             where n.realm = ? and n.message_id in ({}) and m.state = 0) then 1 else 0 end, \
             (select min(name) from ban where list in (?, 0) and name in ({})), \
             case when exists (select 1 from barred where realm in (?, 0) and identity = ?) then 1 else 0 end",
            marks(names.len()),
            marks(keys.len())
        );
        let (id, realm) = (|| Bind::from(list.id.0), || Bind::from(list.realm.0));
        let who = || Bind::from(address);
        let mut binds = vec![
            id(),
            who(),
            id(),
            who(),
            id(),
            realm(),
            who(),
            id(),
            realm(),
        ];
        binds.extend(names.iter().map(|n| Bind::from(*n)));
        binds.push(id());
        binds.extend(keys.iter().map(Bind::from));
        binds.push(realm());
        binds.push(asked.identity.0.into());
        type Row = (i64, i64, i64, i64, Option<String>, i64);
        let row: Option<Row> = self.fetch_one(text, binds).await?;
        let (bits, member, seen, reply, ban, removed) = row.unwrap_or((-1, 0, 0, 0, None, 0));
        let bits = (bits >= 0).then_some(Bits(bits));
        let known = Known {
            bits,
            member: member > 0,
            elsewhere: member == 0 && self.counts_elsewhere(list, address).await?,
            seen: seen == 1,
            reply: reply == 1,
            ban,
            removed: removed == 1,
            strangers: 0,
        };
        let limited = list.policy.strangers_per_hour > 0;
        let counted =
            limited && !(known.member || known.elsewhere || known.seen || known.bits.is_some());
        match counted {
            true => Ok(Known {
                strangers: self.count_strangers(list.id, now.plus_secs(-HOUR)).await?,
                ..known
            }),
            false => Ok(known),
        }
    }

    /// Whether membership of another list makes an address a subscriber of this one.
    async fn counts_elsewhere(&self, list: &ListRow, address: &str) -> Result<bool, StoreError> {
        match list.policy.any_list && !address.is_empty() {
            true => self.is_member_of_any(list.realm, address).await,
            false => Ok(false),
        }
    }

    /// Those of these mails that were removed from a realm and must not come back.
    pub async fn find_barred(
        &self,
        realm: RealmId,
        identities: &[Identity],
    ) -> Result<std::collections::HashSet<Identity>, StoreError> {
        let mut found = std::collections::HashSet::new();
        for chunk in identities.chunks(400) {
            let text = format!(
                "select identity from barred where realm in (?, 0) and identity in ({})",
                marks(chunk.len())
            );
            let ids = chunk.iter().map(|i| Bind::from(i.0));
            let binds = std::iter::once(Bind::from(realm.0)).chain(ids).collect();
            for (identity,) in self.fetch::<(Vec<u8>,)>(text, binds).await? {
                found.insert(Identity(super::mail::hash_of(identity)?.0));
            }
        }
        Ok(found)
    }

    /// Mails of strangers that a list took since a moment, held or not.
    async fn count_strangers(&self, list: ListId, since: Timestamp) -> Result<i64, StoreError> {
        let text = "select count(*) from receipt where list = $1 and arrived > $2 and stranger = 1";
        let binds = vec![list.0.into(), since.0.into()];
        let row: Option<(i64,)> = self.fetch_one(text, binds).await?;
        Ok(row.map_or(0, |r| r.0))
    }

    /// Everybody with rights of their own at a list, by address.
    pub async fn load_access(&self, list: ListId) -> Result<Vec<AccessRow>, StoreError> {
        let text = "select address, bits from access where list = $1 order by address";
        let rows: Vec<(String, i64)> = self.fetch(text, vec![list.0.into()]).await?;
        let row = |(address, bits)| AccessRow {
            address,
            rights: Bits(bits),
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// What is banned at a list, there or everywhere.
    pub async fn load_bans(&self, list: ListId) -> Result<Vec<BanRow>, StoreError> {
        let text = "select name, list, why from ban where list in ($1, 0) order by name, list";
        let rows: Vec<(String, i64, String)> = self.fetch(text, vec![list.0.into()]).await?;
        let row = |(name, list, why)| BanRow {
            name,
            everywhere: list == 0,
            why,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// A change of who may do what at a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessChange {
    /// Rights to give by address; `None` takes a person's own rights back, so that everybody's hold.
    pub people: Vec<(String, Option<Bits>)>,
    /// Addresses and domains to ban.
    pub ban: Vec<String>,
    /// Bans to lift.
    pub unban: Vec<String>,
    /// The bans hold for all lists.
    pub everywhere: bool,
}

impl Store {
    /// Changes rights and bans in one commit.
    pub async fn update_access(
        &self,
        list: ListId,
        change: AccessChange,
        why: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let at = if change.everywhere { 0 } else { list.0 };
                for (address, bits) in change.people {
                    let binds = vec![list.0.into(), address.as_str().into()];
                    let gone = "delete from access where list = $1 and address = $2";
                    tx.execute(gone, binds).await?;
                    if let Some(bits) = bits {
                        give(tx, vec![(list, address)], bits, now).await?;
                    }
                }
                ban(tx, at, change.ban, &why, now).await?;
                for name in change.unban {
                    let binds = vec![at.into(), name.into()];
                    tx.execute("delete from ban where list = $1 and name = $2", binds)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Bans names at a list, or everywhere if that is 0.
pub(super) async fn ban(
    tx: &mut Tx,
    list: i64,
    names: Vec<String>,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |name: String| vec![list.into(), name.into(), why.into(), now.0.into()];
    let rows = names.into_iter().map(row).collect();
    tx.insert(
        "ban (list, name, why, made)",
        rows,
        "on conflict do nothing",
    )
    .await?;
    Ok(())
}

/// Gives people rights; what they have stays.
pub(super) async fn give(
    tx: &mut Tx,
    people: Vec<(ListId, String)>,
    bits: Bits,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |(list, address): (ListId, String)| {
        vec![list.0.into(), address.into(), bits.0.into(), now.0.into()]
    };
    let rows = people.into_iter().map(row).collect();
    let tail = "on conflict (list, address) do update set bits = access.bits | excluded.bits";
    tx.insert("access (list, address, bits, made)", rows, tail)
        .await?;
    Ok(())
}
