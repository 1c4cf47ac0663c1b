//! Series as they are stored, and as what each goes on when its mails are grouped anew: numbers, pages and refs stay with it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::series::{NewPatchset, NewSeries};
use super::sql::Bind;
use super::{StoreError, Tx, marks};
use crate::types::MailId;

/// A stored series, as far as comparing needs it.
#[derive(Clone)]
pub(super) struct Stored {
    pub id: i64,
    pub patchset: i64,
    pub anchor: i64,
    pub digest: String,
    /// The anchor of the assembled series that it goes on as: that which holds most of its mails, as a cover letter that only came by
    /// takes no number and no refs along; `None` if none holds any.
    pub goes_on: Option<i64>,
}

impl Stored {
    /// Whether it goes on in that patchset.
    pub fn is_in(&self, patchset: &NewPatchset) -> bool {
        let mut all = patchset.series.iter();
        all.any(|series| self.goes_on == Some(series.anchor.0))
    }
}

/// The stored series of these mails, and as which of the assembled ones each goes on.
pub(super) async fn load_stored(
    tx: &mut Tx,
    mails: &[MailId],
    patchsets: &[NewPatchset],
) -> Result<Vec<Stored>, StoreError> {
    let mut found = BTreeMap::new();
    for chunk in mails.chunks(400) {
        let text = format!(
            "select id, patchset, anchor, digest from series where anchor in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
        for (id, patchset, anchor, digest) in
            tx.fetch::<(i64, i64, i64, String)>(text, binds).await?
        {
            found.insert(
                id,
                Stored {
                    id,
                    patchset,
                    anchor,
                    digest,
                    goes_on: None,
                },
            );
        }
    }
    let mut stored: Vec<Stored> = found.into_values().collect();
    find_ways_on(tx, &mut stored, patchsets).await?;
    Ok(stored)
}

/// Finds as which of the assembled series each of the stored ones goes on.
async fn find_ways_on(
    tx: &mut Tx,
    stored: &mut [Stored],
    patchsets: &[NewPatchset],
) -> Result<(), StoreError> {
    let series = || patchsets.iter().flat_map(|p| &p.series);
    let place = |s: &NewSeries| s.mails().map(|m| (m.0, s.anchor.0)).collect::<Vec<_>>();
    let places: HashMap<i64, i64> = series().flat_map(place).collect();
    let ids: Vec<i64> = stored.iter().map(|s| s.id).collect();
    let mut held: HashMap<i64, HashSet<i64>> = HashMap::new();
    for chunk in ids.chunks(400) {
        let list = marks(chunk.len());
        let text = format!(
            "select series, mail from patch where taken_over = 0 and series in ({list}) \
             union select id, cover from series where cover is not null and id in ({list})"
        );
        let one = || chunk.iter().map(|id| Bind::from(*id));
        for (series, mail) in tx
            .fetch::<(i64, i64)>(text, one().chain(one()).collect())
            .await?
        {
            held.entry(series).or_default().insert(mail);
        }
    }
    for one in stored {
        let mut votes: BTreeMap<i64, usize> = BTreeMap::new();
        let mails = held.remove(&one.id).unwrap_or_default();
        for mail in mails
            .iter()
            .chain([&one.anchor].into_iter().filter(|a| !mails.contains(a)))
        {
            if let Some(anchor) = places.get(mail) {
                *votes.entry(*anchor).or_default() += 1;
            }
        }
        let own = places.get(&one.anchor).copied();
        let rank = |(anchor, count): &(i64, usize)| (*count, own == Some(*anchor), -*anchor);
        one.goes_on = votes.into_iter().max_by_key(rank).map(|(anchor, _)| anchor);
    }
    Ok(())
}
