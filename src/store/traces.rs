//! What notes, letters and rehearsals say of mails that are to leave nothing.

use std::collections::HashSet;

use super::letter::mark_of;
use super::mail::hash_of;
use super::purge::on;
use super::{StoreError, Tx};
use crate::types::{Identity, ListId, RealmId};

/// A mail that is to leave nothing.
pub(super) struct Leaving<'a> {
    pub identity: Vec<u8>,
    /// Its name.
    pub message_id: &'a str,
    /// Its receipts, as far as they go.
    pub receipts: Vec<i64>,
}

/// Kinds of notes that end with the name of a mail: on copies that were not taken, on what is wished for it, on a recall.
const NAMING: &str = "('dropped', 'refused', 'removal wished', 'recalled')";

/// Deletes what a realm says of mails, or what one list of it says.
pub(super) async fn forget(
    tx: &mut Tx,
    realm: RealmId,
    list: Option<ListId>,
    mails: &[Leaving<'_>],
) -> Result<(), StoreError> {
    let at = |column: &str| list.map_or_else(String::new, |l| format!(" and {column} = {}", l.0));
    let mut receipts: Vec<i64> = Vec::new();
    let mut about: HashSet<i64> = HashSet::new();
    for mail in mails {
        let identity = Identity(hash_of(mail.identity.clone())?.0);
        about.insert(mark_of(&identity));
        receipts.extend(&mail.receipts);
        let text = format!(
            "delete from rehearsal where identity = $1 and list in (select id from list where realm = $2){}",
            at("list")
        );
        let binds = vec![mail.identity.clone().into(), realm.0.into()];
        tx.execute(text, binds).await?;
    }
    about.extend(&receipts);
    for chunk in receipts.chunks(400) {
        on(tx, "delete from event where receipt in (..)", chunk).await?;
    }
    let text = format!(
        "select id, about from letter where about <> ''{}",
        at("list")
    );
    let letters: Vec<(i64, String)> = tx.fetch(text, vec![]).await?;
    let names = |text: &str| {
        let mut named = text.split('/').filter_map(|id| id.parse::<i64>().ok());
        named.any(|id| about.contains(&id))
    };
    let own = letters.into_iter().filter(|(_, about)| names(about));
    delete(tx, "delete from letter where id in (..)", own).await?;
    let text = format!(
        "select id, detail from event where list in (select id from list where realm = $1) and kind in {NAMING}{}",
        at("list")
    );
    let notes: Vec<(i64, String)> = tx.fetch(text, vec![realm.0.into()]).await?;
    let names: HashSet<&str> = mails.iter().map(|mail| mail.message_id).collect();
    let ends = |detail: &str| {
        let mut ends = detail.match_indices(": ");
        ends.any(|(at, _)| detail.get(at + 2..).is_some_and(|end| names.contains(end)))
    };
    let own = notes.into_iter().filter(|(_, detail)| ends(detail));
    delete(tx, "delete from event where id in (..)", own).await
}

async fn delete(
    tx: &mut Tx,
    text: &str,
    rows: impl Iterator<Item = (i64, String)>,
) -> Result<(), StoreError> {
    let ids: Vec<i64> = rows.map(|row| row.0).collect();
    for chunk in ids.chunks(400) {
        on(tx, text, chunk).await?;
    }
    Ok(())
}
