//! Counting what came back: points of addresses, and storms in which nobody gets any.

use std::collections::{BTreeMap, BTreeSet};

use super::sql::Bind;
use super::standing::{COLUMNS, Row, standing_row, state_word};
use super::{StoreError, Tx, delivery, marks};
use crate::list::bounce::Class;
use crate::list::score::{self, Seen, Standing, Storm};
use crate::types::Timestamp;

/// Bounces that are counted in one transaction.
const BATCH: i64 = 1_000;
/// Values per statement.
const CHUNK: usize = 200;

/// A bounce that waits to be counted.
struct Waiting {
    id: i64,
    seen: Seen,
    class: Class,
}

/// Counts the oldest bounces that waited for long enough; returns how many.
pub(super) async fn count(tx: &mut Tx, now: Timestamp) -> Result<usize, StoreError> {
    let text = "select id, address, domain, class, code, arrived from bounce where state = 0 and arrived <= $1 \
         order by arrived, id limit $2";
    let ripe = now.plus_secs(-score::WAIT_SECS);
    let rows: Vec<(i64, String, String, String, String, i64)> =
        tx.fetch(text, vec![ripe.0.into(), BATCH.into()]).await?;
    let waiting =
        |(id, address, domain, class, code, arrived): (i64, _, _, String, _, _)| Waiting {
            id,
            seen: Seen {
                domain,
                code,
                address,
                arrived: Timestamp(arrived),
            },
            class: Class::parse(&class).unwrap_or(Class::Other),
        };
    let waiting: Vec<Waiting> = rows.into_iter().map(waiting).collect();
    let storms = storms(tx, &waiting).await?;
    let calm = |w: &&Waiting| !score::is_covered(&storms, &w.seen.domain, w.class, w.seen.arrived);
    let (calm, stormy): (Vec<&Waiting>, Vec<&Waiting>) = waiting.iter().partition(|w| calm(w));
    add_points(tx, &calm, now).await?;
    set_state(tx, &calm, 1).await?;
    set_state(tx, &stormy, 2).await?;
    Ok(waiting.len())
}

async fn set_state(tx: &mut Tx, bounces: &[&Waiting], state: i64) -> Result<(), StoreError> {
    for chunk in bounces.chunks(CHUNK) {
        let text = format!(
            "update bounce set state = ? where id in ({})",
            marks(chunk.len())
        );
        let ids = chunk.iter().map(|w| Bind::from(w.id));
        let binds = std::iter::once(Bind::from(state)).chain(ids);
        tx.execute(text, binds.collect()).await?;
    }
    Ok(())
}

/// The storms that may cover these bounces: those that are known, and those that are seen now, which are noted.
async fn storms(tx: &mut Tx, waiting: &[Waiting]) -> Result<Vec<Storm>, StoreError> {
    let (Some(first), Some(last)) = (waiting.first(), waiting.last()) else {
        return Ok(Vec::new());
    };
    let around = (
        first.seen.arrived.plus_secs(-score::WAIT_SECS),
        last.seen.arrived.plus_secs(score::WAIT_SECS),
    );
    let domains: BTreeSet<&str> = waiting.iter().map(|w| w.seen.domain.as_str()).collect();
    let domains: Vec<&str> = domains.into_iter().collect();
    let (mut seen, mut known) = (Vec::new(), Vec::new());
    for chunk in domains.chunks(CHUNK) {
        let names = chunk.iter().map(|d| Bind::from(*d));
        let text = format!(
            "select domain, code, address, arrived from bounce where kind = 1 and address <> '' and arrived >= ? and arrived <= ? \
             and domain in ({})",
            marks(chunk.len())
        );
        let span = [around.0.0.into(), around.1.0.into()];
        let rows: Vec<(String, String, String, i64)> = tx
            .fetch(text, span.into_iter().chain(names.clone()).collect())
            .await?;
        seen.extend(
            rows.into_iter()
                .map(|(domain, code, address, arrived)| Seen {
                    domain,
                    code,
                    address,
                    arrived: Timestamp(arrived),
                }),
        );
        let text = format!(
            "select domain, code, recipients, began, ended from storm where domain in ({})",
            marks(chunk.len())
        );
        let rows: Vec<(String, String, i64, i64, i64)> = tx.fetch(text, names.collect()).await?;
        known.extend(
            rows.into_iter()
                .map(|(domain, code, recipients, began, ended)| Storm {
                    domain,
                    code,
                    recipients: usize::try_from(recipients).unwrap_or(0),
                    span: (Timestamp(began), Timestamp(ended)),
                }),
        );
    }
    let members = members_of(tx, &crowded(&seen)).await?;
    let found = score::find_storms(&seen, &members);
    note_storms(tx, &found, &known).await?;
    known.extend(found);
    Ok(known)
}

