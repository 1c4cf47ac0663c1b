//! Stored bytes: compression with trained dictionaries, and reading a mail back exactly.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use super::copy::{Copy, choose_copy};
use super::{Bind, Reader, Store, StoreError, marks};
use crate::types::{BlobHash, ListId, MailId, RealmId, ReceiptId, Timestamp};
use crate::verdict::Verdict;

/// Level 3 is the knee of the curve for single mails: 33,000 a second at a ratio of 2.5, 3.7 with a dictionary.
const LEVEL: i32 = 3;
/// No stored mail inflates to more: the largest that ingress can be set to take.
const MAX_INFLATED: usize = 256 << 20;

/// Mails that a dictionary is learned from, at most, and how much of each: what mails share is in their headers.
/// Learning takes a tenth of a second; ten times the samples make blobs 2 % smaller.
const SAMPLES: usize = 600;
const SAMPLE: usize = 8 << 10;
/// Fewer are too few to learn from.
const FEWEST: usize = 500;

/// A dictionary made ready: digesting it takes as long as compressing fifty mails.
struct Dictionary {
    encoder: EncoderDictionary<'static>,
    decoder: DecoderDictionary<'static>,
}

/// Dictionaries by id, and the newest of each realm.
#[derive(Default)]
pub struct Dictionaries {
    by_id: Mutex<HashMap<i64, Arc<Dictionary>>>,
    newest: Mutex<HashMap<RealmId, i64>>,
    /// Mails filed since learning was last tried.
    filed: Mutex<HashMap<RealmId, usize>>,
}

/// Compresses mails of one realm; plain thinking, to be used off the threads that serve sockets.
pub(crate) struct Packer {
    id: i64,
    dictionary: Option<Arc<Dictionary>>,
}

impl Packer {
    /// (dictionary id or 0, zstd frame) of each mail.
    pub(crate) fn pack<'m>(
        &self,
        mails: impl Iterator<Item = &'m [u8]>,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let pack = || -> io::Result<Vec<(i64, Vec<u8>)>> {
            let mut compressor = match &self.dictionary {
                Some(known) => Compressor::with_prepared_dictionary(&known.encoder)?,
                None => Compressor::new(LEVEL)?,
            };
            mails
                .map(|mail| Ok((self.id, compressor.compress(mail)?)))
                .collect()
        };
        pack().map_err(|e| StoreError::Unusable(format!("cannot compress a mail: {e}")))
    }
}

/// An accepted mail that waits to be filed.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// Its row.
    pub id: ReceiptId,
    /// The realm of its list.
    pub realm: RealmId,
    /// Its list.
    pub list: ListId,
    /// Arrival.
    pub arrived: Timestamp,
    /// `smtp`, `lmtp` or `import`.
    pub source: String,
    /// What is known of its sender.
    pub verdict: Verdict,
    /// SHA-256 of the stored bytes.
    pub hash: BlobHash,
    /// The stored bytes (LF where they came with pure CRLF).
    pub bytes: Vec<u8>,
    /// When its copies may go; 0: at once.
    pub send_at: Timestamp,
}

/// Mails whose bytes are read at once: so many, and unless one alone is larger, so many bytes.
const BATCH: usize = 200;
const BATCH_BYTES: i64 = 16 << 20;

fn portions(mails: impl Iterator<Item = (MailId, i64)>) -> Vec<Vec<MailId>> {
    let mut all: Vec<Vec<MailId>> = Vec::new();
    let mut bytes = 0;
    for (mail, size) in mails {
        match all.last_mut() {
            Some(last) if last.len() < BATCH && bytes + size <= BATCH_BYTES => {
                last.push(mail);
                bytes += size;
            }
            _ => {
                all.push(vec![mail]);
                bytes = size;
            }
        }
    }
    all
}

