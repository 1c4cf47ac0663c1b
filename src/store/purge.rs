//! Deleting an archive so that no bytes of it stay: rows, index, dictionaries, free pages.
//!
//! Batch by batch, so that mail for other lists comes in meanwhile; the list itself goes last, so that a purge that was
//! killed is simply run again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::Executor;

use super::hold::{HELD, REFUSED};
use super::sql::Bind;
use super::{Dialect, ListRow, Reader, Store, StoreError, Tx, file, index, marks};
use crate::types::{ListId, MailId, RealmId, SeriesId, Timestamp};

/// Postings of one transaction.
const BATCH: i64 = 256;
/// Blobs that are compressed anew in one transaction.
const REPACK: i64 = 100;
/// Mails that are left of which a new dictionary is made at least.
const FEWEST: usize = 250;
/// Others get a turn between two transactions.
const PAUSE: Duration = Duration::from_millis(5);
/// How long readers of old pages are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

impl Reader {
    /// Series that stay when a list goes, but were applied on commits of series that go with it: their refs hold what must
    /// not stay. (Series, patchset, version label).
    pub async fn load_built_on(&self, list: ListId) -> Result<Vec<(i64, i64, String)>, StoreError> {
        let own = "(select o.mail from posting o where o.list = $1 \
             and not exists (select 1 from posting q where q.mail = o.mail and q.list <> $1))";
        let text = format!(
            "with recursive built(series) as (select a.series from application a join series s on s.id = a.on_series \
             where s.anchor in {own} or s.cover in {own} or s.id in (select p.series from patch p where p.mail in {own}) \
             union select a.series from application a join built b on a.on_series = b.series) \
             select s.id, s.patchset, s.label from built b join series s on s.id = b.series"
        );
        self.fetch(text, vec![list.0.into()]).await
    }

    /// The complete series of these patchsets, as far as they are there.
    pub async fn load_complete_series(
        &self,
        patchsets: &[i64],
    ) -> Result<Vec<SeriesId>, StoreError> {
        let mut found = Vec::new();
        for chunk in patchsets.chunks(400) {
            let text = format!(
                "select s.id from series s where s.complete = 1 and s.patchset in ({}) order by s.position",
                marks(chunk.len())
            );
            let ids = chunk.iter().map(|p| Bind::from(*p)).collect();
            let rows: Vec<(i64,)> = self.fetch(text, ids).await?;
            found.extend(rows.into_iter().map(|r| SeriesId(r.0)));
        }
        Ok(found)
    }
}

impl Store {
    /// Refuses mail for a list from now on; what is there stays. Returns its series that stand in no other list, as
    /// (patchset, version label): their refs want to go before their rows do.
    pub async fn close_list(&self, list: &ListRow) -> Result<Vec<(i64, String)>, StoreError> {
        let id = list.id;
        let close = "update list set address = $1, version = version + 1 where id = $2";
        let binds = vec![format!("purged-{id}@invalid").into(), id.0.into()];
        self.write(move |tx| Box::pin(async move { tx.execute(close, binds).await }))
            .await?;
        let own = "(select o.mail from posting o where o.list = $1 \
             and not exists (select 1 from posting q where q.mail = o.mail and q.list <> $1))";
        let text = format!(
            "select distinct s.patchset, s.label from series s where s.anchor in {own} or s.cover in {own} \
             or s.id in (select p.series from patch p where p.mail in {own})"
        );
        self.fetch(text, vec![id.0.into()]).await
    }

    /// These patchsets with all numbers that lead to them, and their versions (patchset, label) that are none of `gone`.
    pub async fn load_kept_versions(
        &self,
        patchsets: BTreeSet<i64>,
        gone: &[(i64, String)],
    ) -> Result<(Vec<i64>, Vec<(i64, String)>), StoreError> {
        let all: Vec<i64> = patchsets.into_iter().collect();
        let (mut numbers, mut kept) = (all.clone(), Vec::new());
        for chunk in all.chunks(400) {
            let list = marks(chunk.len());
            let binds = || chunk.iter().map(|p| Bind::from(*p)).collect::<Vec<_>>();
            let text = format!("select old from patchset_alias where patchset in ({list})");
            let old: Vec<(i64,)> = self.fetch(text, binds()).await?;
            numbers.extend(old.into_iter().map(|r| r.0));
            let text = format!("select patchset, label from series where patchset in ({list})");
            let versions: Vec<(i64, String)> = self.fetch(text, binds()).await?;
            kept.extend(versions.into_iter().filter(|v| !gone.contains(v)));
        }
        Ok((numbers, kept))
    }

