//! How addresses stand that bounced: points, probes, warnings, removal. The rules are those of [`crate::list::score`].

use std::collections::{BTreeMap, BTreeSet};

use super::sql::Bind;
use super::{NewLetter, Reader, Store, StoreError, Tx, event, letter, marks, tally};
use crate::list::bounce::Class;
use crate::list::score::{Standing, State, Step, Storm};
use crate::list::token;
use crate::types::{ListId, Timestamp};

/// An address with its standing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingRow {
    /// Its row: what tokens name it by.
    pub id: i64,
    /// The address.
    pub address: String,
    /// How it stands.
    pub standing: Standing,
}

/// An address about which something is to be done.
#[derive(Debug, Clone)]
pub struct Due {
    /// The address.
    pub row: StandingRow,
    /// What; `None`: only to look again tomorrow.
    pub step: Option<Step>,
    /// The list that a letter speaks for: the first that the address is on. `None`: it is on none.
    pub list: Option<ListId>,
}

const STATES: [(State, &str); 3] = [
    (State::Fine, "fine"),
    (State::Probed, "probed"),
    (State::Disabled, "disabled"),
];

/// A state as it is stored and shown.
pub fn state_word(state: State) -> &'static str {
    let found = STATES.iter().find(|(known, _)| *known == state);
    found.map_or("fine", |(_, word)| word)
}

pub(super) type Row = (
    i64,
    String,
    String,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    Option<i64>,
);
pub(super) const COLUMNS: &str =
    "s.id, s.address, s.state, s.halves, s.days, s.last_day, s.day_halves, s.since, s.told, s.next";

pub(super) fn standing_row(
    (id, address, state, halves, days, last_day, day_halves, since, told, next): Row,
) -> StandingRow {
    let state = STATES.iter().find(|(_, word)| *word == state);
    StandingRow {
        id,
        address,
        standing: Standing {
            state: state.map_or(State::Fine, |(state, _)| *state),
            halves,
            days,
            last_day,
            day_halves,
            since: Timestamp(since),
            told,
            next: next.map(Timestamp),
        },
    }
}

impl Reader {
    /// How an address stands, if it ever bounced.
    pub async fn find_standing(&self, address: &str) -> Result<Option<StandingRow>, StoreError> {
        let text = format!("select {COLUMNS} from standing s where s.address = ?");
        let row: Option<Row> = self.fetch_one(text, vec![address.into()]).await?;
        Ok(row.map(standing_row))
    }

    /// How the address stands that a token names, if it stands so since the moment that the token names.
    pub async fn find_standing_by_token(
        &self,
        token: token::Standing,
    ) -> Result<Option<StandingRow>, StoreError> {
        let text = format!("select {COLUMNS} from standing s where s.id = ?");
        let row: Option<Row> = self.fetch_one(text, vec![token.id.into()]).await?;
        let row = row.map(standing_row);
        Ok(row.filter(|r| r.standing.since.secs() == token.since))
    }

    /// Members of a list that get no copies because of bounces.
    pub async fn load_disabled(&self, list: ListId) -> Result<BTreeSet<String>, StoreError> {
        let text = "select s.address from standing s join member m on m.address = s.address \
             where s.state = 'disabled' and m.list = $1";
        let rows: Vec<(String,)> = self.fetch(text, vec![list.0.into()]).await?;
        Ok(rows.into_iter().map(|r| r.0).collect())
    }

    /// How many addresses are disabled by bounces.
    pub async fn count_disabled(&self) -> Result<i64, StoreError> {
        let text = "select count(*) from standing where state = 'disabled'";
        let row: Option<(i64,)> = self.fetch_one(text, vec![]).await?;
        Ok(row.map_or(0, |r| r.0))
    }

