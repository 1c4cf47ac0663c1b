//! Copies that are owed: a cursor over the members makes them by batches; a finished copy is deleted. Lists take turns.
//!
//! A claim is committed before anything is sent. Its attempt number and its end fence it: whoever comes back after the lease ran out changes nothing
//! of the claim that followed.

mod record;

use std::collections::HashSet;
use std::sync::Arc;

use super::sql::Bind;
use super::{Dialect, Reader, Store, StoreError, Tx, bounce, job, marks};
use crate::list::settings::Policy;
use crate::types::{DeliveryId, ListId, MailId, MemberId, MessageId, Timestamp};
use crate::verdict::Verdict;

/// A claimed copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its row.
    pub id: DeliveryId,
    /// The list.
    pub list: ListId,
    /// The posting's number.
    pub number: i64,
    /// The subscription.
    pub member: MemberId,
    /// Where it goes.
    pub address: String,
    /// How often it was begun, this time included. Also says whose claim it is, should a lease have run out.
    pub attempts: i64,
    /// Until when it is claimed: a try that does not count leaves the same number to the next claim.
    pub until: Timestamp,
    /// When the copies were begun or an operator let this one go: from then the time to give up counts.
    pub started: Timestamp,
    /// Whether the member still wants mail at this address.
    pub wanted: bool,
    /// The member is an archive: others read its copies.
    pub archive: bool,
    /// It was refused for good when it was tried last, and is asked about again.
    pub refused: bool,
}

/// A posting as its copies need it.
#[derive(Debug, Clone)]
pub struct PostingToSend {
    /// List name.
    pub list: String,
    /// Posting address.
    pub address: String,
    /// List description.
    pub description: String,
    /// Its name.
    pub message_id: MessageId,
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// The list's copies go over TLS only.
    pub tls_only: bool,
    /// What was found out about the sender.
    pub verdict: Verdict,
    /// What the list does with mail that does not align, as stored.
    pub unaligned: String,
    /// How copies differ from the stored bytes, as stored; empty: not decided yet.
    pub treatment: String,
}

/// What became of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop has it.
    Sent,
    /// Tried in vain: again then.
    Later(Timestamp, String),
    /// Not begun: due as before, and the attempt does not count. The text says what is in the way; if empty, what was noted before stays.
    Untried(String),
    /// Not begun, and not to be before then: something is to be mended here. The attempt does not count.
    Waits(Timestamp, String),
    /// Never again.
    GaveUp(String),
    /// Nobody wants it any more.
    Unwanted,
}

/// Whose turn it is, and what is left alone.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    /// The list that was served last: the next one with due copies comes before it.
    pub after: Option<ListId>,
    /// Recipient domains that get nothing now.
    pub closed: Vec<String>,
}

/// Who may get no copy of a posting, if that is how they want it: addresses in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spared {
    /// Those in To and Cc, who get the mail from its author.
    pub named: HashSet<String>,
    /// The author, if he is authenticated.
    pub authors: HashSet<String>,
}

/// Members served by one step of a fan-out.
const STEP: i64 = 500;
/// A claim holds this long in seconds: longer than the sender works on one claim (see `deliver`).
pub(crate) const CLAIM_SECS: i64 = 1_800;
/// Whether what was noted last is a lasting refusal: such a row is due again only if it was not clear whose refusal it is.
pub(super) const REFUSED: &str = "case when problem like '5__ %' then 1 else 0 end";

impl Reader {
    /// The first list in `(after, last]` that has due copies.
    async fn find_due_list(
        &self,
        after: i64,
        last: i64,
        turn: &Turn,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let text = format!(
            "select list from delivery where state = 0 and list > ? and list <= ? and run_at <= ?{} order by list limit 1",
            but(&turn.closed)
        );
        let mut binds = vec![Bind::from(after), last.into(), now.0.into()];
        binds.extend(turn.closed.iter().map(Bind::from));
        let found: Option<(i64,)> = self.fetch_one(text, binds).await?;
        Ok(found.map(|row| row.0))
    }

