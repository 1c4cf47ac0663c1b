//! Copies that are owed: a cursor over the members makes them by batches; a finished copy is deleted.

use super::sql::Bind;
use super::{Dialect, Store, StoreError, Tx, job, marks};
use crate::types::{DeliveryId, JobId, ListId, MailId, MemberId, MessageId, Timestamp};

/// A claimed copy.
#[derive(Debug, Clone)]
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
    /// How often it was begun, this time included.
    pub attempts: i64,
    /// When the posting arrived, from which the time to give up counts.
    pub started: Timestamp,
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
}

/// What became of one copy.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The next hop has it.
    Sent,
    /// Try again then.
    Later(Timestamp, String),
    /// Never again.
    GaveUp(String),
}

/// Members served by one step of a fan-out.
const STEP: i64 = 500;
/// A claim holds this long in seconds: longer than the longest transaction with the next hop.
const LEASE: i64 = 1_800;

impl Store {
    /// Makes the next copies of a posting; `true` when the last member was reached. The job ends with it.
    pub async fn fan_out(
        &self,
        list: ListId,
        number: i64,
        job: JobId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = self
            .write(move |tx| {
                Box::pin(async move {
                    let done = fan_out(tx, list, number, now).await?;
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

    /// Claims due copies; the claim is committed before anything is sent, so that a full disk can never send twice without end.
    pub async fn claim_deliveries(
        &self,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Delivery>, StoreError> {
        type Row = (i64, i64, i64, i64, String, i64);
        let due = "select id from delivery where state < 2 and run_at <= $1 and claimed_until <= $1 limit 1";
        if self
            .fetch_one::<(i64,)>(due, vec![now.0.into()])
            .await?
            .is_none()
        {
            return Ok(Vec::new());
        }
        let skip = if self.dialect == Dialect::Postgres {
            "for update skip locked"
        } else {
            ""
        };
        let text = format!(
            "update delivery set state = 1, claimed_until = ?, attempts = attempts + 1 where id in (select id from delivery \
             where state < 2 and run_at <= ? and claimed_until <= ? order by run_at, id limit ? {skip}) \
             returning id, list, number, member, address, attempts"
        );
        let binds = vec![
            now.plus_secs(LEASE).0.into(),
            now.0.into(),
            now.0.into(),
            limit.into(),
        ];
        let rows: Vec<Row> = self
            .write(move |tx| Box::pin(async move { tx.fetch(text, binds).await }))
            .await?;
        let mut started = std::collections::HashMap::new();
        for (_, list, number, ..) in &rows {
            if let std::collections::hash_map::Entry::Vacant(place) =
                started.entry((*list, *number))
            {
                let text = "select started from fan_out where list = $1 and number = $2";
                let row: Option<(i64,)> = self
                    .fetch_one(text, vec![(*list).into(), (*number).into()])
                    .await?;
                place.insert(Timestamp(row.map_or(now.0, |r| r.0)));
            }
        }
        let mut claimed: Vec<Delivery> = rows
            .into_iter()
            .map(|(id, list, number, member, address, attempts)| Delivery {
                id: DeliveryId(id),
                list: ListId(list),
                number,
                member: MemberId(member),
                address,
                attempts,
                started: started[&(list, number)],
            })
            .collect();
        claimed.sort_by_key(|d| (d.list, d.number, d.id));
        Ok(claimed)
    }

    /// Records what became of copies, in one commit.
    pub async fn record_deliveries(
        &self,
        outcomes: Vec<(Delivery, Outcome)>,
    ) -> Result<(), StoreError> {
        self.write(move |tx| Box::pin(record(tx, outcomes))).await
    }

    /// The posting with its list, for making copies.
    pub async fn load_posting_to_send(
        &self,
        list: ListId,
        number: i64,
    ) -> Result<Option<PostingToSend>, StoreError> {
        let text = "select l.name, l.address, l.description, m.message_id, m.id from posting p join list l on l.id = p.list \
             join mail m on m.id = p.mail where p.list = $1 and p.number = $2";
        let row: Option<(String, String, String, String, i64)> = self
            .fetch_one(text, vec![list.0.into(), number.into()])
            .await?;
        let Some((list, address, description, message_id, mail)) = row else {
            return Ok(None);
        };
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
        }))
    }

    /// How many copies are owed, and how many were given up.
    pub async fn count_deliveries(&self) -> Result<(i64, i64), StoreError> {
        let text = "select cast(coalesce(sum(case when state < 2 then 1 else 0 end), 0) as bigint), \
             cast(coalesce(sum(case when state = 2 then 1 else 0 end), 0) as bigint) from delivery";
        Ok(self.fetch_one(text, vec![]).await?.unwrap_or((0, 0)))
    }
}

async fn fan_out(
    tx: &mut Tx,
    list: ListId,
    number: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let text = "select cursor from fan_out where list = $1 and number = $2 and finished is null";
    let Some((cursor,)) = tx
        .fetch_one::<(i64,)>(text, vec![list.0.into(), number.into()])
        .await?
    else {
        return Ok(true);
    };
    let text = "select id, address from member where list = $1 and mail = 1 and id > $2 order by id limit $3";
    let members: Vec<(i64, String)> = tx
        .fetch(text, vec![list.0.into(), cursor.into(), STEP.into()])
        .await?;
    let count = i64::try_from(members.len()).unwrap_or(STEP);
    let last = members.last().map_or(cursor, |m| m.0);
    let row = |(member, address): (i64, String)| {
        let zero = || Bind::from(0);
        let place = [list.0.into(), number.into(), member.into(), address.into()];
        place
            .into_iter()
            .chain([zero(), zero(), now.0.into(), zero(), "".into()])
            .collect()
    };
    let head =
        "delivery (list, number, member, address, state, attempts, run_at, claimed_until, problem)";
    tx.insert(
        head,
        members.into_iter().map(row).collect(),
        "on conflict do nothing",
    )
    .await?;
    let done = count < STEP;
    let finished = done.then_some(now.0);
    let text = "update fan_out set cursor = $1, made = made + $2, finished = $3 where list = $4 and number = $5";
    tx.execute(
        text,
        vec![
            last.into(),
            count.into(),
            finished.into(),
            list.0.into(),
            number.into(),
        ],
    )
    .await?;
    Ok(done)
}

async fn record(tx: &mut Tx, outcomes: Vec<(Delivery, Outcome)>) -> Result<(), StoreError> {
    let mut sent: Vec<i64> = Vec::new();
    let mut counts: std::collections::BTreeMap<(i64, i64), (i64, i64)> =
        std::collections::BTreeMap::new();
    for (delivery, outcome) in outcomes {
        let count = counts
            .entry((delivery.list.0, delivery.number))
            .or_default();
        let (state, run_at, problem) = match outcome {
            Outcome::Sent => {
                count.0 += 1;
                sent.push(delivery.id.0);
                continue;
            }
            Outcome::Later(at, problem) => (0, at.0, problem),
            Outcome::GaveUp(problem) => {
                count.1 += 1;
                (2, 0, problem)
            }
        };
        let text = "update delivery set state = $1, run_at = $2, claimed_until = 0, problem = $3 where id = $4";
        tx.execute(
            text,
            vec![
                state.into(),
                run_at.into(),
                problem.into(),
                delivery.id.0.into(),
            ],
        )
        .await?;
    }
    for chunk in sent.chunks(400) {
        let text = format!("delete from delivery where id in ({})", marks(chunk.len()));
        tx.execute(text, chunk.iter().map(|id| Bind::from(*id)).collect())
            .await?;
    }
    for ((list, number), (sent, failed)) in counts {
        let text = "update fan_out set sent = sent + $1, failed = failed + $2 where list = $3 and number = $4";
        tx.execute(
            text,
            vec![sent.into(), failed.into(), list.into(), number.into()],
        )
        .await?;
    }
    Ok(())
}
