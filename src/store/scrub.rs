//! Files that still hold bytes of what was purged: owed from the purge on, until they were written anew.

use super::writer::Tx;
use super::{Reader, Store, StoreError};
use crate::types::{RealmId, Timestamp};

impl Reader {
    /// Realms of which something was purged and whose files were not written anew since.
    pub async fn load_scrubs(&self) -> Result<Vec<RealmId>, StoreError> {
        let text = "select realm from scrub order by realm";
        let rows: Vec<(i64,)> = self.fetch(text, vec![]).await?;
        Ok(rows.into_iter().map(|r| RealmId(r.0)).collect())
    }
}

impl Store {
    /// Forgets a realm's dictionaries and writes the database's files anew, so that no bytes of what was deleted stay. It is
    /// owed until this went well.
    pub async fn scrub_realm(&self, realm: RealmId) -> Result<(), StoreError> {
        let text = "select since from scrub where realm = $1";
        let owed: Option<(i64,)> = self.fetch_one(text, vec![realm.0.into()]).await?;
        self.replace_dictionaries(realm).await?;
        self.scrub().await?;
        // What was purged meanwhile stays owed.
        let text = "delete from scrub where realm = $1 and since = $2";
        let binds = vec![realm.0.into(), owed.map_or(0, |o| o.0).into()];
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await }))
            .await?;
        Ok(())
    }
}

/// Owes it, in the commit of a purge.
pub(super) async fn owe(tx: &mut Tx, realm: RealmId, now: Timestamp) -> Result<(), StoreError> {
    let row = vec![realm.0.into(), now.0.into()];
    let tail = "on conflict (realm) do update set since = excluded.since";
    tx.insert("scrub (realm, since)", vec![row], tail).await?;
    Ok(())
}