    async fn load_claimed(&self, ids: &[i64]) -> Result<Vec<Delivery>, StoreError> {
        type Row = (i64, i64, i64, i64, String, i64, i64, i64, i64, i64, i64);
        let mut claimed = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(500) {
            let text = format!(
                "select d.id, d.list, d.number, d.member, d.address, d.attempts, d.claimed_until, coalesce(d.started, f.started, d.run_at), \
                 case when m.id is null then 0 else 1 end, case when m.kind = 'archive' then 1 else 0 end, {REFUSED} from delivery d \
                 left join fan_out f on f.list = d.list and f.number = d.number \
                 left join member m on m.id = d.member and m.list = d.list and m.address = d.address and m.mail = 1 and {} \
                 where d.id in ({})",
                bounce::not_disabled("m.address"),
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|id| Bind::from(*id)).collect();
            claimed.extend(self.fetch::<Row>(text, binds).await?.into_iter().map(
                |(
                    id,
                    list,
                    number,
                    member,
                    address,
                    attempts,
                    until,
                    started,
                    wanted,
                    archive,
                    refused,
                )| {
                    Delivery {
                        id: DeliveryId(id),
                        list: ListId(list),
                        number,
                        member: MemberId(member),
                        address,
                        attempts,
                        until: Timestamp(until),
                        started: Timestamp(started),
                        wanted: wanted == 1,
                        archive: archive == 1,
                        refused: refused == 1,
                    }
                },
            ));
        }
        claimed.sort_by_key(|d| (d.list, d.number, d.id));
        Ok(claimed)
    }

    /// The posting with its list, for making copies; `None` when it was taken back or its list is gone.
    pub async fn load_posting_to_send(
        &self,
        list: ListId,
        number: i64,
    ) -> Result<Option<PostingToSend>, StoreError> {
        type Row = (
            String,
            String,
            String,
            String,
            i64,
            String,
            String,
            String,
            String,
            String,
        );
        let text = "select l.name, l.address, l.description, m.message_id, m.id, l.policy, l.style, m.verdict, l.dmarc_unaligned, \
             coalesce(f.treatment, '') from posting p join list l on l.id = p.list join mail m on m.id = p.mail \
             left join fan_out f on f.list = p.list and f.number = p.number where p.list = $1 and p.number = $2 and m.state = 0";
        let binds = vec![list.0.into(), number.into()];
        let row: Option<Row> = self.fetch_one(text, binds).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let (
            list,
            address,
            description,
            message_id,
            mail,
            policy,
            style,
            verdict,
            unaligned,
            treatment,
        ) = row;
        let Some((bytes, _)) = self.load_bytes(MailId(mail)).await? else {
            return Ok(None);
        };
        let Some(message_id) = MessageId::parse(&message_id) else {
            return Ok(None);
        };
        Ok(Some(PostingToSend {
            list,
            address,
            description,
            message_id,
            bytes,
            tls_only: Policy::from_stored(&policy, &style).tls_only,
            verdict: Verdict::from_stored(&verdict),
            unaligned,
            treatment,
        }))
    }

    /// How many copies are owed, and how many were given up.
    pub async fn count_deliveries(&self) -> Result<(i64, i64), StoreError> {
        let text = "select cast(coalesce(sum(case when state < 2 then 1 else 0 end), 0) as bigint), \
             cast(coalesce(sum(case when state = 2 then 1 else 0 end), 0) as bigint) from delivery";
        Ok(self.fetch_one(text, vec![]).await?.unwrap_or((0, 0)))
    }
}

