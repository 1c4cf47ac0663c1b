//! What is owed by mail, as an operator sees and steers it: copies and letters together.

use super::sql::Bind;
use super::{Dialect, Reader, Store, StoreError, Tx, marks};
use crate::types::{ListId, Timestamp};

/// Which of the owed mails are meant; all that is given has to hold.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Rows by number: copies, then letters. If any is given, no others are meant.
    pub ids: Option<(Vec<i64>, Vec<i64>)>,
    /// Of this list.
    pub list: Option<ListId>,
    /// Of no list: letters of the site.
    pub of_site: bool,
    /// To this domain, in lower case.
    pub domain: Option<String>,
    /// In this state.
    pub state: Option<i64>,
    /// To this address, in lower case.
    pub recipient: Option<String>,
}

/// A copy or letter that is owed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueueRow {
    /// `c12` is a copy, `l3` a letter.
    pub id: String,
    /// The list's name, or empty.
    pub list: String,
    /// The recipient.
    pub to: String,
    /// The posting's number, or what a letter is for.
    pub what: String,
    /// `due`, `sending`, `given-up` or `held`.
    pub state: &'static str,
    /// Since when it is owed, or let go again, in microseconds since 1970.
    pub since: i64,
    /// How often it was begun.
    pub attempts: i64,
    /// The next try, in microseconds since 1970; of what is held or given up, when it would have been or was.
    pub next: i64,
    /// What was in the way last.
    pub problem: String,
}

/// How many mails are owed of one list to one domain in one state.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueueCount {
    /// The list's name, or empty.
    pub list: String,
    /// The recipients' domain.
    pub domain: String,
    /// `due`, `sending`, `given-up` or `held`.
    pub state: &'static str,
    /// How many.
    pub mails: i64,
    /// The earliest moment at which one of them was or is due, in microseconds since 1970.
    pub next: i64,
}

/// The whole queue in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Copies and letters that are due or being sent.
    pub owed: i64,
    /// Those that an operator holds.
    pub held: i64,
    /// Those that are not tried any more.
    pub given_up: i64,
    /// When the oldest that is owed came into being.
    pub oldest: Option<Timestamp>,
}

/// Copies that were given up lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenUpLately {
    /// How many.
    pub count: i64,
    /// How many copies were made in that time.
    pub made: i64,
    /// What was in the way of the last one.
    pub problem: String,
}

/// What an operator does with owed mails. What is being sent just now is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Due now, whatever it was.
    Retry,
    /// Not until it is retried.
    Hold,
    /// Never.
    Drop,
}

impl Steer {
    /// In which states a mail is meant.
    fn states(self) -> &'static str {
        match self {
            Steer::Retry | Steer::Drop => "(0, 2, 3)",
            Steer::Hold => "(0)",
        }
    }

    /// What was done, for notes.
    pub fn done(self) -> &'static str {
        match self {
            Steer::Retry => "tried again",
            Steer::Hold => "held back",
            Steer::Drop => "dropped",
        }
    }
}

/// States by their stored numbers.
pub const STATES: [&str; 4] = ["due", "sending", "given-up", "held"];

fn state_name(state: i64) -> &'static str {
    let at = usize::try_from(state).unwrap_or(STATES.len());
    STATES.get(at).unwrap_or(&"held")
}

impl Choice {
    /// Reads numbers such as `c12` and `l3`: copies, then letters.
    pub fn parse_ids(ids: &[String]) -> Result<(Vec<i64>, Vec<i64>), String> {
        let (mut copies, mut letters) = (vec![], vec![]);
        for id in ids {
            let read = id
                .split_at_checked(1)
                .and_then(|(kind, n)| Some((kind, n.parse().ok()?)));
            match read {
                Some(("c", number)) => copies.push(number),
                Some(("l", number)) => letters.push(number),
                _ => {
                    return Err(format!(
                        "{id} is no number of an owed mail, such as c12 or l3"
                    ));
                }
            }
        }
        Ok((copies, letters))
    }
}

const TABLES: [&str; 2] = ["delivery", "letter"];

/// The condition for one of the tables, with its binds; `None` if nothing of it is meant.
fn condition(choice: &Choice, table: usize) -> Option<(String, Vec<Bind>)> {
    let mut parts = vec!["1 = 1".to_owned()];
    let mut binds = Vec::new();
    if let Some((copies, letters)) = &choice.ids {
        let ids = if table == 0 { copies } else { letters };
        if ids.is_empty() {
            return None;
        }
        parts.push(format!("q.id in ({})", marks(ids.len())));
        binds.extend(ids.iter().map(|id| Bind::from(*id)));
    }
    if let Some(list) = choice.list {
        parts.push("q.list = ?".to_owned());
        binds.push(list.0.into());
    }
    if choice.of_site {
        parts.push("q.list is null".to_owned());
    }
    if let Some(domain) = &choice.domain {
        parts.push("q.domain = ?".to_owned());
        binds.push(domain.into());
    }
    if let Some(recipient) = &choice.recipient {
        let column = ["q.address", "q.recipient"][table];
        parts.push(format!("lower({column}) = ?"));
        binds.push(recipient.into());
    }
    if let Some(state) = choice.state {
        parts.push("q.state = ?".to_owned());
        binds.push(state.into());
    }
    Some((parts.join(" and "), binds))
}

