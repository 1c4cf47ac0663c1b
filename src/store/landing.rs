//! A version that a maintainer wants to land, with all that may stand in the way.

use super::{Store, StoreError};
use crate::types::{MailId, PatchsetId, RealmId, SeriesId};

/// One version of a patchset.
#[derive(Debug, Clone)]
pub struct SeriesToLand {
    /// Its row.
    pub id: SeriesId,
    /// Its patchset.
    pub patchset: PatchsetId,
    /// Whose.
    pub realm: RealmId,
    /// The mail that stands for it.
    pub anchor: MailId,
    /// `2`, `3-r1`.
    pub label: String,
    /// Patchwork's number.
    pub state: i64,
    /// Whether a person set that.
    pub by_hand: bool,
    /// Whether a newer version stands in its place.
    pub superseded: bool,
    /// Whether all patches are there.
    pub complete: bool,
    /// How many are.
    pub received: i64,
    /// How many it says it has.
    pub total: i64,
    /// The label of the newest version.
    pub newest: String,
    /// The repository that it was applied in, if it was tried.
    pub repo: Option<i64>,
}

impl SeriesToLand {
    /// Whether a newer version stands in its place, or a person said so.
    pub fn is_superseded(&self) -> bool {
        self.superseded || self.state == 9
    }

    /// Whether its state is `rejected`.
    pub fn is_rejected(&self) -> bool {
        self.state == super::landed::REJECTED
    }

    /// Whether a person set a state other than `accepted`.
    pub fn is_held(&self) -> bool {
        self.by_hand && self.state != super::landed::ACCEPTED
    }
}

impl Store {
    /// The version with that label, or the newest, of a patchset; an old number leads to the one it became.
    pub async fn find_series_to_land(
        &self,
        patchset: PatchsetId,
        label: Option<&str>,
    ) -> Result<Option<SeriesToLand>, StoreError> {
        type Row = (
            i64,
            i64,
            i64,
            i64,
            String,
            i64,
            i64,
            i64,
            i64,
            i64,
            i64,
            String,
            Option<i64>,
        );
        let text = "select s.id, s.patchset, s.realm, s.anchor, s.label, s.state, s.hand, s.superseded, s.complete, s.received, s.total, \
             n.label, a.repo from patchset ps join series n on n.id = ps.newest join series s on s.patchset = ps.id \
             left join application a on a.series = s.id \
             where ps.id = coalesce((select patchset from patchset_alias where old = $1), $1) \
             and ((s.id = n.id and $2 = '') or s.label = $2)";
        let binds = vec![patchset.0.into(), label.unwrap_or_default().into()];
        let row: Option<Row> = self.fetch_one(text, binds).await?;
        let Some(row) = row else { return Ok(None) };
        let (id, patchset, realm, anchor, label, state, hand, superseded, complete, ..) = row;
        let (received, total, newest, repo) = (row.9, row.10, row.11, row.12);
        Ok(Some(SeriesToLand {
            id: SeriesId(id),
            patchset: PatchsetId(patchset),
            realm: RealmId(realm),
            anchor: MailId(anchor),
            label,
            state,
            by_hand: hand == 1,
            superseded: superseded == 1,
            complete: complete == 1,
            received,
            total,
            newest,
            repo,
        }))
    }
}
