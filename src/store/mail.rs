//! Stored bytes: compression with trained dictionaries, and reading a mail back exactly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Bind, Store, StoreError};
use crate::types::{BlobHash, ListId, MailId, RealmId, ReceiptId, Timestamp};

/// Level 3 is the knee of the curve for single mails: 33,000 a second at a ratio of 2.5, 3.7 with a dictionary.
const LEVEL: i32 = 3;
/// No stored mail inflates to more: the largest that ingress can be set to take.
const MAX_INFLATED: usize = 256 << 20;

/// Dictionaries by id, and the newest of each realm.
#[derive(Default)]
pub struct Dictionaries {
    by_id: Mutex<HashMap<i64, Arc<Vec<u8>>>>,
    newest: Mutex<HashMap<RealmId, i64>>,
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
    /// SHA-256 of the stored bytes.
    pub hash: BlobHash,
    /// The stored bytes (LF where they came with pure CRLF).
    pub bytes: Vec<u8>,
}

impl Store {
    /// Compresses a mail for a realm with its newest dictionary; returns (dictionary id or 0, zstd frame).
    pub async fn compress(
        &self,
        realm: RealmId,
        bytes: &[u8],
    ) -> Result<(i64, Vec<u8>), StoreError> {
        let id = lock(&self.dictionaries.newest)
            .get(&realm)
            .copied()
            .unwrap_or(0);
        let dictionary = self.find_dictionary(id).await?;
        let broken =
            |e: std::io::Error| StoreError::Unusable(format!("cannot compress a mail: {e}"));
        let mut compressor =
            zstd::bulk::Compressor::with_dictionary(LEVEL, &dictionary).map_err(broken)?;
        Ok((id, compressor.compress(bytes).map_err(broken)?))
    }

    /// Undoes [`Store::compress`].
    pub(crate) async fn inflate(
        &self,
        dictionary: i64,
        size: i64,
        frame: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let dictionary = self.find_dictionary(dictionary).await?;
        let broken =
            |e: std::io::Error| StoreError::Unusable(format!("a stored mail is damaged: {e}"));
        let size = usize::try_from(size).unwrap_or(0).min(MAX_INFLATED);
        let mut decompressor =
            zstd::bulk::Decompressor::with_dictionary(&dictionary).map_err(broken)?;
        decompressor.decompress(frame, size).map_err(broken)
    }

    async fn find_dictionary(&self, id: i64) -> Result<Arc<Vec<u8>>, StoreError> {
        if id == 0 {
            return Ok(Arc::default());
        }
        if let Some(known) = lock(&self.dictionaries.by_id).get(&id) {
            return Ok(Arc::clone(known));
        }
        let row: Option<(Vec<u8>,)> = self
            .fetch_one("select data from dictionary where id = $1", vec![id.into()])
            .await?;
        let Some((data,)) = row else {
            return Err(StoreError::Unusable(format!("dictionary {id} is missing")));
        };
        let data = Arc::new(data);
        lock(&self.dictionaries.by_id).insert(id, Arc::clone(&data));
        Ok(data)
    }

    /// Reads which dictionary is the newest of each realm.
    pub async fn load_dictionaries(&self) -> Result<(), StoreError> {
        let rows: Vec<(i64, i64)> = self
            .fetch(
                "select realm, max(id) from dictionary group by realm",
                vec![],
            )
            .await?;
        *lock(&self.dictionaries.newest) = rows
            .into_iter()
            .map(|(realm, id)| (RealmId(realm), id))
            .collect();
        Ok(())
    }

    /// Trains a dictionary on a realm's newest mails, once there are enough and none is there yet.
    /// Returns whether one was made.
    pub async fn train_dictionary(
        &self,
        realm: RealmId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if lock(&self.dictionaries.newest).contains_key(&realm) {
            return Ok(false);
        }
        let text =
            "select size, dictionary, data from blob where realm = $1 and size < 32768 limit 2000";
        let rows: Vec<(i64, i64, Vec<u8>)> = self.fetch(text, vec![realm.0.into()]).await?;
        if rows.len() < 500 {
            return Ok(false);
        }
        let mut samples = Vec::with_capacity(rows.len());
        for (size, dictionary, data) in rows {
            samples.push(self.inflate(dictionary, size, &data).await?);
        }
        let trained =
            tokio::task::spawn_blocking(move || zstd::dict::from_samples(&samples, 110 << 10))
                .await;
        let data = match trained {
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

    /// The receipts of these ids that are still to be filed, with their bytes.
    pub async fn load_receipts(&self, ids: &[ReceiptId]) -> Result<Vec<Receipt>, StoreError> {
        type Row = (i64, i64, i64, i64, String, Vec<u8>, i64, i64, Vec<u8>);
        let text = format!(
            "select r.id, r.realm, r.list, r.arrived, r.source, r.hash, b.size, b.dictionary, b.data from receipt r \
             join blob b on b.realm = r.realm and b.hash = r.hash where r.state = 0 and r.id in ({}) order by r.id",
            super::marks(ids.len())
        );
        let rows: Vec<Row> = self
            .fetch(text, ids.iter().map(|id| Bind::from(id.0)).collect())
            .await?;
        let mut receipts = Vec::with_capacity(rows.len());
        for (id, realm, list, arrived, source, hash, size, dictionary, data) in rows {
            let bytes = self.inflate(dictionary, size, &data).await?;
            let (id, realm, list, arrived) = (
                ReceiptId(id),
                RealmId(realm),
                ListId(list),
                Timestamp(arrived),
            );
            receipts.push(Receipt {
                id,
                realm,
                list,
                arrived,
                source,
                hash: hash_of(hash)?,
                bytes,
            });
        }
        Ok(receipts)
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