    /// Addresses about which something may be due now, at most `limit`.
    pub async fn load_due(&self, limit: i64, now: Timestamp) -> Result<Vec<Due>, StoreError> {
        let text = format!(
            "select {COLUMNS} from standing s where s.next <= ? order by s.next, s.id limit ?"
        );
        let rows: Vec<Row> = self.fetch(text, vec![now.0.into(), limit.into()]).await?;
        let rows: Vec<StandingRow> = rows.into_iter().map(standing_row).collect();
        let ids: Vec<Bind> = rows.iter().map(|r| r.id.into()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // Days on which copies went out to it, behind the last one that gave points.
        let text = format!(
            "select s.id, count(distinct d.day), cast(min(m.list) as bigint) from standing s \
             join member m on m.address = s.address \
             left join copy_day d on d.list = m.list and m.mail = 1 and d.day > s.last_day \
             where s.id in ({}) group by s.id",
            marks(ids.len())
        );
        let counted: Vec<(i64, i64, i64)> = self.fetch(text, ids).await?;
        let counted: BTreeMap<i64, (i64, i64)> =
            counted.into_iter().map(|c| (c.0, (c.1, c.2))).collect();
        let due = |row: StandingRow| {
            let (quiet, list) = match counted.get(&row.id) {
                Some((quiet, list)) => (*quiet, Some(ListId(*list))),
                None => (0, None),
            };
            let step = match list {
                Some(_) => row.standing.due(quiet, now),
                // Nobody is owed a letter who is on no list any more.
                None => Some(Step::Forgive),
            };
            Due { row, step, list }
        };
        Ok(rows.into_iter().map(due).collect())
    }

    /// Storms that the operator does not know of yet.
    pub async fn load_storms_to_tell(&self) -> Result<Vec<Storm>, StoreError> {
        let text = "select domain, code, recipients, began, ended from storm where told = 0 order by domain";
        let rows: Vec<(String, String, i64, i64, i64)> = self.fetch(text, vec![]).await?;
        let storm = |(domain, code, recipients, began, ended)| Storm {
            domain,
            code,
            recipients: usize::try_from(recipients).unwrap_or(0),
            span: (Timestamp(began), Timestamp(ended)),
        };
        Ok(rows.into_iter().map(storm).collect())
    }
}

impl Store {
    /// Counts bounces that waited for long enough; returns how many, and none when all is counted.
    pub async fn count_bounces(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.write(move |tx| Box::pin(tally::count(tx, now))).await
    }

    /// Takes a step with its letter, unless the address stands otherwise by now: all in one transaction. Returns whether it was taken.
    pub async fn take_step(
        &self,
        due: Due,
        letter: Option<NewLetter>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let rings = letter.is_some();
        let taken = self
            .write(move |tx| Box::pin(take_step(tx, due, letter, now)))
            .await?;
        if rings {
            self.deliveries.notify_one();
        }
        Ok(taken)
    }

    /// A probe came back; returns whether it disabled the address. What comes back again, or of an old probe, moves nothing.
    pub async fn record_probe_bounce(
        &self,
        token: token::Standing,
        class: Class,
        said: String,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let Some(row) = load(tx, token).await? else {
                    return Ok(false);
                };
                let after = row.standing.probe_bounced(class, now);
                if after == row.standing || !save(tx, &row, after).await? {
                    return Ok(false);
                }
                let detail = format!("no copies any more: the probe came back: {said}");
                note(tx, &row.address, "disabled", detail, now).await?;
                Ok(true)
            })
        })
        .await
    }

    /// An address gets its copies again, and all points are forgiven; returns whether it was disabled or probed.
    pub async fn enable_address(
        &self,
        address: String,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let changed = enable(tx, &address, now).await?;
                Ok(changed)
            })
        })
        .await
    }

    /// Notes that the operator knows of a storm, with the letter that tells him.
    pub async fn record_storm_told(
        &self,
        domain: String,
        letter: Option<NewLetter>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let text = "update storm set told = 1 where domain = $1 and told = 0";
                if tx.execute(text, vec![domain.into()]).await? > 0 {
                    letter::insert(tx, letter.into_iter().collect(), now).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.deliveries.notify_one();
        Ok(())
    }
}