impl Reader {
    /// Mails in their order, in portions that can be held in memory whole.
    pub async fn batches(&self, mails: &[MailId]) -> Result<Vec<Vec<MailId>>, StoreError> {
        let mut sizes: HashMap<i64, i64> = HashMap::new();
        for chunk in mails.chunks(400) {
            let text = format!(
                "select id, size from mail where id in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|m| Bind::from(m.0)).collect();
            sizes.extend(self.fetch::<(i64, i64)>(text, binds).await?);
        }
        let sized = mails
            .iter()
            .map(|m| (*m, sizes.get(&m.0).copied().unwrap_or(0)));
        Ok(portions(sized))
    }

    /// What compresses mails of a realm with its newest dictionary.
    pub(crate) async fn packer(&self, realm: RealmId) -> Result<Packer, StoreError> {
        let newest = || {
            let newest = lock(&self.dictionaries.newest);
            newest.get(&realm).copied().unwrap_or(0)
        };
        let mut id = newest();
        let dictionary = match self.find_dictionary(id).await {
            // A purge in another process has put a new one in its place.
            Err(StoreError::Unusable(_)) => {
                self.load_dictionaries().await?;
                id = newest();
                self.find_dictionary(id).await?
            }
            found => found?,
        };
        Ok(Packer { id, dictionary })
    }

    /// Compresses one mail for a realm: (dictionary id or 0, zstd frame).
    pub async fn compress(
        &self,
        realm: RealmId,
        bytes: &[u8],
    ) -> Result<(i64, Vec<u8>), StoreError> {
        let frames = self.packer(realm).await?.pack(std::iter::once(bytes))?;
        let one = frames.into_iter().next();
        one.ok_or_else(|| StoreError::Unusable("a mail was not compressed".to_owned()))
    }

    /// Undoes [`Packer::pack`].
    pub(crate) async fn inflate(
        &self,
        dictionary: i64,
        size: i64,
        frame: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let dictionary = self.find_dictionary(dictionary).await?;
        let size = usize::try_from(size).unwrap_or(0).min(MAX_INFLATED);
        let inflate = || {
            let mut decompressor = match &dictionary {
                Some(known) => Decompressor::with_prepared_dictionary(&known.decoder)?,
                None => Decompressor::new()?,
            };
            decompressor.decompress(frame, size)
        };
        inflate()
            .map_err(|e: io::Error| StoreError::Unusable(format!("a stored mail is damaged: {e}")))
    }

    async fn find_dictionary(&self, id: i64) -> Result<Option<Arc<Dictionary>>, StoreError> {
        if id == 0 {
            return Ok(None);
        }
        if let Some(known) = lock(&self.dictionaries.by_id).get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let row: Option<(Vec<u8>,)> = self
            .fetch_one("select data from dictionary where id = $1", vec![id.into()])
            .await?;
        let Some((data,)) = row else {
            return Err(StoreError::Unusable(format!("dictionary {id} is missing")));
        };
        let ready = Arc::new(Dictionary {
            encoder: EncoderDictionary::copy(&data, LEVEL),
            decoder: DecoderDictionary::copy(&data),
        });
        lock(&self.dictionaries.by_id).insert(id, Arc::clone(&ready));
        Ok(Some(ready))
    }

    /// Reads which dictionary is the newest of each realm.
    pub async fn load_dictionaries(&self) -> Result<(), StoreError> {
        let rows: Vec<(i64, i64)> = self
            .fetch(
                "select realm, max(id) from dictionary where id > 0 group by realm",
                vec![],
            )
            .await?;
        *lock(&self.dictionaries.newest) = rows
            .into_iter()
            .map(|(realm, id)| (RealmId(realm), id))
            .collect();
        Ok(())
    }

    /// Counts mails filed in a realm that has no dictionary; whether it is time to train one.
    pub(crate) fn count_filed(&self, realm: RealmId, filed: usize) -> bool {
        if lock(&self.dictionaries.newest).contains_key(&realm) {
            return false;
        }
        let mut counts = lock(&self.dictionaries.filed);
        let count = counts.entry(realm).or_default();
        *count += filed;
        let enough = *count >= FEWEST;
        if enough {
            // Mails from which nothing can be learned must not be tried at every step.
            *count = 0;
        }
        enough
    }

    /// The beginnings of some mails of a realm; by hash, which is as good as by lot. Held ones may be dropped again: they teach nothing.
    async fn load_samples(&self, realm: RealmId) -> Result<Vec<Vec<u8>>, StoreError> {
        let text = format!(
            "select size, dictionary, data from blob where realm = ? and size < 65536 \
             and hash not in (select hash from held where realm = ?) limit {SAMPLES}"
        );
        let binds = vec![realm.0.into(), realm.0.into()];
        let rows: Vec<(i64, i64, Vec<u8>)> = self.fetch(text, binds).await?;
        let mut samples = Vec::with_capacity(rows.len());
        for (size, dictionary, data) in rows {
            let mut sample = self.inflate(dictionary, size, &data).await?;
            sample.truncate(SAMPLE);
            samples.push(sample);
        }
        Ok(samples)
    }

    /// The receipts of these ids, with the bytes of the copy of their mail that is to be served. One that was filed may be filed again.
    pub async fn load_receipts(&self, ids: &[ReceiptId]) -> Result<Vec<Receipt>, StoreError> {
        type Row = (i64, i64, i64, i64, String, i64, Vec<u8>, i64, String);
        let text = format!(
            "select r.id, r.realm, r.list, r.arrived, r.source, r.send_at, coalesce(c.hash, r.hash), coalesce(c.arrived, r.arrived), \
             coalesce(c.verdict, r.verdict) from receipt r left join copy c on c.realm = r.realm and c.identity = r.identity \
             where r.id in ({}) order by r.id",
            marks(ids.len())
        );
        let binds = ids.iter().map(|id| Bind::from(id.0)).collect();
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let mut receipts: Vec<Receipt> = Vec::with_capacity(ids.len());
        for of_one in rows.chunk_by(|a, b| a.0 == b.0) {
            let mut copies = Vec::with_capacity(of_one.len());
            for (.., hash, arrived, verdict) in of_one {
                let verdict = Verdict::from_stored(verdict);
                let (hash, arrived) = (hash_of(hash.clone())?, Timestamp(*arrived));
                copies.push((Copy::new(hash, arrived, &verdict), verdict));
            }
            let best = choose_copy(copies.iter().map(|c| c.0));
            let best = copies.into_iter().find(|c| Some(c.0) == best);
            let (Some((copy, verdict)), Some(row)) = (best, of_one.first()) else {
                continue;
            };
            receipts.push(Receipt {
                id: ReceiptId(row.0),
                realm: RealmId(row.1),
                list: ListId(row.2),
                arrived: Timestamp(row.3),
                source: row.4.clone(),
                verdict,
                hash: copy.hash,
                bytes: Vec::new(),
                send_at: Timestamp(row.5),
            });
        }
        let wanted: Vec<(RealmId, BlobHash)> = receipts.iter().map(|r| (r.realm, r.hash)).collect();
        let bytes = self.load_blobs(&wanted).await?;
        receipts.retain_mut(|r| {
            let found = bytes.get(&(r.realm, r.hash));
            found.into_iter().for_each(|b| r.bytes.clone_from(b));
            found.is_some()
        });
        Ok(receipts)
    }

    /// The bytes of stored mails, by realm and hash.
    async fn load_blobs(
        &self,
        wanted: &[(RealmId, BlobHash)],
    ) -> Result<HashMap<(RealmId, BlobHash), Vec<u8>>, StoreError> {
        let mut of_realm: BTreeMap<RealmId, BTreeSet<BlobHash>> = BTreeMap::new();
        for (realm, hash) in wanted {
            of_realm.entry(*realm).or_default().insert(*hash);
        }
        let mut found = HashMap::with_capacity(wanted.len());
        for (realm, hashes) in of_realm {
            let text = format!(
                "select hash, size, dictionary, data from blob where realm = ? and hash in ({})",
                marks(hashes.len())
            );
            let hashes = hashes.into_iter().map(|h| Bind::from(h.0));
            let binds = std::iter::once(Bind::from(realm.0)).chain(hashes).collect();
            let rows: Vec<(Vec<u8>, i64, i64, Vec<u8>)> = self.fetch(text, binds).await?;
            for (hash, size, dictionary, data) in rows {
                let bytes = self.inflate(dictionary, size, &data).await?;
                found.insert((realm, hash_of(hash)?), bytes);
            }
        }
        Ok(found)
    }

    /// The bytes of a message as stored, and whether CRLF line ends are to be put back to get what arrived.
    pub async fn load_bytes(&self, mail: MailId) -> Result<Option<(Vec<u8>, bool)>, StoreError> {
        let text = "select b.size, b.crlf, b.dictionary, b.data from mail m \
             join blob b on b.realm = m.realm and b.hash = m.hash where m.id = $1";
        let row: Option<(i64, i64, i64, Vec<u8>)> =
            self.fetch_one(text, vec![mail.0.into()]).await?;
        let Some((size, crlf, dictionary, data)) = row else {
            return Ok(None);
        };
        Ok(Some((
            self.inflate(dictionary, size, &data).await?,
            crlf == 1,
        )))
    }
}

impl Store {
    /// Trains a realm's dictionary on its mails, if there are enough and none is there yet. Returns whether one was made.
    pub async fn train_dictionary(
        &self,
        realm: RealmId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.load_dictionaries().await?;
        if lock(&self.dictionaries.newest).contains_key(&realm) {
            return Ok(false);
        }
        self.make_dictionary(realm, FEWEST, now).await
    }