impl Store {
    /// Notes how the copies of a posting are made, and whether they wait for an operator; the first decision stays.
    pub async fn record_treatment(
        &self,
        list: ListId,
        number: i64,
        treatment: String,
        held: bool,
    ) -> Result<(), StoreError> {
        let text = "update fan_out set treatment = $1, held = $2 where list = $3 and number = $4 and treatment = ''";
        let binds = vec![treatment.into(), held.into(), list.0.into(), number.into()];
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await.map(|_| ()) }))
            .await
    }

    /// Makes the next copies of a posting; `true` when the last member was reached. The job ends with it.
    pub async fn fan_out(
        &self,
        list: ListId,
        number: i64,
        spared: Arc<Spared>,
        job: job::Held,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = self
            .write(move |tx| {
                Box::pin(async move {
                    let done = fan_out(tx, list, number, &spared, now).await?;
                    if done {
                        job::finish(tx, &[job]).await?;
                    }
                    Ok(done)
                })
            })
            .await?;
        self.deliveries.notify_one();
        Ok(done)
    }

    /// Claims due copies of one list, those of one posting side by side; empty when none is due.
    ///
    /// Lists take turns, so that a small one does not wait for all copies of a large one.
    /// The claim and the attempt are committed before anything is sent: when the disk is full there is no claim,
    /// and a copy whose outcome could not be recorded is due again only when its lease runs out.
    pub async fn claim_deliveries(
        &self,
        limit: i64,
        turn: &Turn,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, StoreError> {
        // Looking costs no commit.
        let after = turn.after.map_or(0, |list| list.0);
        let fresh = self.find_due_list(after, i64::MAX, turn, now).await?;
        let list = match fresh {
            None if after > 0 => self.find_due_list(0, after, turn, now).await?,
            found => found,
        };
        let lapsed = "select id from delivery where state = 1 and claimed_until <= $1 limit 1";
        let lapsed = self.fetch_one::<(i64,)>(lapsed, vec![now.0.into()]).await?;
        if list.is_none() && lapsed.is_none() {
            return Ok(Vec::new());
        }
        let closed = turn.closed.clone();
        let ids = self
            .write(move |tx| Box::pin(claim(tx, limit, list, closed, now)))
            .await?;
        let claimed = self.load_claimed(&ids).await;
        if claimed.is_err() {
            let until = now.plus_secs(CLAIM_SECS);
            self.give_back("delivery", ids, (now, until)).await;
        }
        claimed
    }
}

/// Who had a copy of a posting before it was taken back and let through again: members up to the cursor, but a few.
struct Reach {
    receipt: i64,
    cursor: i64,
    without: HashSet<i64>,
}

async fn load_reach(tx: &mut Tx, list: ListId, number: i64) -> Result<Option<Reach>, StoreError> {
    let text = "select k.receipt, k.cursor from posting p join mail m on m.id = p.mail join receipt r on r.list = p.list \
         and r.identity = m.identity join reached k on k.receipt = r.id where p.list = $1 and p.number = $2";
    let found: Option<(i64, i64)> = tx
        .fetch_one(text, vec![list.0.into(), number.into()])
        .await?;
    let Some((receipt, cursor)) = found else {
        return Ok(None);
    };
    let text = "select member from unreached where receipt = $1";
    let rows: Vec<(i64,)> = tx.fetch(text, vec![receipt.into()]).await?;
    Ok(Some(Reach {
        receipt,
        cursor,
        without: rows.into_iter().map(|r| r.0).collect(),
    }))
}