/// Forgives an address everything; returns whether there was anything.
pub(super) async fn enable(tx: &mut Tx, address: &str, now: Timestamp) -> Result<bool, StoreError> {
    let text = "update standing set state = 'fine', halves = 0, days = 0, last_day = 0, day_halves = 0, \
         since = $1, told = 0, next = null where address = $2 and (state <> 'fine' or halves > 0)";
    let binds = vec![now.0.into(), address.into()];
    let changed = tx.execute(text, binds).await? > 0;
    if changed {
        let detail = "gets copies again, and its points are forgiven";
        note(tx, address, "enabled", detail.to_owned(), now).await?;
    }
    Ok(changed)
}

/// The same for addresses that are added to a list: whoever adds one means it to get mail.
pub(super) async fn enable_all(
    tx: &mut Tx,
    addresses: &[String],
    now: Timestamp,
) -> Result<(), StoreError> {
    for chunk in addresses.chunks(400) {
        let text = format!(
            "select address from standing where state <> 'fine' and address in ({})",
            marks(chunk.len())
        );
        let binds = chunk.iter().map(Bind::from).collect();
        let kept: Vec<(String,)> = tx.fetch(text, binds).await?;
        // Few are ever disabled.
        for (address,) in kept {
            enable(tx, &address, now).await?;
        }
    }
    Ok(())
}

async fn load(tx: &mut Tx, token: token::Standing) -> Result<Option<StandingRow>, StoreError> {
    let text = format!("select {COLUMNS} from standing s where s.id = ?");
    let row: Option<Row> = tx.fetch_one(text, vec![token.id.into()]).await?;
    let row = row.map(standing_row);
    Ok(row.filter(|r| r.standing.since.secs() == token.since))
}

/// Sets how an address stands, if it stands as it was read; returns whether it did.
async fn save(tx: &mut Tx, row: &StandingRow, after: Standing) -> Result<bool, StoreError> {
    let text = "update standing set state = $1, halves = $2, days = $3, last_day = $4, day_halves = $5, since = $6, told = $7, \
         next = $8 where id = $9 and state = $10 and since = $11 and told = $12 and halves = $13";
    let before = row.standing;
    let binds = vec![
        state_word(after.state).into(),
        after.halves.into(),
        after.days.into(),
        after.last_day.into(),
        after.day_halves.into(),
        after.since.0.into(),
        after.told.into(),
        after.next.map(|n| n.0).into(),
        row.id.into(),
        state_word(before.state).into(),
        before.since.0.into(),
        before.told.into(),
        before.halves.into(),
    ];
    Ok(tx.execute(text, binds).await? > 0)
}

/// Notes something about an address on each list that it is on.
async fn note(
    tx: &mut Tx,
    address: &str,
    kind: &'static str,
    detail: String,
    now: Timestamp,
) -> Result<(), StoreError> {
    let text = "select list from member where address = $1 order by list";
    let lists: Vec<(i64,)> = tx.fetch(text, vec![address.into()]).await?;
    let event = |(list,): (i64,)| event::NewEvent {
        list: ListId(list),
        kind,
        actor: address.to_owned(),
        detail: detail.clone(),
        happened: now,
    };
    event::record(tx, lists.into_iter().map(event).collect()).await
}

async fn take_step(
    tx: &mut Tx,
    due: Due,
    letter: Option<NewLetter>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Due { row, step, .. } = due;
    let after = match step {
        Some(step) => row.standing.after(step, now),
        None => row.standing.looked_at(now),
    };
    if !save(tx, &row, after).await? {
        return Ok(false);
    }
    let (kind, detail) = match step {
        Some(Step::Probe) => ("probe", "too many copies came back: a probe was sent"),
        Some(Step::Warn(_)) => (
            "warning",
            "was told that it gets no copies because of bounces",
        ),
        Some(Step::Remove) => ("removed", "disabled by bounces for a month"),
        Some(Step::Forgive) | None => return Ok(true),
    };
    note(tx, &row.address, kind, detail.to_owned(), now).await?;
    letter::insert(tx, letter.into_iter().collect(), now).await?;
    if step == Some(Step::Remove) {
        let text = "delete from member where address = $1";
        tx.execute(text, vec![row.address.into()]).await?;
    }
    Ok(true)
}