/// Destinations with bounces of enough different members: only of these it matters how many there are.
fn crowded(seen: &[Seen]) -> Vec<String> {
    let mut by: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for bounce in seen {
        by.entry(&bounce.domain)
            .or_default()
            .insert(&bounce.address);
    }
    let crowded = by
        .into_iter()
        .filter(|(_, a)| a.len() >= score::STORM_RECIPIENTS);
    crowded.map(|(domain, _)| domain.to_owned()).collect()
}

/// How many different members these destinations have on all lists.
async fn members_of(
    tx: &mut Tx,
    domains: &[String],
) -> Result<BTreeMap<String, usize>, StoreError> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for chunk in domains.chunks(50) {
        let any = vec!["address like ?"; chunk.len()].join(" or ");
        let text = format!("select distinct address from member where {any}");
        let binds = chunk.iter().map(|d| Bind::from(format!("%@{d}"))).collect();
        let rows: Vec<(String,)> = tx.fetch(text, binds).await?;
        for (address,) in rows {
            let domain = delivery::domain_of(&address);
            all.entry(domain).or_default().insert(address);
        }
    }
    Ok(all.into_iter().map(|(d, a)| (d, a.len())).collect())
}

/// A storm that goes on is the same storm, and the operator knows of it already.
async fn note_storms(tx: &mut Tx, found: &[Storm], known: &[Storm]) -> Result<(), StoreError> {
    let mut rows: BTreeMap<&str, Storm> = BTreeMap::new();
    for storm in found {
        let row = rows.entry(&storm.domain).or_insert_with(|| storm.clone());
        row.recipients = row.recipients.max(storm.recipients);
        row.span = (row.span.0.min(storm.span.0), row.span.1.max(storm.span.1));
    }
    let row = |storm: Storm| {
        let goes_on = known.iter().any(|k| k.covers(&storm.domain, storm.span.0));
        let before = known.iter().filter(|k| k.domain == storm.domain && goes_on);
        let began = before.clone().map(|k| k.span.0).min();
        let began = began.unwrap_or(storm.span.0).min(storm.span.0);
        let ended = before.map(|k| k.span.1).max();
        let whole = Storm {
            span: (began, storm.span.1),
            ..storm.clone()
        };
        let told = ended.is_some_and(|ended| !whole.is_news_after(ended));
        vec![
            storm.domain.into(),
            storm.code.into(),
            i64::try_from(storm.recipients).unwrap_or(i64::MAX).into(),
            began.0.into(),
            storm.span.1.0.into(),
            i64::from(told).into(),
        ]
    };
    let tail = "on conflict (domain) do update set code = excluded.code, recipients = excluded.recipients, \
         began = excluded.began, ended = case when excluded.ended > storm.ended then excluded.ended else storm.ended end, \
         told = case when excluded.told = 1 then storm.told else 0 end";
    let head = "storm (domain, code, recipients, began, ended, told)";
    tx.insert(head, rows.into_values().map(row).collect(), tail)
        .await?;
    Ok(())
}

/// Adds points; bounces are given by arrival.
async fn add_points(tx: &mut Tx, bounces: &[&Waiting], now: Timestamp) -> Result<(), StoreError> {
    let counts = bounces.iter().filter(|w| score::halves(w.class) > 0);
    let mut by: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
    for bounce in counts {
        by.entry(&bounce.seen.address).or_default().push(bounce);
    }
    let addresses: Vec<&str> = by.keys().copied().collect();
    let mut known = BTreeMap::new();
    for chunk in addresses.chunks(CHUNK) {
        let text = format!(
            "select {COLUMNS} from standing s where s.address in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(|a| Bind::from(*a)).collect();
        let rows: Vec<Row> = tx.fetch(text, binds).await?;
        known.extend(
            rows.into_iter()
                .map(standing_row)
                .map(|r| (r.address.clone(), r)),
        );
    }
    let row = |(address, bounces): (&str, Vec<&Waiting>)| {
        let before = known
            .get(address)
            .map_or(Standing::new(now), |r| r.standing);
        let after = bounces
            .iter()
            .fold(before, |s, w| s.bounced(w.class, w.seen.arrived, now));
        vec![
            address.into(),
            state_word(after.state).into(),
            after.halves.into(),
            after.days.into(),
            after.last_day.into(),
            after.day_halves.into(),
            after.since.0.into(),
            after.told.into(),
            after.next.map(|n| n.0).into(),
        ]
    };
    let head = "standing (address, state, halves, days, last_day, day_halves, since, told, next)";
    let tail = "on conflict (address) do update set halves = excluded.halves, days = excluded.days, \
         last_day = excluded.last_day, day_halves = excluded.day_halves, next = excluded.next";
    tx.insert(head, by.into_iter().map(row).collect(), tail)
        .await?;
    Ok(())
}