async fn fan_out(
    tx: &mut Tx,
    list: ListId,
    number: i64,
    spared: &Spared,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let lock = match tx.dialect {
        Dialect::Sqlite => "",
        // Whoever's lease ran out may be at it still.
        Dialect::Postgres => " for update",
    };
    let text = format!(
        "select cursor, held from fan_out where list = $1 and number = $2 and finished is null{lock}"
    );
    let Some((cursor, held)) = tx
        .fetch_one::<(i64, i64)>(text, vec![list.0.into(), number.into()])
        .await?
    else {
        return Ok(true);
    };
    let text = format!(
        "select m.id, m.address, coalesce(m.nodupes, case when l.style = 'discuss' then 1 else 0 end), m.own \
         from member m join list l on l.id = m.list where m.list = ? and m.mail = 1 and m.id > ? and {} order by m.id limit ?",
        bounce::not_disabled("m.address")
    );
    let members: Vec<(i64, String, i64, i64)> = tx
        .fetch(text, vec![list.0.into(), cursor.into(), STEP.into()])
        .await?;
    let count = i64::try_from(members.len()).unwrap_or(STEP);
    let last = members.last().map_or(cursor, |m| m.0);
    let before = load_reach(tx, list, number).await?;
    let has = |member: i64| {
        let reach = before.as_ref();
        reach.is_some_and(|r| member <= r.cursor && !r.without.contains(&member))
    };
    let wants = |(member, address, nodupes, own): &(i64, String, i64, i64)| {
        let named = *nodupes == 1 && spared.named.contains(address);
        let wrote = *own == 0 && spared.authors.contains(address);
        !named && !wrote && !has(*member)
    };
    let members: Vec<_> = members.into_iter().filter(wants).collect();
    let made = i64::try_from(members.len()).unwrap_or(STEP);
    // 3: an operator lets them go.
    let state = 3 * held;
    let row = |(member, address, ..): (i64, String, i64, i64)| {
        let zero = || Bind::from(0);
        let domain = domain_of(&address);
        let place = [
            list.0.into(),
            number.into(),
            member.into(),
            address.into(),
            domain.into(),
        ];
        place
            .into_iter()
            .chain([state.into(), zero(), now.0.into(), zero(), "".into()])
            .collect()
    };
    let head = "delivery (list, number, member, address, domain, state, attempts, run_at, claimed_until, problem)";
    tx.insert(
        head,
        members.into_iter().map(row).collect(),
        "on conflict do nothing",
    )
    .await?;
    if made > 0 {
        bounce::note_copies(tx, list, now).await?;
    }
    let done = count < STEP;
    for table in ["reached", "unreached"] {
        if let Some(reach) = before.as_ref().filter(|_| done) {
            let text = format!("delete from {table} where receipt = $1");
            tx.execute(text, vec![reach.receipt.into()]).await?;
        }
    }
    let finished = done.then_some(now.0);
    let text = "update fan_out set cursor = $1, made = made + $2, finished = $3 where list = $4 and number = $5";
    tx.execute(
        text,
        vec![
            last.into(),
            made.into(),
            finished.into(),
            list.0.into(),
            number.into(),
        ],
    )
    .await?;
    Ok(done)
}

/// The part of a condition that leaves domains out.
pub(super) fn but(closed: &[String]) -> String {
    match closed.len() {
        0 => String::new(),
        count => format!(" and domain not in ({})", marks(count)),
    }
}

/// What an address's destination is called here.
pub(super) fn domain_of(address: &str) -> String {
    let domain = address.rsplit_once('@').map_or(address, |(_, d)| d);
    domain.to_lowercase()
}

/// Returns the ids of the rows that are claimed now.
async fn claim(
    tx: &mut Tx,
    limit: i64,
    list: Option<i64>,
    closed: Vec<String>,
    now: Timestamp,
) -> Result<Vec<i64>, StoreError> {
    let lapsed =
        "update delivery set state = 0, claimed_until = 0 where state = 1 and claimed_until <= $1";
    let lapsed = tx.execute(lapsed, vec![now.0.into()]).await?;
    let list = match list {
        Some(list) => list,
        None if lapsed == 0 => return Ok(Vec::new()),
        None => {
            let text =
                "select list from delivery where state = 0 and run_at <= $1 order by list limit 1";
            match tx.fetch_one::<(i64,)>(text, vec![now.0.into()]).await? {
                Some((list,)) => list,
                None => return Ok(Vec::new()),
            }
        }
    };
    let skip = match tx.dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => "for update skip locked",
    };
    let text = format!(
        "update delivery set state = 1, claimed_until = ?, attempts = attempts + 1 where id in (select id from delivery \
         where state = 0 and list = ? and run_at <= ?{} order by run_at, id limit ? {skip}) returning id",
        but(&closed)
    );
    let until = now.plus_secs(CLAIM_SECS);
    let mut binds = vec![until.0.into(), list.into(), now.0.into()];
    binds.extend(closed.iter().map(Bind::from));
    binds.push(limit.into());
    let rows: Vec<(i64,)> = tx.fetch(text, binds).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

#[cfg(test)]
pub(crate) mod tests;
