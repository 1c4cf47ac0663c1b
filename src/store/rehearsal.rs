//! Mails that were sent to try a list out: they wait here for the others of their series, and go with the answer.

use super::notice::{self, CappedLetter};
use super::sql::Bind;
use super::{Once, Reader, Store, StoreError, job, mail, marks, membership};
use crate::list::notice::Cap;
use crate::types::{Identity, Job, ListId, MailId, MessageId, RealmId, Timestamp};
use crate::verdict::Verdict;

/// A mail to be answered.
#[derive(Debug, Clone)]
pub struct NewRehearsal {
    /// The list that it tries.
    pub list: ListId,
    /// Its author's address in lower case.
    pub address: String,
    /// What makes copies the same mail.
    pub identity: Identity,
    /// When it came.
    pub arrived: Timestamp,
    /// Who speaks for it.
    pub verdict: Verdict,
    /// What the list's policy said, as JSON.
    pub said: String,
    /// Its bytes with LF line ends.
    pub data: Vec<u8>,
}

/// A mail that waits for its answer.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// Its row.
    pub id: i64,
    /// The rest.
    pub mail: NewRehearsal,
}

/// Whether a mail was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It is, or was before.
    Taken,
    /// Too much of this author, or of all, waits.
    Full,
}

/// Mails and bytes of one author that wait at once, and of all.
const OF_ONE: (i64, i64) = (300, 20 << 20);
const OF_ALL: (i64, i64) = (3_000, 200 << 20);
/// What nobody could answer is dropped after so many seconds.
const KEPT: i64 = 2 * 86_400;
/// So many seconds others of the same sending may gather before the first look.
const GATHER: i64 = 1;

impl Reader {
    /// Whose mails wait for an answer of a list.
    pub async fn load_rehearsing(&self, list: ListId) -> Result<Vec<String>, StoreError> {
        let text = "select distinct address from rehearsal where list = $1 order by address";
        let rows: Vec<(String,)> = self.fetch(text, vec![list.0.into()]).await?;
        Ok(rows.into_iter().map(|r| r.0).collect())
    }

    /// The mails of an author that wait for an answer of a list, the oldest first.
    pub async fn load_rehearsals(
        &self,
        list: ListId,
        address: &str,
    ) -> Result<Vec<Rehearsal>, StoreError> {
        let text = "select id, address, identity, arrived, verdict, said, data from rehearsal where list = $1 and address = $2 \
             order by arrived, id";
        type Row = (i64, String, Vec<u8>, i64, String, String, Vec<u8>);
        let binds = vec![list.0.into(), address.into()];
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let read = |(id, address, identity, arrived, verdict, said, data): Row| {
            let mail = NewRehearsal {
                list,
                address,
                identity: Identity(mail::hash_of(identity)?.0),
                arrived: Timestamp(arrived),
                verdict: Verdict::from_stored(&verdict),
                said,
                data,
            };
            Ok(Rehearsal { id, mail })
        };
        rows.into_iter().map(read).collect()
    }

    /// Whether an address, as it is counted, has had as many automatic mails of a kind as a day allows.
    pub async fn has_had_enough(
        &self,
        cap: Cap,
        counted: &str,
        list: ListId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let text = "select count(*), cast(coalesce(sum(case when list = $1 then 1 else 0 end), 0) as bigint) \
             from notice where address = $2 and cap = $3 and made > $4";
        let binds = vec![
            list.0.into(),
            counted.into(),
            cap.name.into(),
            now.plus_secs(-86_400).0.into(),
        ];
        let row: Option<(i64, i64)> = self.fetch_one(text, binds).await?;
        let (all, here) = row.unwrap_or((0, 0));
        Ok(here >= cap.per_list || all >= cap.per_address)
    }

