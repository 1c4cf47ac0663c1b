//! Migrations: once, under a lock, never backwards; the same tables on both databases.

use std::collections::BTreeSet;

use patchpost::store::{Store, StoreError};
use patchpost::worker;

use super::site::{Database, Site, patch, play};

pub async fn migrations_run_once_under_a_lock(site: Site) {
    site.list("dev", "public").await;
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (dir, location) = (site.dir.path().to_owned(), site.location.clone());
        opening.spawn(async move { Store::open(&dir, &location).await.map(|_| ()) });
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
    assert_eq!(site.rows("select count(*) from realm").await, [["1"]]);
    assert_eq!(site.ctx.store.load_lists().await.unwrap().len(), 1);
    // Six at once on a database that nobody has opened before.
    let fresh = match site.database {
        Database::Sqlite => site.location.clone(),
        Database::Postgres => patchpost::store::Location::Url(crate::postgres::new_database()),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (dir, location) = (folder.path().to_owned(), fresh.clone());
        opening.spawn(async move { Store::open(&dir, &location).await.map(|_| ()) });
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
}

pub async fn a_newer_schema_is_refused(site: Site) {
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
        select 99, 'future', success, checksum, 0 from _sqlx_migrations where version = 1";
    site.change(newer).await;
    let refused = Store::open(site.dir.path(), &site.location)
        .await
        .map(|_| ());
    let Err(StoreError::Newer(99)) = refused else {
        panic!("{refused:?}");
    };
    let text = StoreError::Newer(99).to_string();
    let words = "written by a newer patchpost (its tables have version 99); install that version";
    assert!(text.contains(words), "{text}");
}

/// A database as the first version left it gets what it lacks; what stands in it stays.
pub async fn a_database_of_the_first_version_is_upgraded(site: Site) {
    site.list("dev", "public").await;
    site.post(&["dev"], &patch("a@x", "[PATCH] one", "")).await;
    let series = "select id, title from series";
    let before = site.rows(series).await;
    assert_eq!(before.len(), 1);
    let applied = "insert into application (series, outcome, why, detail, made) select id, 'conflict', 'w', 'd', 7 from series";
    site.change(applied).await;
    for text in [
        "drop table dependency",
        "drop table tip_check",
        "drop index application_on_series",
        "drop index application_repo",
        "drop index application_commit_id",
        "alter table application drop column on_series",
        "delete from _sqlx_migrations where version = 2",
    ] {
        site.change(text).await;
    }
    let store = Store::open(site.dir.path(), &site.location).await.unwrap();
    assert_eq!(site.rows(series).await, before);
    let row = "select outcome, why, made, on_series from application";
    assert_eq!(site.rows(row).await, [["conflict", "w", "7", ""]]);
    assert!(store.load_tips(&[1]).await.unwrap().is_empty());
    let versions = "select version from _sqlx_migrations order by version";
    assert_eq!(site.rows(versions).await[..2], [["1"], ["2"]]);
    // It is worked on as any other.
    let ctx = site.another().await;
    worker::drain(&ctx, &["apply"]).await.unwrap();
    let outcome = "select outcome from application";
    assert_eq!(site.rows(outcome).await, [["elsewhere"]]);
}

/// Tables, columns and whether these may be null, as the databases themselves tell; full text is each one's own.
#[test]
fn both_databases_end_with_the_same_tables() {
    async fn columns(site: Site) -> BTreeSet<String> {
        let text = match site.database {
            Database::Sqlite => {
                "select m.name, p.name, lower(p.type), case when p.\"notnull\" = 1 or p.pk > 0 then 'no' else 'yes' end \
                 from sqlite_master m join pragma_table_info(m.name) p where m.type = 'table'"
            }
            Database::Postgres => {
                "select cast(table_name as text), cast(column_name as text), cast(data_type as text), lower(cast(is_nullable as text)) \
                 from information_schema.columns where table_schema = 'public'"
            }
        };
        let ours = |row: &Vec<String>| {
            !["_sqlx", "search", "sqlite"]
                .iter()
                .any(|p| row[0].starts_with(p))
        };
        let line = |row: Vec<String>| {
            let kind = match row[2].as_str() {
                "integer" | "bigint" => "bigint",
                "blob" | "bytea" => "blob",
                other => other,
            };
            format!("{}.{} {kind} null: {}", row[0], row[1], row[3])
        };
        site.rows(text)
            .await
            .into_iter()
            .filter(ours)
            .map(line)
            .collect()
    }
    let (mut sqlite, mut postgres) = (BTreeSet::new(), BTreeSet::new());
    play(Database::Sqlite, async |site| sqlite = columns(site).await);
    play(Database::Postgres, async |site| {
        postgres = columns(site).await
    });
    assert!(sqlite.len() > 100, "{sqlite:#?}");
    let only =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(only(&sqlite, &postgres), only(&postgres, &sqlite));
}

/// Whoever sends one mail again and again makes nobody read all receipts.
#[test]
fn receipts_are_found_by_their_mail() {
    play(Database::Sqlite, async |site| {
        for (of, index) in [
            (
                "realm = 1 and identity in (x'00', x'01')",
                "receipt_identity",
            ),
            ("mail = 1", "receipt_mail"),
        ] {
            let text = format!("explain query plan select id, list from receipt where {of}");
            let plan = site.rows(&text).await;
            let found = plan.iter().flatten().any(|cell| cell.contains(index));
            assert!(found, "{plan:?}");
        }
    });
    play(Database::Postgres, async |site| {
        let text = "select cast(indexname as text) from pg_indexes where tablename = 'receipt' order by indexname";
        let all = site.rows(text).await;
        for index in ["receipt_identity", "receipt_mail"] {
            assert!(all.iter().any(|row| row[0] == index), "{all:?}");
        }
    });
}
