//! People who write from several addresses: addresses are linked once each of them has confirmed, or the operator says so.

use std::collections::HashMap;

use super::writer::Tx;
use super::{Bind, Reader, Store, StoreError, marks, sql};
use crate::types::{ListId, RealmId, Timestamp};

/// `$1` and all that are linked with it.
pub(super) const LINKED: &str = "select cast($1 as text) union select o.address from person_address p \
     join person_address o on o.person = p.person where p.address = $1";

impl Reader {
    /// Whether an address, given in lower case, or one that is linked with it, is a member of a list.
    pub async fn is_member(&self, list: ListId, address: &str) -> Result<bool, StoreError> {
        let text = format!("select count(*) from member where list = $2 and address in ({LINKED})");
        let row: Option<(i64,)> = self
            .fetch_one(text, vec![address.into(), list.0.into()])
            .await?;
        Ok(row.is_some_and(|r| r.0 > 0))
    }

    /// Whether an address, given in lower case, or one that is linked with it, is a member of any list of a realm. Realms know
    /// nothing of each other: who is in a list that is not public is not told by what he may do elsewhere.
    pub async fn is_member_of_any(
        &self,
        realm: RealmId,
        address: &str,
    ) -> Result<bool, StoreError> {
        let text = format!(
            "select count(*) from member m join list l on l.id = m.list where l.realm = $2 and m.address in ({LINKED})"
        );
        let row: Option<(i64,)> = self
            .fetch_one(text, vec![address.into(), realm.0.into()])
            .await?;
        Ok(row.is_some_and(|r| r.0 > 0))
    }

    /// The addresses that are linked with any of these, given in lower case.
    pub async fn load_all_linked(&self, addresses: &[String]) -> Result<Vec<String>, StoreError> {
        let mut linked = Vec::new();
        for chunk in addresses.chunks(400) {
            let text = format!(
                "select distinct o.address from person_address p join person_address o on o.person = p.person where p.address in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(Bind::from).collect();
            let rows: Vec<(String,)> = self.fetch(text, binds).await?;
            linked.extend(rows.into_iter().map(|r| r.0));
        }
        Ok(linked)
    }

    /// For each of these addresses, given in lower case, that is linked with others: the one that stands for all of them.
    pub async fn load_stand_ins(
        &self,
        addresses: Vec<String>,
    ) -> Result<HashMap<String, String>, StoreError> {
        let mut people = HashMap::new();
        for chunk in addresses.chunks(400) {
            let text = format!(
                "select p.address, min(o.address) from person_address p join person_address o on o.person = p.person \
                 where p.address in ({}) group by p.address",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(Bind::from).collect();
            people.extend(self.fetch::<(String, String)>(text, binds).await?);
        }
        Ok(people)
    }

    /// The addresses that are linked with one, itself among them.
    pub async fn load_linked(&self, address: &str) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = self
            .fetch(format!("{LINKED} order by 1"), vec![address.into()])
            .await?;
        Ok(rows.into_iter().map(|r| r.0).collect())
    }
}

impl Store {
    /// Makes addresses one person; they are proved by who calls.
    pub async fn link_addresses(
        &self,
        addresses: [String; 2],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let [one, other] = addresses;
        self.write(move |tx| Box::pin(async move { link(tx, &one, &other, now).await }))
            .await
    }
}

impl Store {
    /// Parts an address from those that it is linked with; `false` if it was linked with none.
    pub async fn unlink_address(&self, address: String) -> Result<bool, StoreError> {
        self.write(move |tx| Box::pin(async move { unlink(tx, &address).await }))
            .await
    }
}

/// As [`Store::unlink_address`], in a transaction that has more to do.
pub(super) async fn unlink(tx: &mut Tx, address: &str) -> Result<bool, StoreError> {
    let text = "delete from person_address where address = $1 returning person";
    let Some((person,)) = tx.fetch_one::<(i64,)>(text, vec![address.into()]).await? else {
        return Ok(false);
    };
    // Who is left alone is no person of several addresses.
    let text = "delete from person_address where person = $1 and (select count(*) from person_address o where o.person = $1) = 1";
    tx.execute(text, vec![person.into()]).await?;
    let text = "delete from person where id = $1 and not exists (select 1 from person_address o where o.person = $1)";
    tx.execute(text, vec![person.into()]).await?;
    Ok(true)
}

/// Whoever is linked with the one is linked with the other from now on.
pub(super) async fn link(
    tx: &mut Tx,
    one: &str,
    other: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "select address, person from person_address where address in ($1, $2)";
    let known: Vec<(String, i64)> = tx.fetch(text, vec![one.into(), other.into()]).await?;
    let person = match known.first() {
        Some((_, person)) => *person,
        None => {
            let row = vec![now.0.into()];
            sql::id(
                &tx.insert("person (created)", vec![row], "returning id")
                    .await?[0],
            )?
        }
    };
    // Whoever was linked with the one is linked with the other now.
    for (_, old) in known.iter().filter(|(_, p)| *p != person) {
        let text = "update person_address set person = $1 where person = $2";
        tx.execute(text, vec![person.into(), (*old).into()]).await?;
        tx.execute("delete from person where id = $1", vec![(*old).into()])
            .await?;
    }
    let rows = [one, other].map(|a| vec![a.into(), person.into()]).to_vec();
    let tail = "on conflict (address) do nothing";
    tx.insert("person_address (address, person)", rows, tail)
        .await?;
    Ok(())
}