    /// Deletes a list with its postings and members; mails that stand in no other list go too, bytes and all.
    ///
    /// Returns mails of other lists that were grouped with what is gone: they want to be grouped anew. Safe to repeat until
    /// [`Store::delete_purged_list`] ends it.
    pub async fn purge_list(&self, list: &ListRow) -> Result<BTreeSet<MailId>, StoreError> {
        let (id, realm) = (list.id, list.realm);
        let mut near = BTreeSet::new();
        while let Some(found) = self
            .write(move |tx| Box::pin(purge_batch(tx, id, realm)))
            .await?
        {
            near.extend(found.into_iter().map(MailId));
            tokio::time::sleep(PAUSE).await;
        }
        self.write(move |tx| Box::pin(empty(tx, id, realm))).await?;
        self.replace_dictionaries(realm).await?;
        self.scrub().await?;
        Ok(near)
    }

    /// The last step of a purge: the list itself.
    pub async fn delete_purged_list(&self, list: &ListRow) -> Result<(), StoreError> {
        let (id, realm) = (list.id, list.realm);
        self.write(move |tx| Box::pin(delete_list(tx, id, realm)))
            .await
    }

    /// Makes a realm's dictionary anew out of what is there, compresses all with it, and forgets the old ones: they hold
    /// pieces of mails that are gone.
    pub(super) async fn replace_dictionaries(&self, realm: RealmId) -> Result<(), StoreError> {
        let text = "select id from dictionary where realm = $1 and id > 0";
        let old: Vec<(i64,)> = self.fetch(text, vec![realm.0.into()]).await?;
        let old: Vec<i64> = old.into_iter().map(|r| r.0).collect();
        if old.is_empty() {
            return Ok(());
        }
        match self.make_dictionary(realm, FEWEST, super::now()).await {
            // Mails of which none can be made are stored without one.
            Ok(_) | Err(StoreError::Unusable(_)) => {}
            Err(error) => return Err(error),
        }
        loop {
            self.repack(realm, &old).await?;
            let ids = old.clone();
            let text = format!("delete from dictionary where id in ({})", marks(old.len()));
            let used = format!(
                "select count(*) from blob where dictionary in ({})",
                marks(old.len())
            );
            let gone = self.write(move |tx| {
                Box::pin(async move {
                    let binds = || ids.iter().map(|d| Bind::from(*d)).collect::<Vec<_>>();
                    let left: Option<(i64,)> = tx.fetch_one(used, binds()).await?;
                    // Another process took a mail in meanwhile: once more.
                    if left.is_some_and(|l| l.0 > 0) {
                        return Ok(false);
                    }
                    tx.execute(text, binds()).await.map(|_| true)
                })
            });
            if gone.await? {
                break;
            }
        }
        self.load_dictionaries().await
    }