/// When somebody wished last that what is owed is tried now.
pub const RETRIED: &str = "queue-retried";

impl Reader {
    /// Owed mails, those that are due first first.
    pub async fn load_queue(
        &self,
        choice: &Choice,
        limit: i64,
    ) -> Result<Vec<QueueRow>, StoreError> {
        let columns = [
            "cast('c' as text) as kind, q.id, coalesce(l.name, '') as list, q.address as recipient, cast(q.number as text) as what, \
             coalesce(q.started, f.started, q.run_at) as since",
            "cast('l' as text) as kind, q.id, coalesce(l.name, '') as list, q.recipient as recipient, q.purpose as what, q.made as since",
        ];
        let begun = [
            "left join fan_out f on f.list = q.list and f.number = q.number",
            "",
        ];
        let mut selects = Vec::new();
        let mut binds = Vec::new();
        for (at, table) in TABLES.into_iter().enumerate() {
            let Some((condition, own)) = condition(choice, at) else {
                continue;
            };
            selects.push(format!(
                "select {}, q.state, q.attempts, q.run_at, q.problem from {table} q left join list l on l.id = q.list {} where {condition}",
                columns[at], begun[at]
            ));
            binds.extend(own);
        }
        if selects.is_empty() {
            return Ok(Vec::new());
        }
        let text = format!(
            "select kind, id, list, recipient, what, since, state, attempts, run_at, problem from ({}) owed order by run_at, kind, id limit ?",
            selects.join(" union all ")
        );
        binds.push(limit.into());
        type Row = (
            String,
            i64,
            String,
            String,
            String,
            i64,
            i64,
            i64,
            i64,
            String,
        );
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let row =
            |(kind, id, list, to, what, since, state, attempts, next, problem): Row| QueueRow {
                id: format!("{kind}{id}"),
                list,
                to,
                what,
                state: state_name(state),
                since,
                attempts,
                next,
                problem,
            };
        Ok(rows.into_iter().map(row).collect())
    }

    /// How many are owed by list, domain and state; the largest first.
    pub async fn count_queue(&self) -> Result<Vec<QueueCount>, StoreError> {
        let text = "select coalesce(l.name, ''), q.domain, q.state, count(*), min(q.run_at) from \
             (select list, domain, state, run_at from delivery union all select list, domain, state, run_at from letter) q \
             left join list l on l.id = q.list group by coalesce(l.name, ''), q.domain, q.state order by 4 desc, 1, 2, 3";
        let rows: Vec<(String, String, i64, i64, i64)> = self.fetch(text, vec![]).await?;
        let row = |(list, domain, state, mails, next)| QueueCount {
            list,
            domain,
            state: state_name(state),
            mails,
            next,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// What was in the way last, by the recipients' domain.
    pub async fn load_queue_problems(
        &self,
    ) -> Result<std::collections::BTreeMap<String, String>, StoreError> {
        let text = "select domain, max(problem) from \
             (select domain, problem from delivery where problem <> '' union all select domain, problem from letter where problem <> '') q \
             group by domain";
        let rows: Vec<(String, String)> = self.fetch(text, vec![]).await?;
        Ok(rows.into_iter().collect())
    }

    /// The queue in sum.
    pub async fn total_queue(&self) -> Result<QueueTotals, StoreError> {
        let sum = |condition: &str| {
            format!("cast(coalesce(sum(case when {condition} then 1 else 0 end), 0) as bigint)")
        };
        let text = format!(
            "select {}, {}, {}, min(case when q.state < 2 then q.made end) from \
             (select d.state, coalesce(d.started, f.started, d.run_at) as made from delivery d left join fan_out f on f.list = d.list and f.number = d.number \
             union all select state, made from letter) q",
            sum("q.state < 2"),
            sum("q.state = 3"),
            sum("q.state = 2")
        );
        let row: Option<(i64, i64, i64, Option<i64>)> = self.fetch_one(text, vec![]).await?;
        let (owed, held, given_up, oldest) = row.unwrap_or_default();
        Ok(QueueTotals {
            owed,
            held,
            given_up,
            oldest: oldest.map(Timestamp),
        })
    }
}

/// Mail that is owed and waits as the next hop refuses to take it from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub mails: i64,
    /// Since when the oldest is owed.
    pub oldest: Timestamp,
    /// What the next hop said to most of them, or what it says for good if it says so to any.
    pub problem: String,
    /// Whether that passes.
    pub refusal: Refusal,
}

/// What a next hop means by refusing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not now.
    Passing,
    /// Not so: it will say the same again.
    Permanent,
}

