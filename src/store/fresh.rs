//! Recording patchsets of which nothing is stored yet: the rows that [`regroup`](super::regroup) would make one by one, in
//! few statements for all. Archives are imported mostly by this.

use std::collections::HashMap;

use super::series::{NewPatchset, NewSeries};
use super::sql::{self, Bind};
use super::{StoreError, Tx, job, marks, regroup};
use crate::types::{Job, RealmId, SeriesId, Timestamp};

/// Records them; returns their ids in order.
pub(super) async fn record(
    tx: &mut Tx,
    realm: RealmId,
    patchsets: &[NewPatchset],
    quiet: bool,
) -> Result<Vec<i64>, StoreError> {
    let first = take_numbers(tx, realm, patchsets.len()).await?;
    let rows = (first..).zip(patchsets);
    let rows = rows.map(|(id, p)| patchset_row(id, realm, p)).collect();
    let made = tx.insert(PATCHSET, rows, "returning id, anchor").await?;
    let by_anchor = ids_by_anchor(&made)?;
    let id_of = |p: &NewPatchset| by_anchor.get(&p.anchor.0).copied().unwrap_or_default();
    let ids: Vec<i64> = patchsets.iter().map(id_of).collect();
    let mut rows = Vec::new();
    for (id, patchset) in ids.iter().zip(patchsets) {
        for (position, series) in (0i64..).zip(&patchset.series) {
            rows.push(regroup::series_row(realm, *id, position, series));
        }
    }
    let made = tx
        .insert(regroup::SERIES, rows, "returning id, anchor")
        .await?;
    let series: Vec<&NewSeries> = patchsets.iter().flat_map(|p| &p.series).collect();
    describe(tx, &series, &ids_by_anchor(&made)?, quiet).await?;
    finish(tx, &ids).await?;
    Ok(ids)
}

/// Numbers of the patchsets of a realm that is not public begin at its own number times this: commands and refs name one
/// patchset by them, and the public ones count on without a gap that tells of the others.
const PRIVATE: i64 = 1_000_000_000;

/// The first of `count` numbers that nothing in the realm ever had.
pub(super) async fn take_numbers(
    tx: &mut Tx,
    realm: RealmId,
    count: usize,
) -> Result<i64, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let text = "update realm set patchsets = patchsets + $1 where id = $2 returning patchsets";
    let row: Option<(i64,)> = tx
        .fetch_one(text, vec![count.into(), realm.0.into()])
        .await?;
    let Some((last,)) = row else {
        return Err(StoreError::Refused(format!("realm {} is gone", realm.0)));
    };
    let begin = match realm {
        RealmId::PUBLIC => 0,
        other => other.0.saturating_mul(PRIVATE),
    };
    Ok(begin + last - count + 1)
}

/// The columns of [`patchset_row`].
pub(super) const PATCHSET: &str =
    "patchset (id, realm, anchor, title, prefixes, state, updated, versions)";

/// A patchset without series: what they make of it is filled in when they are there.
pub(super) fn patchset_row(id: i64, realm: RealmId, patchset: &NewPatchset) -> Vec<Bind> {
    vec![
        id.into(),
        realm.0.into(),
        patchset.anchor.0.into(),
        patchset.title.as_str().into(),
        patchset.prefixes.as_str().into(),
        1.into(),
        0.into(),
        0.into(),
    ]
}

/// No two rows of one recording share their anchor, and no database promises to return rows in order.
fn ids_by_anchor(rows: &[sqlx::any::AnyRow]) -> Result<HashMap<i64, i64>, StoreError> {
    use sqlx::Row;
    rows.iter()
        .map(|row| Ok((row.try_get(1)?, sql::id(row)?)))
        .collect()
}

/// Patches, comments, and the jobs that apply what is complete.
async fn describe(
    tx: &mut Tx,
    series: &[&NewSeries],
    ids: &HashMap<i64, i64>,
    quiet: bool,
) -> Result<(), StoreError> {
    let (mut patches, mut comments, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for series in series {
        let id = ids.get(&series.anchor.0).copied().unwrap_or_default();
        for (number, mail, taken_over) in &series.patches {
            let (number, taken_over) = (Bind::from(*number), Bind::from(*taken_over));
            patches.push(vec![id.into(), number, mail.0.into(), taken_over, 0.into()]);
        }
        for (mail, target) in &series.comments {
            comments.push(vec![id.into(), mail.0.into(), target.0.into()]);
        }
        if series.complete && !series.patches.is_empty() {
            jobs.push((Job::Apply(SeriesId(id)), if quiet { 5 } else { 1 }));
        }
    }
    let head = "patch (series, number, mail, taken_over, archived)";
    tx.insert(head, patches, "").await?;
    for series in series.iter().filter(|s| !s.states.is_empty()) {
        let id = ids.get(&series.anchor.0).copied().unwrap_or_default();
        regroup::set_states(tx, id, series).await?;
    }
    let head = "comment (series, mail, target)";
    tx.insert(head, comments, "on conflict do nothing").await?;
    job::insert(tx, &jobs, Timestamp(0)).await
}

/// A patchset shows its newest version's state, and stands in the lists where its mails were posted.
pub(super) async fn finish(tx: &mut Tx, patchsets: &[i64]) -> Result<(), StoreError> {
    for chunk in patchsets.chunks(400) {
        let newest =
            "from series s where s.patchset = patchset.id order by s.position desc limit 1";
        let (all, list) = (
            "from series s where s.patchset = patchset.id",
            marks(chunk.len()),
        );
        let text = format!(
            "update patchset set versions = (select count(*) {all}), newest = (select s.id {newest}), \
             state = coalesce((select s.state {newest}), 1), updated = coalesce((select max(s.arrived) {all}), 0) \
             where id in ({list})"
        );
        let binds = || chunk.iter().map(|id| Bind::from(*id)).collect::<Vec<_>>();
        let heads = format!("select id, newest from patchset where id in ({list})");
        let before: HashMap<i64, Option<i64>> = tx
            .fetch(heads.clone(), binds())
            .await?
            .into_iter()
            .collect();
        tx.execute(text, binds()).await?;
        let after: Vec<(i64, Option<i64>)> = tx.fetch(heads, binds()).await?;
        restore_heads(tx, &before, &after).await?;
        let text = format!("delete from patchset_list where patchset in ({list})");
        tx.execute(text, binds()).await?;
    }
    regroup::stand_in_lists(tx, patchsets).await
}

/// Where an older version became the newest again, as another was taken away or merged in, its `head` is set once more. A version
/// that was not applied yet is going to be anyway.
async fn restore_heads(
    tx: &mut Tx,
    before: &HashMap<i64, Option<i64>>,
    after: &[(i64, Option<i64>)],
) -> Result<(), StoreError> {
    let moved = |(id, newest): &(i64, Option<i64>)| {
        let old = before.get(id).copied().flatten();
        newest.filter(|newest| old.is_some_and(|old| old != *newest))
    };
    let moved: Vec<i64> = after.iter().filter_map(moved).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let text = format!(
        "select a.series from application a join series s on s.id = a.series \
         where a.outcome = 'applied' and s.complete = 1 and a.series in ({})",
        marks(moved.len())
    );
    let binds = moved.into_iter().map(Bind::from).collect();
    let applied: Vec<(i64,)> = tx.fetch(text, binds).await?;
    let jobs: Vec<(Job, i64)> = applied
        .into_iter()
        .map(|(id,)| (Job::Apply(SeriesId(id)), 1))
        .collect();
    job::insert(tx, &jobs, Timestamp(0)).await
}
