//! The copies of a mail: sets of bytes that are the same mail, of which one is served.

use std::collections::{HashMap, HashSet};

use super::sql::Bind;
use super::{StoreError, Tx, marks};
use crate::types::{BlobHash, Identity, Job, MailId, RealmId, ReceiptId, Timestamp};
use crate::verdict::Verdict;

/// One of the ways by which a mail came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// Its bytes.
    pub hash: BlobHash,
    /// Arrival.
    pub arrived: Timestamp,
    /// How well it is authenticated: 0 is not at all, more is better. Verdicts are turned into this before copies are compared.
    pub rank: i64,
}

impl Copy {
    pub(super) fn new(hash: BlobHash, arrived: Timestamp, verdict: &Verdict) -> Copy {
        let rank = verdict.level.rank();
        Copy {
            hash,
            arrived,
            rank,
        }
    }
}

/// The copy that is served: the best authenticated, then the earliest, then that with the lowest hash, so that the
/// order in which they were taken in changes nothing. `None` if there are none.
pub fn choose_copy(copies: impl IntoIterator<Item = Copy>) -> Option<Copy> {
    copies
        .into_iter()
        .min_by_key(|c| (std::cmp::Reverse(c.rank), c.arrived, c.hash))
}

/// One of several mails that carry the same Message-ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub mail: MailId,
    pub name: String,
    /// The author's address in lower case.
    pub address: String,
    /// As [`Copy::rank`].
    pub rank: i64,
}

/// Of each name the mail that is served under it, out of mails in the order of their arrival: the best authenticated of
/// those whose author is the first one's. Whoever comes later with a name that is taken displaces nobody else's mail.
pub(super) fn choose_named(mails: impl IntoIterator<Item = Named>) -> HashSet<MailId> {
    let mut best: HashMap<String, Named> = HashMap::new();
    for mail in mails {
        let known = best
            .entry(mail.name.clone())
            .or_insert_with(|| mail.clone());
        if mail.address == known.address && mail.rank > known.rank {
            *known = mail;
        }
    }
    best.into_values().map(|named| named.mail).collect()
}

/// What is known of the copies of a mail.
pub(super) struct Copies {
    /// The one that is served.
    pub best: Copy,
    /// When the first arrived.
    pub first: Timestamp,
}

/// The copies of these mails.
pub(super) async fn load_best(
    tx: &mut Tx,
    realm: RealmId,
    identities: &[Identity],
) -> Result<HashMap<Identity, Copies>, StoreError> {
    let mut all: HashMap<Identity, Vec<Copy>> = HashMap::new();
    for chunk in identities.chunks(400) {
        let text = format!(
            "select identity, hash, arrived, verdict from copy where realm = ? and identity in ({})",
            marks(chunk.len())
        );
        let mut binds = vec![Bind::from(realm.0)];
        binds.extend(chunk.iter().map(|i| Bind::from(i.0)));
        for (identity, hash, arrived, verdict) in tx
            .fetch::<(Vec<u8>, Vec<u8>, i64, String)>(text, binds)
            .await?
        {
            let identity = Identity(super::mail::hash_of(identity)?.0);
            let (hash, arrived) = (super::mail::hash_of(hash)?, Timestamp(arrived));
            let copy = Copy::new(hash, arrived, &Verdict::from_stored(&verdict));
            all.entry(identity).or_default().push(copy);
        }
    }
    let best = |(identity, copies): (Identity, Vec<Copy>)| {
        let first = copies.iter().map(|c| c.arrived).min()?;
        let best = choose_copy(copies)?;
        Some((identity, Copies { best, first }))
    };
    Ok(all.into_iter().filter_map(best).collect())
}

/// Owes filed mails another filing whose best copy is not the one that is shown, after further ones came: what is recognised of a
/// mail is always of the bytes that are served.
pub(super) async fn serve_best(
    tx: &mut Tx,
    realm: RealmId,
    identities: &[Identity],
) -> Result<(), StoreError> {
    super::file::lock_realm(tx, realm).await?;
    // Further copies are rare: one statement each.
    for (identity, Copies { best, .. }) in load_best(tx, realm, identities).await? {
        let text = "update receipt set state = 0, again = 1 where id = (select min(r.id) from receipt r join mail m \
             on m.realm = r.realm and m.identity = r.identity where r.realm = $1 and r.identity = $2 and r.state in (1, 2) \
             and m.state = 0 and m.hash <> $3) returning id";
        let binds = vec![realm.0.into(), identity.0.into(), best.hash.0.into()];
        let owed: Vec<(i64,)> = tx.fetch(text, binds).await?;
        let jobs: Vec<(Job, i64)> = owed
            .into_iter()
            .map(|(id,)| (Job::File(ReceiptId(id)), 0))
            .collect();
        super::job::insert(tx, &jobs, Timestamp(0)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(hash: u8, arrived: i64, rank: i64) -> Copy {
        Copy {
            hash: BlobHash([hash; 32]),
            arrived: Timestamp(arrived),
            rank,
        }
    }

    #[track_caller]
    fn check(copies: &[Copy], best: u8) {
        for turn in 0..copies.len() {
            let mut copies = copies.to_vec();
            copies.rotate_left(turn);
            let found = choose_copy(copies).expect("there are copies");
            assert_eq!(found.hash, BlobHash([best; 32]));
        }
    }

    #[test]
    fn a_taken_name_stays_with_its_author() {
        let named = |mail, address: &str, rank| Named {
            mail: MailId(mail),
            name: "a@x".to_owned(),
            address: address.to_owned(),
            rank,
        };
        let check = |mails: &[Named], served: i64| {
            assert_eq!(
                choose_named(mails.to_vec()),
                HashSet::from([MailId(served)])
            );
        };
        let ana = |mail, rank| named(mail, "ana@x", rank);
        check(&[ana(1, 0), ana(2, 0)], 1);
        check(&[ana(1, 0), ana(2, 1), ana(3, 1)], 2);
        check(&[ana(1, 0), named(2, "eve@evil", 1), ana(3, 1)], 3);
        check(&[ana(1, 0), named(2, "eve@evil", 1)], 1);
    }

    #[test]
    fn the_best_authenticated_copy_is_served_then_the_earliest_in_any_order() {
        check(&[copy(1, 5, 0), copy(2, 9, 1), copy(3, 7, 1)], 3);
        check(&[copy(1, 5, 0), copy(2, 4, 0)], 2);
        check(&[copy(2, 5, 0), copy(1, 5, 0)], 1);
        assert_eq!(choose_copy([]), None);
    }
}