impl Refusal {
    /// By the reply code (RFC 5321 section 4.2.1) in the words with which a refusal is recorded; what has none may pass.
    fn of(problem: &str) -> Refusal {
        let said = problem.split_once("refuses").map_or("", |(_, said)| said);
        let code = |part: &str| {
            let (code, rest) = part.split_at_checked(3)?;
            let ends = rest.is_empty() || rest.starts_with([' ', '-']);
            ends.then(|| code.parse::<u16>().ok())?
        };
        match said.split(": ").find_map(code) {
            Some(500..=599) => Refusal::Permanent,
            _ => Refusal::Passing,
        }
    }
}

/// Different words of refusals that are looked at.
const WORDS: i64 = 100;

/// Mails that wait as the next hop refuses them, each with what it said and when it was made.
const REFUSED: &str = "(select d.problem, coalesce(d.started, f.started, d.run_at) as made from delivery d \
     left join fan_out f on f.list = d.list and f.number = d.number where d.state < 2 and d.problem like 'the next hop %refuses%' \
     union all select problem, made from letter where state < 2 and problem like 'the next hop %refuses%') q";

impl Reader {
    /// What the next hop refused for no fault of a recipient, by the words with which that is recorded.
    pub async fn load_refused(&self) -> Result<Refused, StoreError> {
        let text = format!("select count(*), coalesce(min(q.made), 0) from {REFUSED}");
        let row: Option<(i64, i64)> = self.fetch_one(text, vec![]).await?;
        let (mails, oldest) = row.unwrap_or_default();
        let text = format!(
            "select q.problem from {REFUSED} group by q.problem order by count(*) desc, q.problem limit $1"
        );
        let said: Vec<(String,)> = self.fetch(text, vec![WORDS.into()]).await?;
        let permanent = |(problem,): &&(String,)| Refusal::of(problem) == Refusal::Permanent;
        let told = said.iter().find(permanent).or(said.first());
        let problem = told.map_or_else(String::new, |(problem,)| problem.clone());
        Ok(Refused {
            mails,
            oldest: Timestamp(oldest),
            refusal: Refusal::of(&problem),
            problem,
        })
    }

    /// Copies that were given up since then, by when they were due last.
    pub async fn given_up_since(&self, since: Timestamp) -> Result<GivenUpLately, StoreError> {
        let text =
            "select count(*), coalesce(max(id), 0) from delivery where state = 2 and run_at >= $1";
        let row: Option<(i64, i64)> = self.fetch_one(text, vec![since.0.into()]).await?;
        let (count, last) = row.unwrap_or_default();
        let text = "select cast(coalesce(sum(made), 0) as bigint) from fan_out where started >= $1";
        let made: Option<(i64,)> = self.fetch_one(text, vec![since.0.into()]).await?;
        let text = "select problem from delivery where id = $1";
        let problem: Option<(String,)> = self.fetch_one(text, vec![last.into()]).await?;
        Ok(GivenUpLately {
            count,
            made: made.map_or(0, |m| m.0),
            problem: problem.map_or_else(String::new, |p| p.0),
        })
    }
}

impl Store {
    /// In data that is restored: holds what was owed, and parks the work that would owe more. The site that it is of may have sent all of
    /// it since. Returns how many mails and jobs.
    pub async fn hold_restored(&self, now: Timestamp) -> Result<(u64, u64), StoreError> {
        let why = "restored from a backup".to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                for table in TABLES {
                    let text =
                        format!("update {table} set state = 0, claimed_until = 0 where state = 1");
                    tx.execute(text, vec![]).await?;
                }
                let text = "update job set state = 1, leased_until = 0, problem = $1 \
                     where state = 0 and kind in ('fan-out', 'report', 'news', 'steer', 'rehearse')";
                let jobs = tx.execute(text, vec![why.as_str().into()]).await?;
                let held = steer_all(tx, Choice::default(), Steer::Hold, why, now).await?;
                Ok((held, jobs))
            })
        })
        .await
    }

    /// Steers owed mails and notes it at each list concerned, in one commit; returns how many they were.
    pub async fn steer_queue(
        &self,
        choice: Choice,
        steer: Steer,
        why: String,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let done = self
            .write(move |tx| Box::pin(steer_all(tx, choice, steer, why, now)))
            .await?;
        self.deliveries.notify_one();
        Ok(done)
    }
}