    /// Makes a dictionary of a realm's mails if there are so many; until it is there, none is used.
    pub(super) async fn make_dictionary(
        &self,
        realm: RealmId,
        fewest: usize,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let samples = self.load_samples(realm).await?;
        lock(&self.dictionaries.newest).remove(&realm);
        if samples.len() < fewest {
            return Ok(false);
        }
        let train = move || zstd::dict::from_samples(&samples, 110 << 10);
        let data = match tokio::task::spawn_blocking(train).await {
            Ok(Ok(data)) => data,
            Ok(Err(error)) => {
                return Err(StoreError::Unusable(format!(
                    "cannot train a dictionary: {error}"
                )));
            }
            Err(error) => {
                return Err(StoreError::Unusable(format!(
                    "training a dictionary failed: {error}"
                )));
            }
        };
        let binds = vec![realm.0.into(), now.0.into(), data.into()];
        let text = "insert into dictionary (realm, made, data) values ($1, $2, $3)";
        self.write(move |tx| Box::pin(async move { tx.execute(text, binds).await }))
            .await?;
        self.load_dictionaries().await?;
        Ok(true)
    }
}

pub(crate) fn hash_of(bytes: Vec<u8>) -> Result<BlobHash, StoreError> {
    let array = bytes
        .try_into()
        .map_err(|_| StoreError::Unusable("a stored hash has the wrong length".to_owned()))?;
    Ok(BlobHash(array))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A map of plain values is sound whatever the thread that panicked was doing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sizes: &[i64], expected: &[usize]) {
        let mails = (0..).map(MailId).zip(sizes.iter().copied());
        let lengths: Vec<usize> = portions(mails).iter().map(Vec::len).collect();
        assert_eq!(lengths, expected, "{sizes:?}");
    }

    #[test]
    fn what_is_read_at_once_is_bounded_in_mails_and_in_bytes() {
        check(&[], &[]);
        check(&[1; 450], &[200, 200, 50]);
        check(&[BATCH_BYTES / 2; 5], &[2, 2, 1]);
        check(&[1, BATCH_BYTES * 3, 1, 1], &[1, 1, 2]);
    }
}
