//! Recording what was assembled: stable ids, aliases, and only what differs is written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::series::{Done, NewPatchset, NewSeries, Recorded};
use super::sql::{self, Bind};
use super::stored::{Stored, load_stored};
use super::{StoreError, Tx, file, fresh, job, landed, marks};
use crate::types::{Job, MailId, RealmId, SeriesId, Timestamp};

/// What a series' stored rows were made from: if it is the same, nothing is written.
pub(super) fn digest(series: &NewSeries) -> String {
    use sha2::Digest;
    let mut text = format!("{series:?}");
    // Where no patch has a state of its own, it is what it was before patches could have one.
    if let Some(head) = text.strip_suffix(", states: [] }") {
        text = format!("{head} }}");
    }
    let hash = sha2::Sha256::digest(text);
    data_encoding::HEXLOWER.encode(&hash[..16])
}

pub(super) async fn record(
    tx: &mut Tx,
    realm: RealmId,
    version: i64,
    mails: &[MailId],
    patchsets: Vec<NewPatchset>,
    done: &Done,
) -> Result<Recorded, StoreError> {
    if file::lock_realm(tx, realm).await? != Some(version) {
        return Err(StoreError::Stale);
    }
    let stored = load_stored(tx, mails, &patchsets).await?;
    let mut left: BTreeMap<i64, Stored> = stored.iter().map(|s| (s.id, s.clone())).collect();
    let mut recorded = Recorded::default();
    let mut taken = HashSet::new();
    let (mut unchanged, mut changed, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for patchset in patchsets {
        if same(&patchset, &stored) {
            let id = stored_patchset_of(&patchset, &stored);
            unchanged.push(id);
            taken.insert(id);
            patchset
                .series
                .iter()
                .for_each(|s| left.retain(|_, old| old.anchor != s.anchor.0));
            continue;
        }
        if !stored.iter().any(|s| s.is_in(&patchset)) {
            fresh.push(patchset);
            continue;
        }
        let id = settle_patchset(tx, realm, &patchset, &stored, &mut taken).await?;
        recorded.add(id, &patchset);
        for (position, series) in (0i64..).zip(&patchset.series) {
            record_series(tx, realm, id, position, series, &mut left, done.quiet).await?;
        }
        let text = "update patchset set anchor = $1, title = $2, prefixes = $3 where id = $4";
        let (anchor, title, prefixes) = (patchset.anchor.0, patchset.title, patchset.prefixes);
        let binds = vec![anchor.into(), title.into(), prefixes.into(), id.into()];
        tx.execute(text, binds).await?;
        changed.push(id);
    }
    landed::settle_patchsets(tx, &changed).await?;
    fresh::finish(tx, &changed).await?;
    let ids = fresh::record(tx, realm, &fresh, done.quiet).await?;
    for (id, patchset) in ids.iter().zip(&fresh) {
        recorded.add(*id, patchset);
    }
    // Known mails that were posted to another list, too.
    stand_in_lists(tx, &unchanged).await?;
    dissolve(tx, left).await?;
    if !recorded.changed.is_empty() {
        let threads = super::application::threads(tx, mails).await?;
        file::raise(tx, realm, &threads).await?;
    }
    Ok(recorded)
}

fn stored_patchset_of(patchset: &NewPatchset, stored: &[Stored]) -> i64 {
    stored
        .iter()
        .find(|s| s.anchor == patchset.anchor.0)
        .map_or(0, |s| s.patchset)
}

/// Whether exactly these series with these contents are stored as one patchset already.
fn same(patchset: &NewPatchset, stored: &[Stored]) -> bool {
    let owner = |s: &NewSeries| {
        stored
            .iter()
            .find(|o| o.anchor == s.anchor.0 && o.digest == digest(s))
            .map(|o| o.patchset)
    };
    let owners: HashSet<Option<i64>> = patchset.series.iter().map(owner).collect();
    let Some(Some(id)) = owners.iter().next() else {
        return false;
    };
    owners.len() == 1
        && stored.iter().filter(|o| o.patchset == *id).count() == patchset.series.len()
}

/// The lowest stored patchset whose first version goes on in this group, else a new one; others become aliases.
async fn settle_patchset(
    tx: &mut Tx,
    realm: RealmId,
    patchset: &NewPatchset,
    stored: &[Stored],
    taken: &mut HashSet<i64>,
) -> Result<i64, StoreError> {
    let here = || stored.iter().filter(|s| s.is_in(patchset));
    let near: BTreeSet<i64> = here().map(|s| s.patchset).collect();
    let mut held = Vec::new();
    for id in near {
        let row: Option<(i64,)> = tx
            .fetch_one("select anchor from patchset where id = $1", vec![id.into()])
            .await?;
        let first = |(anchor,): (i64,)| here().any(|s| s.patchset == id && s.anchor == anchor);
        if row.is_some_and(first) && !taken.contains(&id) {
            held.push(id);
        }
    }
    let id = match held.first() {
        Some(id) => *id,
        None => {
            let number = fresh::take_numbers(tx, realm, 1).await?;
            let row = fresh::patchset_row(number, realm, patchset);
            sql::id(
                &tx.insert(fresh::PATCHSET, vec![row], "returning id")
                    .await?[0],
            )?
        }
    };
    taken.insert(id);
    for old in held.into_iter().skip(1) {
        taken.insert(old);
        tx.execute(
            "update patchset_alias set patchset = $1 where patchset = $2",
            vec![id.into(), old.into()],
        )
        .await?;
        let tail = "on conflict (old) do update set patchset = excluded.patchset";
        tx.insert(
            "patchset_alias (old, patchset)",
            vec![vec![old.into(), id.into()]],
            tail,
        )
        .await?;
        tx.execute(
            "update series set patchset = $1 where patchset = $2",
            vec![id.into(), old.into()],
        )
        .await?;
        tx.execute(
            "update patchset set versions = 0 where id = $1",
            vec![old.into()],
        )
        .await?;
        tx.execute(
            "delete from patchset_list where patchset = $1",
            vec![old.into()],
        )
        .await?;
    }
    Ok(id)
}

/// States of Patchwork that a newer version replaces by `superseded`: new, under review, rfc, changes requested.
pub(super) const OPEN_STATES: &str = "1, 2, 5, 7";

async fn record_series(
    tx: &mut Tx,
    realm: RealmId,
    patchset: i64,
    position: i64,
    series: &NewSeries,
    left: &mut BTreeMap<i64, Stored>,
    quiet: bool,
) -> Result<(), StoreError> {
    let held: Vec<Stored> = left
        .values()
        .filter(|s| s.goes_on == Some(series.anchor.0))
        .cloned()
        .collect();
    let unchanged =
        held.len() == 1 && held[0].digest == digest(series) && held[0].patchset == patchset;
    held.iter().for_each(|s| drop(left.remove(&s.id)));
    let id = match held.first() {
        Some(first) => first.id,
        None => {
            let row = series_row(realm, patchset, position, series);
            sql::id(&tx.insert(SERIES, vec![row], "returning id").await?[0])?
        }
    };
    tx.execute(
        "update series set position = $1 where id = $2",
        vec![position.into(), id.into()],
    )
    .await?;
    for old in held.iter().skip(1) {
        merge_series(tx, old.id, id).await?;
    }
    if unchanged {
        return Ok(());
    }
    let moved = is_moved(tx, patchset, id, series).await?;
    update_series(tx, patchset, id, series).await?;
    let other_patches = replace_patches(tx, id, series).await?;
    set_states(tx, id, series).await?;
    tx.execute("delete from comment where series = $1", vec![id.into()])
        .await?;
    let rows = series
        .comments
        .iter()
        .map(|(mail, target)| vec![id.into(), mail.0.into(), target.0.into()])
        .collect();
    tx.insert(
        "comment (series, mail, target)",
        rows,
        "on conflict do nothing",
    )
    .await?;
    if other_patches {
        // What came of other patches says nothing of these; the ref that was published stays.
        for table in ["application", "tip_check"] {
            let text = format!("delete from {table} where series = $1");
            tx.execute(text, vec![id.into()]).await?;
        }
    }
    // A new answer or title changes nothing in what git would make of it; a cover letter may name another base, and another
    // number or label is another ref.
    if series.complete && (other_patches || moved) {
        job::insert(
            tx,
            &[(Job::Apply(SeriesId(id)), if quiet { 5 } else { 1 })],
            Timestamp(0),
        )
        .await?;
    }
    Ok(())
}

/// Whether its cover, its label or its patchset was another.
async fn is_moved(
    tx: &mut Tx,
    patchset: i64,
    id: i64,
    series: &NewSeries,
) -> Result<bool, StoreError> {
    let text = "select cover, label, patchset from series where id = $1";
    let row: Option<(Option<i64>, String, i64)> = tx.fetch_one(text, vec![id.into()]).await?;
    let now = (series.cover.map(|c| c.0), series.label.clone(), patchset);
    Ok(row.is_some_and(|before| before != now))
}

async fn merge_series(tx: &mut Tx, old: i64, id: i64) -> Result<(), StoreError> {
    for text in [
        "update series_alias set series = $1 where series = $2",
        "update application set on_series = $1 where on_series = $2",
    ] {
        tx.execute(text, vec![id.into(), old.into()]).await?;
    }
    let tail = "on conflict (old) do update set series = excluded.series";
    tx.insert(
        "series_alias (old, series)",
        vec![vec![old.into(), id.into()]],
        tail,
    )
    .await?;
    delete_series(tx, old).await
}

async fn delete_series(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    for text in [
        "delete from comment where series = $1",
        "delete from patch where series = $1",
        "delete from application_commit where series = $1",
        "delete from application where series = $1",
        "delete from dependency where series = $1",
        "delete from tip_check where series = $1",
        "delete from series where id = $1",
    ] {
        tx.execute(text, vec![id.into()]).await?;
    }
    Ok(())
}

/// The columns of [`series_row`].
pub(super) const SERIES: &str = "series (patchset, realm, anchor, position, label, version, total, received, complete, superseded, \
     state, hand, archived, submitter, submitter_name, title, cover, base_commit, flags, reason, arrived, claims, digest)";

/// A series of which nothing is stored.
pub(super) fn series_row(
    realm: RealmId,
    patchset: i64,
    position: i64,
    series: &NewSeries,
) -> Vec<Bind> {
    let received = i64::try_from(series.patches.len()).unwrap_or(i64::MAX);
    vec![
        patchset.into(),
        realm.0.into(),
        series.anchor.0.into(),
        position.into(),
        series.label.as_str().into(),
        series.version.into(),
        series.total.into(),
        received.into(),
        series.complete.into(),
        series.superseded.into(),
        series
            .state
            .unwrap_or(if series.superseded { 9 } else { 1 })
            .into(),
        series.state.is_some().into(),
        0.into(),
        series.submitter.as_str().into(),
        series.submitter_name.as_str().into(),
        series.title.as_str().into(),
        series.cover.map(|c| c.0).into(),
        series.base_commit.clone().into(),
        series.flags.as_str().into(),
        series.reason.as_str().into(),
        series.arrived.0.into(),
        series.claims.map(|c| c.0).into(),
        digest(series).into(),
    ]
}

async fn update_series(
    tx: &mut Tx,
    patchset: i64,
    id: i64,
    series: &NewSeries,
) -> Result<(), StoreError> {
    let received = i64::try_from(series.patches.len()).unwrap_or(i64::MAX);
    let text = format!(
        "update series set patchset = ?, anchor = ?, label = ?, version = ?, total = ?, received = ?, complete = ?, \
         superseded = ?, state = case when ? > 0 then ? when ? = 1 and (hand = 1 or state in ({OPEN_STATES})) then 9 \
         when ? = 0 and (hand = 1 or state = 9) then 1 else state end, hand = ?, submitter = ?, submitter_name = ?, title = ?, cover = ?, base_commit = ?, flags = ?, reason = ?, arrived = ?, \
         claims = ?, digest = ? where id = ?"
    );
    let superseded = || Bind::from(series.superseded);
    let binds = vec![
        patchset.into(),
        series.anchor.0.into(),
        series.label.as_str().into(),
        series.version.into(),
        series.total.into(),
        received.into(),
        series.complete.into(),
        superseded(),
        series.state.unwrap_or(0).into(),
        series.state.unwrap_or(0).into(),
        superseded(),
        superseded(),
        series.state.is_some().into(),
        series.submitter.as_str().into(),
        series.submitter_name.as_str().into(),
        series.title.as_str().into(),
        series.cover.map(|c| c.0).into(),
        series.base_commit.clone().into(),
        series.flags.as_str().into(),
        series.reason.as_str().into(),
        series.arrived.0.into(),
        series.claims.map(|c| c.0).into(),
        digest(series).into(),
        id.into(),
    ];
    tx.execute(text, binds).await?;
    Ok(())
}

/// Patches keep their rows, and with them state and delegate, as long as the mail stays in the series.
/// Returns whether they are others than before.
async fn replace_patches(tx: &mut Tx, id: i64, series: &NewSeries) -> Result<bool, StoreError> {
    type Row = (
        i64,
        i64,
        Option<i64>,
        i64,
        Option<i64>,
        Option<String>,
        Option<String>,
    );
    let text = "select number, mail from patch where series = $1 order by number";
    let before: Vec<(i64, i64)> = tx.fetch(text, vec![id.into()]).await?;
    let wanted: Vec<(i64, i64)> = series.patches.iter().map(|p| (p.0, p.1.0)).collect();
    if before == wanted {
        return Ok(false);
    }
    let text = "select id, mail, case when hand = 1 then null else state end, archived, delegate, commit_ref, hash from patch \
         where series = $1";
    let kept: HashMap<i64, Row> = tx
        .fetch::<Row>(text, vec![id.into()])
        .await?
        .into_iter()
        .map(|r| (r.1, r))
        .collect();
    tx.execute("delete from patch where series = $1", vec![id.into()])
        .await?;
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (number, mail, taken_over) in &series.patches {
        let place = vec![
            Bind::from(id),
            (*number).into(),
            mail.0.into(),
            (*taken_over).into(),
        ];
        match kept.get(&mail.0).cloned() {
            Some((row, _, state, archived, delegate, commit_ref, hash)) => {
                let mut binds = vec![Bind::from(row)];
                binds.extend(place);
                binds.extend([
                    state.into(),
                    archived.into(),
                    delegate.into(),
                    commit_ref.into(),
                    hash.into(),
                ]);
                old.push(binds);
            }
            None => new.push(place.into_iter().chain([0.into()]).collect()),
        }
    }
    tx.insert(
        "patch (id, series, number, mail, taken_over, state, archived, delegate, commit_ref, hash)",
        old,
        "",
    )
    .await?;
    tx.insert(
        "patch (series, number, mail, taken_over, archived)",
        new,
        "",
    )
    .await?;
    Ok(true)
}

/// Gives the patches of a series the states that people set for them, and takes those back that nobody set any more.
pub(super) async fn set_states(tx: &mut Tx, id: i64, series: &NewSeries) -> Result<(), StoreError> {
    let text = "update patch set state = null, hand = 0 where series = $1 and hand = 1";
    tx.execute(text, vec![id.into()]).await?;
    for chunk in series.states.chunks(200) {
        let text = format!(
            "update patch set hand = 1, state = case mail {}end where series = ? and mail in ({})",
            "when ? then cast(? as bigint) ".repeat(chunk.len()),
            marks(chunk.len())
        );
        let cases = chunk.iter().flat_map(|(m, state)| [m.0, *state]);
        let binds = cases.chain([id]).chain(chunk.iter().map(|(m, _)| m.0));
        tx.execute(text, binds.map(Bind::from).collect()).await?;
    }
    Ok(())
}

/// Puts patchsets into the lists where their mails were posted.
pub(super) async fn stand_in_lists(tx: &mut Tx, patchsets: &[i64]) -> Result<(), StoreError> {
    for chunk in patchsets.chunks(400) {
        for by in [
            "patch pa on pa.series = s.id join posting po on po.mail = pa.mail",
            "posting po on po.mail = s.cover",
        ] {
            let text = format!(
                "insert into patchset_list (list, patchset, updated) select distinct po.list, s.patchset, p.updated \
                 from series s join patchset p on p.id = s.patchset join {by} where s.patchset in ({}) on conflict do nothing",
                marks(chunk.len())
            );
            let binds: Vec<Bind> = chunk.iter().map(|id| Bind::from(*id)).collect();
            tx.execute(text, binds).await?;
        }
    }
    Ok(())
}

/// Series that no assembled group holds any more.
async fn dissolve(tx: &mut Tx, left: BTreeMap<i64, Stored>) -> Result<(), StoreError> {
    let owners: BTreeSet<i64> = left.values().map(|s| s.patchset).collect();
    for id in left.keys() {
        delete_series(tx, *id).await?;
    }
    for owner in owners {
        let text = "update patchset set versions = (select count(*) from series where patchset = $1) where id = $1";
        tx.execute(text, vec![owner.into()]).await?;
        let text = "delete from patchset_list where patchset = $1 and not exists (select 1 from series where patchset = $1)";
        tx.execute(text, vec![owner.into()]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was stored by a program that knew no states of patches is what is stored of a series without any.
    #[test]
    fn a_state_of_a_patch_is_all_that_changes_a_digest() {
        let mut series = NewSeries {
            anchor: MailId(1),
            label: "1".to_owned(),
            version: 1,
            total: 1,
            patches: vec![(1, MailId(1), false)],
            comments: vec![],
            cover: None,
            complete: true,
            superseded: false,
            claims: None,
            submitter: "ana@x".to_owned(),
            submitter_name: "Ana, states: [] }".to_owned(),
            title: "t".to_owned(),
            base_commit: None,
            flags: String::new(),
            state: None,
            reason: "r".to_owned(),
            arrived: Timestamp(7),
            states: vec![],
        };
        let plain = digest(&series);
        assert_eq!(plain, "45610e915e4608ccf514603dea603085");
        series.states = vec![(MailId(1), 4)];
        assert_ne!(digest(&series), plain);
    }
}