    /// Compresses anew whatever of a realm rests on one of these dictionaries.
    async fn repack(&self, realm: RealmId, old: &[i64]) -> Result<(), StoreError> {
        let text = format!(
            "select hash, size, dictionary, data from blob where realm = ? and dictionary in ({}) limit ?",
            marks(old.len())
        );
        loop {
            let mut binds = vec![Bind::from(realm.0)];
            binds.extend(old.iter().map(|d| Bind::from(*d)));
            binds.push(REPACK.into());
            let rows: Vec<(Vec<u8>, i64, i64, Vec<u8>)> = self.fetch(text.clone(), binds).await?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut fresh = Vec::with_capacity(rows.len());
            for (hash, size, dictionary, data) in rows {
                let bytes = self.inflate(dictionary, size, &data).await?;
                let (dictionary, frame) = self.compress(realm, &bytes).await?;
                fresh.push(vec![
                    realm.0.into(),
                    hash.into(),
                    size.into(),
                    0.into(),
                    dictionary.into(),
                    frame.into(),
                ]);
            }
            let head = "blob (realm, hash, size, crlf, dictionary, data)";
            let tail = "on conflict (realm, hash) do update set dictionary = excluded.dictionary, data = excluded.data";
            self.write(move |tx| {
                Box::pin(async move { tx.insert(head, fresh, tail).await.map(|_| ()) })
            })
            .await?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes the database's files anew without what was deleted. Writers wait meanwhile.
    pub(super) async fn scrub(&self) -> Result<(), StoreError> {
        if self.dialect == Dialect::Postgres {
            // All of them: names of files, commits and addresses stand in many.
            let text = "select cast(tablename as text) from pg_tables where schemaname = current_schema() order by 1";
            let tables: Vec<(String,)> = self.fetch(text, vec![]).await?;
            let mut connection = self.reader.acquire().await?;
            for (table,) in tables {
                let text = sqlx::AssertSqlSafe(format!("vacuum full \"{table}\""));
                connection.execute(sqlx::raw_sql(text)).await?;
            }
            return Ok(());
        }
        // Deleted words stay in the index's segments until these are merged.
        let text = "insert into search (search) values ('optimize')";
        self.write(move |tx| Box::pin(async move { tx.execute(text, vec![]).await }))
            .await?;
        let begun = Instant::now();
        loop {
            match self.vacuum().await {
                Ok(true) => return Ok(()),
                Ok(false) if begun.elapsed() > PATIENCE => {
                    return Err(StoreError::Refused(
                        "the rows are deleted, but a reader keeps old pages of patchpost.db-wal in use; stop the server, then run \
                         this command again"
                            .to_owned(),
                    ));
                }
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Ok(false) | Err(_) => tokio::time::sleep(40 * PAUSE).await,
            }
        }
    }
}

/// Deletes some postings and the mails that stand nowhere else; `None` when the list has none left, else mails that
/// were grouped with those.
async fn purge_batch(
    tx: &mut Tx,
    list: ListId,
    realm: RealmId,
) -> Result<Option<Vec<i64>>, StoreError> {
    file::lock_realm(tx, realm).await?;
    let text = "select mail from posting where list = $1 order by number limit $2";
    let mails: Vec<(i64,)> = tx.fetch(text, vec![list.0.into(), BATCH.into()]).await?;
    let mails: Vec<MailId> = mails.into_iter().map(|m| MailId(m.0)).collect();
    if mails.is_empty() {
        return Ok(None);
    }
    let threads = super::application::threads(tx, &mails).await?;
    let rows = marks(mails.len());
    for table in ["posting", "receipt"] {
        let text = format!("delete from {table} where list = ? and mail in ({rows})");
        let ids = mails.iter().map(|m| Bind::from(m.0));
        let binds = std::iter::once(Bind::from(list.0)).chain(ids).collect();
        tx.execute(text, binds).await?;
    }
    let text = format!(
        "select m.id, m.arrived, m.node from mail m where m.id in ({rows}) \
         and not exists (select 1 from posting p where p.mail = m.id) \
         and not exists (select 1 from receipt r where r.realm = m.realm and r.identity = m.identity and r.state < {HELD})"
    );
    let ids = mails.iter().map(|m| Bind::from(m.0)).collect();
    let gone: Vec<(i64, i64, i64)> = tx.fetch(text, ids).await?;
    let ids: Vec<i64> = gone.iter().map(|g| g.0).collect();
    let mut near = forget_groups(tx, &ids).await?;
    // What stays has one list less in common with others.
    near.extend(mails.iter().map(|m| m.0).filter(|m| !ids.contains(m)));
    // Of what another list holds the bytes stay: it is filed out of them if that lets it through.
    let text = format!(
        "select m.id from mail m where m.id in (..) \
         and not exists (select 1 from receipt r where r.realm = m.realm and r.identity = m.identity and r.state = {HELD})"
    );
    let ids = ids_of(tx, &text, &ids).await?;
    forget_bytes(tx, realm, &ids).await?;
    forget_mails(tx, realm, &gone).await?;
    file::refresh_list_threads(tx, &threads).await?;
    file::raise(tx, realm, &threads).await?;
    Ok(Some(near))
}

/// A statement in which `(..)` is replaced by the ids.
pub(super) async fn on(tx: &mut Tx, text: &str, ids: &[i64]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let places = text.matches("(..)").count();
    let text = text.replace("(..)", &format!("({})", marks(ids.len())));
    let binds = ids.iter().map(|id| Bind::from(*id)).collect::<Vec<_>>();
    let binds = vec![binds; places].into_iter().flatten().collect();
    tx.execute(text, binds).await?;
    Ok(())
}

pub(super) async fn ids_of(tx: &mut Tx, text: &str, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let places = text.matches("(..)").count();
    let text = text.replace("(..)", &format!("({})", marks(ids.len())));
    let binds = ids.iter().map(|id| Bind::from(*id)).collect::<Vec<_>>();
    let binds = vec![binds; places].into_iter().flatten().collect();
    let rows: Vec<(i64,)> = tx.fetch(text, binds).await?;
    Ok(rows.into_iter().map(|r| r.0).collect())
}

/// Takes mails out of their series; returns the mails that stay behind.
pub(super) async fn forget_groups(tx: &mut Tx, gone: &[i64]) -> Result<Vec<i64>, StoreError> {
    let text = "select id from series where anchor in (..) or cover in (..) or id in (select series from patch where mail in (..))";
    let hit = ids_of(tx, text, gone).await?;
    let near = ids_of(tx, "select mail from patch where series in (..)", &hit).await?;
    on(
        tx,
        "delete from comment where mail in (..) or target in (..)",
        gone,
    )
    .await?;
    on(tx, "delete from patch where mail in (..)", gone).await?;
    on(
        tx,
        "update series set cover = null where cover in (..)",
        gone,
    )
    .await?;
    let dead = ids_of(tx, "select id from series where anchor in (..)", gone).await?;
    let text = "select distinct patchset from series where id in (..)";
    let sets = ids_of(tx, text, &hit).await?;
    let text = "with recursive built(series) as (select a.series from application a where a.on_series in (..) \
         union select a.series from application a join built b on a.on_series = b.series) select series from built";
    let built = ids_of(tx, text, &dead).await?;
    for table in ["application_commit", "application"] {
        let text = format!("delete from {table} where series in (..)");
        on(tx, &text, &built).await?;
    }
    for table in [
        "comment",
        "patch",
        "application_commit",
        "application",
        "dependency",
        "tip_check",
    ] {
        let text = format!("delete from {table} where series in (..)");
        on(tx, &text, &dead).await?;
    }
    on(tx, "delete from series where id in (..)", &dead).await?;
    on(
        tx,
        "update series set digest = '' where patchset in (..)",
        &sets,
    )
    .await?;
    let text = "select id from patchset p where id in (..) and not exists (select 1 from series s where s.patchset = p.id)";
    let empty = ids_of(tx, text, &sets).await?;
    on(
        tx,
        "delete from patchset_alias where patchset in (..)",
        &empty,
    )
    .await?;
    on(
        tx,
        "delete from patchset_list where patchset in (..)",
        &empty,
    )
    .await?;
    on(tx, "delete from patchset where id in (..)", &empty).await?;
    Ok(near.into_iter().filter(|m| !gone.contains(m)).collect())
}

/// Deletes mails, given as (row, arrival, node), with all that was derived from them; their bytes stay.
pub(super) async fn forget_mails(
    tx: &mut Tx,
    realm: RealmId,
    gone: &[(i64, i64, i64)],
) -> Result<(), StoreError> {
    let ids: Vec<i64> = gone.iter().map(|g| g.0).collect();
    let place = |g: &(i64, i64, i64)| index::position(Timestamp(g.1), MailId(g.0));
    let places: Vec<i64> = gone.iter().map(place).collect();
    let search = match tx.dialect {
        Dialect::Sqlite => "delete from search where rowid in (..)",
        Dialect::Postgres => "delete from search where position in (..)",
    };
    on(tx, search, &places).await?;
    let events = ids_of(
        tx,
        "select event from correction_mail where mail in (..) union select id from event where mail in (..)",
        &ids,
    )
    .await?;
    for text in [
        "delete from correction_mail where event in (..)",
        "delete from event where id in (..)",
    ] {
        on(tx, text, &events).await?;
    }
    for text in [
        "delete from body where mail in (..)",
        "delete from alias where mail in (..)",
        "delete from link_key where mail in (..)",
        "delete from landed where mail in (..)",
    ] {
        on(tx, text, &ids).await?;
    }
    on(tx, "delete from mail where id in (..)", &ids).await?;
    forget_nodes(tx, realm, &gone.iter().map(|g| g.2).collect::<Vec<_>>()).await
}

/// Deletes all copies of mails.
pub(super) async fn forget_bytes(
    tx: &mut Tx,
    realm: RealmId,
    ids: &[i64],
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let text = format!(
        "select c.identity, c.hash from copy c join mail m on m.realm = c.realm and m.identity = c.identity where m.id in ({})",
        marks(ids.len())
    );
    let binds = ids.iter().map(|id| Bind::from(*id)).collect();
    let copies: Vec<(Vec<u8>, Vec<u8>)> = tx.fetch(text, binds).await?;
    for chunk in copies.chunks(400) {
        let rows = marks(chunk.len());
        let realm = || std::iter::once(Bind::from(realm.0));
        let hashes = chunk.iter().map(|c| Bind::from(c.1.clone()));
        let text = format!("delete from blob where realm = ? and hash in ({rows})");
        tx.execute(text, realm().chain(hashes).collect()).await?;
        let identities = chunk.iter().map(|c| Bind::from(c.0.clone()));
        let text = format!("delete from copy where realm = ? and identity in ({rows})");
        tx.execute(text, realm().chain(identities).collect())
            .await?;
    }
    Ok(())
}

/// Deletes places without a mail, and the ghosts that only they named. A place that others name becomes a ghost.
async fn forget_nodes(tx: &mut Tx, realm: RealmId, nodes: &[i64]) -> Result<(), StoreError> {
    const EMPTY: &str = "not exists (select 1 from mail m where m.node = n.id)";
    let text = format!("select n.id from node n where n.id in (..) and {EMPTY}");
    let empty = ids_of(tx, &text, nodes).await?;
    let parents = ids_of(
        tx,
        "select distinct parent from edge where child in (..)",
        &empty,
    )
    .await?;
    on(tx, "delete from edge where child in (..)", &empty).await?;
    let all: Vec<i64> = empty.iter().chain(&parents).copied().collect();
    for chunk in all.chunks(1_000) {
        let text = format!(
            "select n.id from node n where n.id in (..) and {EMPTY} \
             and not exists (select 1 from edge e where e.parent = n.id or e.child = n.id)"
        );
        let dead = ids_of(tx, &text, chunk).await?;
        let threads = ids_of(
            tx,
            "select distinct thread from node where id in (..)",
            &dead,
        )
        .await?;
        on(tx, "delete from node where id in (..)", &dead).await?;
        let text = "select id from thread t where id in (..) and not exists (select 1 from node n where n.thread = t.id)";
        let threads = ids_of(tx, text, &threads).await?;
        on(
            tx,
            "delete from thread_alias where thread in (..)",
            &threads,
        )
        .await?;
        on(tx, "delete from thread where id in (..)", &threads).await?;
    }
    tracing::debug!(realm.id = realm.0, "{} places emptied", empty.len());
    Ok(())
}

/// What hangs on a list, in an order that foreign keys allow.
const OF_LIST: [&str; 20] = [
    "delete from reached where receipt in (select id from receipt where list = $1)",
    "delete from unreached where receipt in (select id from receipt where list = $1)",
    "delete from letter where list = $1",
    "delete from bounce where list = $1",
    "delete from copy_day where list = $1",
    "delete from notice where list = $1",
    "delete from confirmation where list = $1",
    "delete from command where list = $1",
    "delete from held where list = $1",
    "delete from rehearsal where list = $1",
    "delete from access where list = $1",
    "delete from ban where list = $1",
    "delete from delivery where list = $1",
    "delete from fan_out where list = $1",
    "delete from list_thread where list = $1",
    "delete from patchset_list where list = $1",
    "delete from receipt where list = $1",
    "delete from member where list = $1",
    "delete from list_repo where list = $1",
    "delete from import where list = $1",
];

/// Deletes what batches leave: mails that were never filed, members, settings, notes.
async fn empty(tx: &mut Tx, list: ListId, realm: RealmId) -> Result<(), StoreError> {
    // What came in since the last batch; seldom more than a few.
    while purge_batch(tx, list, realm).await?.is_some() {}
    let jobs = "delete from job where (kind = 'file' and key in (select cast(id as text) from receipt where list = $1)) \
         or (kind = 'fan-out' and key like $2)";
    tx.execute(jobs, vec![list.0.into(), format!("{list}/%").into()])
        .await?;
    for text in OF_LIST {
        tx.execute(text, vec![list.0.into()]).await?;
    }
    let unfiled = format!(
        "from copy where realm = $1 and not exists (select 1 from mail m where m.realm = copy.realm and \
         m.identity = copy.identity) and not exists (select 1 from receipt r where r.realm = copy.realm and r.identity = copy.identity and r.state < {REFUSED})"
    );
    let blobs = format!("delete from blob where realm = $1 and hash in (select hash {unfiled})");
    for text in [blobs, format!("delete {unfiled}")] {
        tx.execute(text, vec![realm.0.into()]).await?;
    }
    // Notes on mail that was not archived.
    tx.execute("delete from event where list = $1", vec![list.0.into()])
        .await?;
    Ok(())
}

/// The very last step.
async fn delete_list(tx: &mut Tx, list: ListId, realm: RealmId) -> Result<(), StoreError> {
    tx.execute("delete from list where id = $1", vec![list.0.into()])
        .await?;
    if realm != RealmId::PUBLIC {
        for text in [
            "delete from event where realm = $1",
            "delete from patchset where realm = $1",
            "delete from barred where realm = $1",
            "delete from scrub where realm = $1",
            "delete from realm where id = $1",
        ] {
            tx.execute(text, vec![realm.0.into()]).await?;
        }
    }
    Ok(())
}