/// As [`Store::steer_queue`], in a transaction that has more to do.
pub(super) async fn steer_all(
    tx: &mut Tx,
    choice: Choice,
    steer: Steer,
    why: String,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut by_list = std::collections::BTreeMap::<i64, i64>::new();
    let mut all = 0;
    for (at, table) in TABLES.into_iter().enumerate() {
        let Some((condition, binds)) = condition(&choice, at) else {
            continue;
        };
        let states = steer.states();
        let meant = format!("from {table} q where {condition} and q.state in {states}");
        // A claim must not come between.
        let lock = match tx.dialect {
            Dialect::Sqlite => "",
            Dialect::Postgres => " for update",
        };
        let number = if at == 0 { "q.number" } else { "0" };
        let text = format!("select q.id, coalesce(q.list, 0), {number}, q.state {meant}{lock}");
        let rows: Vec<(i64, i64, i64, i64)> = tx.fetch(text, binds).await?;
        for chunk in rows.chunks(400) {
            let ids: Vec<Bind> = chunk.iter().map(|row| Bind::from(row.0)).collect();
            change(tx, table, steer, ids, now).await?;
        }
        let mut failed = std::collections::BTreeMap::<(i64, i64), i64>::new();
        for (_, list, number, state) in &rows {
            *by_list.entry(*list).or_default() += 1;
            let change = match (steer, *state) {
                (Steer::Retry, 2) => -1,
                (Steer::Drop, 0 | 3) => 1,
                _ => 0,
            };
            *failed.entry((*list, *number)).or_default() += change;
        }
        if at == 0 {
            recount(tx, failed).await?;
        }
        all += rows.len() as u64;
    }
    note(tx, by_list, steer, &why, now).await?;
    Ok(all)
}

async fn change(
    tx: &mut Tx,
    table: &str,
    steer: Steer,
    ids: Vec<Bind>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let marks = marks(ids.len());
    let begun = if table == "letter" { "made" } else { "started" };
    let (text, mut binds) = match steer {
        // From the beginning, with five days from now on.
        Steer::Retry => (
            format!(
                "update {table} set state = 0, attempts = 0, judged = 0, run_at = ?, {begun} = ? where id in ({marks})"
            ),
            vec![Bind::from(now.0), Bind::from(now.0)],
        ),
        Steer::Hold => (
            format!("update {table} set state = 3 where id in ({marks})"),
            vec![],
        ),
        Steer::Drop => (format!("delete from {table} where id in ({marks})"), vec![]),
    };
    binds.extend(ids);
    tx.execute(text, binds).await.map(|_| ())
}

/// Few postings are concerned at a time.
async fn recount(
    tx: &mut Tx,
    failed: std::collections::BTreeMap<(i64, i64), i64>,
) -> Result<(), StoreError> {
    for ((list, number), change) in failed.into_iter().filter(|(_, change)| *change != 0) {
        let text = "update fan_out set failed = failed + $1 where list = $2 and number = $3";
        tx.execute(text, vec![change.into(), list.into(), number.into()])
            .await?;
    }
    Ok(())
}

async fn note(
    tx: &mut Tx,
    by_list: std::collections::BTreeMap<i64, i64>,
    steer: Steer,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (list, mails) in by_list {
        let noun = if mails == 1 { "mail" } else { "mails" };
        let detail = format!("{mails} owed {noun} {}: {why}", steer.done());
        let text = "insert into event (realm, list, kind, actor, happened, detail) \
             select realm, id, 'queue', 'operator', cast($1 as bigint), cast($2 as text) from list where id = $3";
        tx.execute(text, vec![now.0.into(), detail.into(), list.into()])
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_for_good_by_its_reply_code() {
        let check =
            |problem: &str, expected| assert_eq!(Refusal::of(problem), expected, "{problem}");
        let hop = "the next hop 127.0.0.1:25 refuses";
        check(&format!("{hop}: 550 5.7.1 no relaying"), Refusal::Permanent);
        check(&format!("{hop}: 554-first line"), Refusal::Permanent);
        check(
            "the next hop refuses mail from x.org: 550 5.7.1 no",
            Refusal::Permanent,
        );
        check(
            "the next hop 127.0.0.1:25: it refuses the login of u: 535 5.7.8 no",
            Refusal::Permanent,
        );
        // Words that only look like it.
        check(
            &format!("{hop}: 451 4.7.1 try again in: 5 minutes"),
            Refusal::Passing,
        );
        check(
            &format!("{hop}: 450 4.7.1 see: 550 of them"),
            Refusal::Passing,
        );
        check(
            "the next hop [::5]:25 refuses: 421 4.3.2 later",
            Refusal::Passing,
        );
        check(hop, Refusal::Passing);
    }
}
