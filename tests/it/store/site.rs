//! A store of its own for each story, without a server around it.

use patchpost::git::Repos;
use patchpost::mail;
use patchpost::pipeline::{Ctx, Import, NewMail};
use patchpost::session::Protocol;
use patchpost::store::{ListRow, Location, NewList, Prepared, Store};
use patchpost::types::{BlobHash, MailId, MessageId, RealmId, Timestamp};
use patchpost::worker;
use sha2::Digest;

pub use crate::harness::Database;

pub const START: Timestamp = Timestamp::from_secs(1_700_000_000);

pub struct Site {
    pub dir: tempfile::TempDir,
    pub database: Database,
    pub location: Location,
    pub ctx: Ctx,
}

/// Runs a story on a fresh store.
pub fn play(database: Database, story: impl AsyncFnOnce(Site)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { story(Site::open(database).await).await });
}

impl Site {
    pub async fn open(database: Database) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let location = match database {
            Database::Sqlite => Location::File,
            Database::Postgres => Location::Url(crate::postgres::new_database()),
        };
        let ctx = context(dir.path(), &location).await;
        Site {
            dir,
            database,
            location,
            ctx,
        }
    }

    /// What another process on the same data would work with.
    pub async fn another(&self) -> Ctx {
        context(self.dir.path(), &self.location).await
    }

    pub async fn list(&self, name: &str, visibility: &str) -> ListRow {
        let new = NewList {
            name: name.to_owned(),
            address: format!("{name}@x.org"),
            description: String::new(),
            style: "patch".to_owned(),
            visibility: visibility.to_owned(),
            repos: vec![],
            policy: patchpost::list::settings::Policy::open(),
        };
        self.ctx.store.insert_list(new, START).await.unwrap();
        self.ctx.store.find_list(name).await.unwrap().unwrap()
    }

    /// Takes a mail in as SMTP would; it must be taken for all.
    pub async fn send(&self, lists: &[&str], mail: &str) {
        let to = lists.iter().map(|l| format!("{l}@x.org").parse().unwrap());
        let new = NewMail {
            bytes: mail.replace('\n', "\r\n").into_bytes(),
            sender: Some("ana@example.org".parse().unwrap()),
            recipients: to.collect(),
            protocol: Protocol::Smtp,
            ip: None,
            helo: "client.example".to_owned(),
        };
        for answer in self.ctx.screen(new).await {
            answer.unwrap_or_else(|reply| panic!("{}: {mail}", reply.code));
        }
    }

    /// The same, filed on return.
    pub async fn post(&self, lists: &[&str], mail: &str) {
        self.send(lists, mail).await;
        self.drain().await;
    }

    pub async fn import(&self, list: &ListRow, mails: &[(String, Timestamp)]) {
        let mut import = Import::new(&self.ctx, list.clone());
        for (mail, arrived) in mails {
            let bytes = mail.clone().into_bytes();
            import.add(bytes, Some(*arrived)).await.unwrap();
        }
        import.flush().await.unwrap();
    }

    pub async fn drain(&self) {
        worker::drain(&self.ctx, &["file"]).await.unwrap();
    }

    /// Hashed and compressed, as the pipeline does it.
    pub async fn prepare(&self, realm: RealmId, text: &str) -> Prepared {
        let bytes = text.as_bytes();
        let (dictionary, frame) = self.ctx.store.compress(realm, bytes).await.unwrap();
        Prepared {
            identity: mail::parse(bytes).identity,
            hash: BlobHash(sha2::Sha256::digest(bytes).into()),
            size: bytes.len() as i64,
            crlf: false,
            verdict: Default::default(),
            frames: vec![(realm, dictionary, frame)],
        }
    }

    /// The rows of the mails of that name.
    pub async fn mails(&self, list: &ListRow, id: &str) -> Vec<MailId> {
        let id = MessageId::parse(id).unwrap();
        let rows = self.ctx.store.find_mails(list, &id).await.unwrap();
        rows.into_iter().map(|m| m.mail).collect()
    }

    /// Asks the database itself, past the store.
    pub async fn rows(&self, text: &str) -> Vec<Vec<String>> {
        use sqlx::{Column, Row, TypeInfo};
        let rows = sqlx::query(sqlx::AssertSqlSafe(text.to_owned()))
            .fetch_all(&self.pool().await)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        let cell = |row: &sqlx::any::AnyRow, at: usize| match row.columns()[at].type_info().name() {
            "TEXT" => row.get::<Option<String>, _>(at).unwrap_or_default(),
            _ => match row.try_get::<Option<i64>, _>(at) {
                Ok(number) => number.map(|n| n.to_string()).unwrap_or_default(),
                Err(_) => row.get::<Option<String>, _>(at).unwrap_or_default(),
            },
        };
        let line = |row: &sqlx::any::AnyRow| (0..row.len()).map(|at| cell(row, at)).collect();
        rows.iter().map(line).collect()
    }

    /// Changes the database itself, past the store.
    pub async fn change(&self, text: &str) {
        sqlx::query(sqlx::AssertSqlSafe(text.to_owned()))
            .execute(&self.pool().await)
            .await
            .unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// The database's.
    pub fn url(&self) -> String {
        match &self.location {
            Location::File => format!("sqlite://{}/patchpost.db", self.dir.path().display()),
            Location::Url(url) => url.clone(),
        }
    }

    async fn pool(&self) -> sqlx::AnyPool {
        let url = self.url();
        sqlx::any::AnyPoolOptions::new()
            .max_connections(1)
            .connect(&url)
            .await
            .unwrap()
    }
}

async fn context(dir: &std::path::Path, location: &Location) -> Ctx {
    let store = Store::open(dir, location).await.unwrap();
    let base = "http://localhost".to_owned();
    Ctx::open(store, Repos::new(dir), base, 0).await.unwrap()
}

/// A mail; `more` are further header fields, each with its line end.
pub fn mail(id: &str, subject: &str, more: &str, body: &str) -> String {
    format!(
        "From: Ana Lima <ana@example.org>\nMessage-ID: <{id}>\nSubject: {subject}\nDate: Tue, 14 Nov 2023 22:13:20 +0000\n{more}\n{body}\n"
    )
}

/// A mail that carries a patch.
pub fn patch(id: &str, subject: &str, more: &str) -> String {
    let diff = "Text.\n---\ndiff --git a/f b/f\nindex 1234567..2345678 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
    mail(id, subject, more, diff)
}

/// The field by which a mail answers others.
pub fn answers(id: &str) -> String {
    format!("In-Reply-To: <{id}>\nReferences: <{id}>\n")
}