    /// Mails of a realm that are named so, or that may be found under one of these keys: what a mail that is not here may belong to.
    pub async fn find_near(
        &self,
        realm: RealmId,
        ids: &[MessageId],
        keys: &[String],
    ) -> Result<Vec<MailId>, StoreError> {
        let mut found: Vec<(i64,)> = Vec::new();
        for chunk in ids.chunks(300) {
            let text = format!(
                "select m.id from node n join mail m on m.node = n.id where n.realm = ? and n.message_id in ({})",
                marks(chunk.len())
            );
            let mut binds: Vec<Bind> = vec![realm.0.into()];
            binds.extend(chunk.iter().map(|id| Bind::from(id.as_str())));
            found.extend(self.fetch::<(i64,)>(text, binds).await?);
        }
        for chunk in keys.chunks(300) {
            let text = format!(
                "select mail from link_key where realm = ? and key in ({})",
                marks(chunk.len())
            );
            let mut binds: Vec<Bind> = vec![realm.0.into()];
            binds.extend(chunk.iter().map(Bind::from));
            found.extend(self.fetch::<(i64,)>(text, binds).await?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found.into_iter().map(|r| MailId(r.0)).collect())
    }

    /// The patchset in which one of these mails stands for a version; the lowest, if there are several.
    pub async fn find_patchset_of(&self, mails: &[MailId]) -> Result<Option<i64>, StoreError> {
        if mails.is_empty() {
            return Ok(None);
        }
        let text = format!(
            "select patchset from series where anchor in ({}) order by patchset limit 1",
            marks(mails.len())
        );
        let binds = mails.iter().map(|m| Bind::from(m.0)).collect();
        let row: Option<(i64,)> = self.fetch_one(text, binds).await?;
        Ok(row.map(|r| r.0))
    }
}

impl Store {
    /// Keeps a mail until it is answered, and owes the answer, in one commit; once, however often it is sent.
    pub async fn insert_rehearsal(
        &self,
        new: NewRehearsal,
        once: Once,
    ) -> Result<Room, StoreError> {
        let room = self
            .write(move |tx| {
                Box::pin(async move {
                    let old = new.arrived.plus_secs(-KEPT).0;
                    tx.execute("delete from rehearsal where arrived < $1", vec![old.into()])
                        .await?;
                    let text = "select count(*), cast(coalesce(sum(case when address = $1 then 1 else 0 end), 0) as bigint), \
                         cast(coalesce(sum(case when address = $2 then length(data) else 0 end), 0) as bigint), \
                         cast(coalesce(sum(length(data)), 0) as bigint) from rehearsal";
                    let who = || Bind::from(new.address.as_str());
                    let size = i64::try_from(new.data.len()).unwrap_or(i64::MAX / 2);
                    let counts: Option<(i64, i64, i64, i64)> = tx.fetch_one(text, vec![who(), who()]).await?;
                    let (all, own, bytes, all_bytes) = counts.unwrap_or((0, 0, 0, 0));
                    // A mail that is larger than all that may wait has its turn alone.
                    let with_it = |waiting: i64| if waiting == 0 { 0 } else { waiting + size };
                    let own_full = own >= OF_ONE.0 || with_it(bytes) > OF_ONE.1;
                    if own_full || all >= OF_ALL.0 || with_it(all_bytes) > OF_ALL.1 {
                        return Ok(Room::Full);
                    }
                    if !membership::is_first(tx, new.list, &once, new.arrived).await? {
                        return Ok(Room::Taken);
                    }
                    let jobs = [(Job::Rehearse(new.list), 3)];
                    let due = new.arrived.plus_secs(GATHER);
                    let row = vec![
                        new.list.0.into(),
                        new.address.into(),
                        new.identity.0.into(),
                        new.arrived.0.into(),
                        new.verdict.to_stored().into(),
                        new.said.into(),
                        new.data.into(),
                    ];
                    let head = "rehearsal (list, address, identity, arrived, verdict, said, data)";
                    tx.insert(head, vec![row], "on conflict do nothing").await?;
                    job::insert_soonest(tx, &jobs, due).await?;
                    Ok(Room::Taken)
                })
            })
            .await?;
        self.jobs.ring("rehearse");
        Ok(room)
    }

    /// Drops mails and owes the answer about them, if its limits allow one, in one commit; none if they were answered before.
    pub async fn answer_rehearsals(
        &self,
        mails: Vec<i64>,
        letter: Option<CappedLetter>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut gone = 0;
                for chunk in mails.chunks(300) {
                    let text =
                        format!("delete from rehearsal where id in ({})", marks(chunk.len()));
                    gone += tx
                        .execute(text, chunk.iter().map(|id| Bind::from(*id)).collect())
                        .await?;
                }
                // Another process may have answered them while this one stood still.
                if let Some(letter) = letter.filter(|_| gone > 0) {
                    notice::insert(tx, letter, now).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.deliveries.notify_one();
        Ok(())
    }

    /// Ends a look at what waits; the next is due at `again`, if anything waits still.
    pub async fn finish_rehearsals(
        &self,
        list: ListId,
        again: Option<Timestamp>,
        job: job::Held,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(due) = again {
                    job::insert(tx, &[(Job::Rehearse(list), 3)], due).await?;
                }
                job::finish(tx, &[job]).await
            })
        })
        .await
    }
}
