//! Mails about whose signatures DNS gave no answer: what is asked about them once more, and what came of it.

use super::job::Held;
use super::sql::Bind;
use super::writer::Tx;
use super::{Also, Fate, HeldRow, Store, StoreError};
use crate::types::{BlobHash, Identity, Job, ListId, RealmId, ReceiptId, Timestamp};
use crate::verdict::{Level, Verdict};

/// Seconds from the arrival of a mail to the first time that DNS is asked again.
pub(super) const FIRST: i64 = 300;

/// A mail of a list with those of its copies about which DNS owes an answer.
#[derive(Debug, Clone)]
pub struct Unanswered {
    /// The realm of the list.
    pub realm: RealmId,
    /// The list.
    pub list: ListId,
    /// Which mail it is.
    pub identity: Identity,
    /// Envelope sender, empty for the null sender.
    pub sender: String,
    /// It came by LMTP.
    pub lmtp: bool,
    /// What is held of it, if it is.
    pub held: Option<HeldRow>,
    /// The copies, by their arrival.
    pub copies: Vec<UnansweredCopy>,
}

/// A way by which it came.
#[derive(Debug, Clone)]
pub struct UnansweredCopy {
    /// The stored bytes' hash.
    pub hash: BlobHash,
    /// Arrival.
    pub arrived: Timestamp,
    /// What was said then.
    pub verdict: Verdict,
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// CRLF line ends are to be put back to get what arrived.
    pub crlf: bool,
}

impl Store {
    /// A mail of a list with its copies about which DNS owes an answer; `None` if it is gone, or all was said.
    pub async fn load_unanswered(
        &self,
        receipt: ReceiptId,
    ) -> Result<Option<Unanswered>, StoreError> {
        let text = "select realm, list, identity, sender, source from receipt where id = $1";
        type Row = (i64, i64, Vec<u8>, String, String);
        let row: Option<Row> = self.fetch_one(text, vec![receipt.0.into()]).await?;
        let Some((realm, list, identity, sender, source)) = row else {
            return Ok(None);
        };
        let text = "select c.hash, c.arrived, c.verdict, b.size, b.crlf, b.dictionary, b.data from copy c \
             join blob b on b.realm = c.realm and b.hash = c.hash where c.realm = $1 and c.identity = $2 and c.level = 0 \
             order by c.arrived, c.hash";
        type OfCopy = (Vec<u8>, i64, String, i64, i64, i64, Vec<u8>);
        let binds = vec![realm.into(), identity.clone().into()];
        let rows: Vec<OfCopy> = self.fetch(text, binds).await?;
        let mut copies = Vec::new();
        for (hash, arrived, verdict, size, crlf, dictionary, data) in rows {
            let verdict = Verdict::from_stored(&verdict);
            if verdict.is_owed() {
                copies.push(UnansweredCopy {
                    hash: super::mail::hash_of(hash)?,
                    arrived: Timestamp(arrived),
                    verdict,
                    bytes: self.inflate(dictionary, size, &data).await?,
                    crlf: crlf == 1,
                });
            }
        }
        if copies.is_empty() {
            return Ok(None);
        }
        Ok(Some(Unanswered {
            realm: RealmId(realm),
            list: ListId(list),
            identity: Identity(super::mail::hash_of(identity)?.0),
            sender,
            lmtp: source == "lmtp",
            held: self.find_held(receipt.0).await?,
            copies,
        }))
    }

    /// Records what DNS says now of copies of a mail. Where one is authenticated by that, what is filed is owed another filing, and what
    /// is held shows it. What is given with `release` is held no longer. With `next` the job waits until then, with what it waits for; else
    /// it is done.
    pub async fn record_answers(
        &self,
        (realm, identity): (RealmId, Identity),
        answers: Vec<(BlobHash, Verdict)>,
        release: Option<(HeldRow, Timestamp)>,
        next: Option<(Timestamp, String)>,
        job: Held,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                super::file::lock_realm(tx, realm).await?;
                for (hash, verdict) in answers {
                    record(tx, (realm, identity), hash, &verdict).await?;
                }
                if let Some((held, now)) = release {
                    let free = (vec![held], Fate::Accept, Also::default());
                    super::hold::decide(tx, free, ("as DNS answered".to_owned(), now)).await?;
                }
                match next {
                    Some((at, problem)) => super::job::put_off(tx, job, at, problem).await,
                    None => super::job::finish(tx, &[job]).await,
                }
            })
        })
        .await?;
        self.jobs.ring("file");
        Ok(())
    }
}

async fn record(
    tx: &mut Tx,
    (realm, identity): (RealmId, Identity),
    hash: BlobHash,
    verdict: &Verdict,
) -> Result<(), StoreError> {
    let (stored, level) = (verdict.to_stored(), verdict.level.rank());
    let of_copy = || -> Vec<Bind> { vec![realm.0.into(), identity.0.into(), hash.0.into()] };
    // One that came again meanwhile may be authenticated already.
    let text = "update copy set verdict = $4, level = $5 where realm = $1 and identity = $2 and hash = $3 and level = 0";
    let mut binds = of_copy();
    binds.extend([stored.as_str().into(), level.into()]);
    if tx.execute(text, binds).await? == 0 {
        return Ok(());
    }
    if verdict.level != Level::Aligned {
        // Nothing goes by it but what pages say.
        let text = "update mail set verdict = $4 where realm = $1 and identity = $2 and hash = $3 and level = 0";
        let mut binds = of_copy();
        binds.push(stored.as_str().into());
        tx.execute(text, binds).await?;
        let text = "select n.thread from mail m join node n on n.id = m.node where m.realm = $1 and m.identity = $2 and m.hash = $3";
        let threads: Vec<(i64,)> = tx.fetch(text, of_copy()).await?;
        let threads: Vec<i64> = threads.into_iter().map(|t| t.0).collect();
        return super::file::raise(tx, realm, &threads).await;
    }
    let text = format!(
        "update receipt set hash = $3, verdict = $4, level = $5, again = 1, state = case when state < {held} then 0 else state end \
         where realm = $1 and identity = $2 and level = 0 and state <= {held} returning id, state",
        held = super::hold::HELD
    );
    let mut binds = of_copy();
    binds.extend([stored.as_str().into(), level.into()]);
    let rows: Vec<(i64, i64)> = tx.fetch(text, binds).await?;
    let mut jobs = Vec::new();
    for (id, state) in rows {
        if state < super::hold::HELD {
            jobs.push((Job::File(ReceiptId(id)), 0));
            continue;
        }
        let text = "update held set hash = $2, verdict = $3, level = $4 where receipt = $1";
        let words = verdict.words();
        let binds = vec![id.into(), hash.0.into(), words.into(), level.into()];
        tx.execute(text, binds).await?;
    }
    super::job::insert(tx, &jobs, Timestamp(0)).await
}
