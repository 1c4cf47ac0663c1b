//! Lists, their members, and the repositories their patches are for.

use super::sql::{self, Bind};
use super::{Reader, Store, StoreError, Tx, standing};
use crate::list::roster::{Entry, Kind};
use crate::list::settings::{Bits, Policy};
use crate::types::{ListId, MemberId, RealmId, RepoId, Timestamp};

/// A list as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRow {
    /// Its row.
    pub id: ListId,
    /// Its name in URLs and commands.
    pub name: String,
    /// Its posting address, in lower case.
    pub address: String,
    /// One line on what it is.
    pub description: String,
    /// `patch`, `discuss`, `announce` or `security`.
    pub style: String,
    /// `public` or `private`.
    pub visibility: String,
    /// What may know of it.
    pub realm: RealmId,
    /// Raised by every change of its settings.
    pub version: i64,
    /// When it was made.
    pub created: Timestamp,
    /// Who may do what, and what is held.
    pub policy: Policy,
}

impl ListRow {
    /// Whether everybody reads it: it is public, and its policy gives everybody the right.
    pub fn is_open(&self) -> bool {
        self.visibility == "public" && self.policy.anybody.has(Bits::BROWSE)
    }
}

type Row = (
    i64,
    String,
    String,
    String,
    String,
    String,
    i64,
    i64,
    i64,
    String,
);
const COLUMNS: &str = "select id, name, address, description, style, visibility, realm, version, created, policy from list";

fn list_row(
    (id, name, address, description, style, visibility, realm, version, created, policy): Row,
) -> ListRow {
    let (id, realm, created) = (ListId(id), RealmId(realm), Timestamp(created));
    let policy = Policy::from_stored(&policy, &style);
    ListRow {
        policy,
        id,
        name,
        address,
        description,
        style,
        visibility,
        realm,
        version,
        created,
    }
}

/// What a new list starts with.
#[derive(Debug, Clone)]
pub struct NewList {
    /// Checked name.
    pub name: String,
    /// Posting address in lower case.
    pub address: String,
    /// One line on what it is; may be empty.
    pub description: String,
    /// `patch`, `discuss`, `announce` or `security`.
    pub style: String,
    /// `public` or `private`.
    pub visibility: String,
    /// Names of repositories that must exist, the most important first.
    pub repos: Vec<String>,
    /// Who may do what, and what is held.
    pub policy: Policy,
}

/// Settings to change; `None` leaves one as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListChange {
    /// New posting address.
    pub address: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New style.
    pub style: Option<String>,
    /// New repositories, replacing the present ones.
    pub repos: Option<Vec<String>>,
    /// New policy.
    pub policy: Option<Policy>,
    /// What to do where the author's domain would have unchanged copies refused: `munge`, `pass` or `hold`.
    pub dmarc_unaligned: Option<String>,
}

/// A repository as stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RepoRow {
    /// Its row.
    pub id: i64,
    /// Its name in URLs and commands.
    pub name: String,
    /// `path`, `clone` or `init`.
    pub source_kind: String,
    /// Where it comes from; empty for `init`.
    pub source: String,
    /// The branch that series are applied to.
    pub branch: String,
    /// Patterns of the branches that are followed beside it.
    pub follow: Vec<String>,
    /// The branch's commit when last looked at.
    pub tip: Option<String>,
    /// When it was last fetched, in microseconds since 1970.
    pub fetched: Option<i64>,
    /// Why the last fetch failed.
    pub problem: Option<String>,
}

type RepoTuple = (
    i64,
    String,
    String,
    String,
    String,
    String,
    Option<String>,
    Option<i64>,
    Option<String>,
);
const REPO: &str = "select r.id, r.name, r.source_kind, r.source, r.branch, r.follow, r.tip, r.fetched, r.problem from repo r";

fn repo_row(
    (id, name, source_kind, source, branch, follow, tip, fetched, problem): RepoTuple,
) -> RepoRow {
    RepoRow {
        follow: follow.split_whitespace().map(str::to_owned).collect(),
        id,
        name,
        source_kind,
        source,
        branch,
        tip,
        fetched,
        problem,
    }
}

/// A repository to add.
#[derive(Debug, Clone)]
pub struct NewRepo {
    /// Checked name.
    pub name: String,
    /// `path`, `clone` or `init`.
    pub source_kind: String,
    /// Where it comes from; empty for `init`.
    pub source: String,
    /// The branch that series are applied to.
    pub branch: String,
    /// Its commit, if the branch exists.
    pub tip: Option<String>,
}

/// A subscription as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRow {
    /// Its row.
    pub id: MemberId,
    /// Where copies go.
    pub address: String,
    /// Whether copies are sent now.
    pub mail: bool,
    /// No copy of what names the member in To or Cc; `None`: as the list's style has it.
    pub nodupes: Option<bool>,
    /// A copy of the member's own posts.
    pub own: bool,
    /// A person or an archive.
    pub kind: Kind,
    /// When it was made.
    pub created: Timestamp,
}

type MemberTuple = (i64, String, i64, Option<i64>, i64, String, i64);
const MEMBER: &str = "select id, address, mail, nodupes, own, kind, created from member";

fn member_row((id, address, mail, nodupes, own, kind, created): MemberTuple) -> MemberRow {
    MemberRow {
        id: MemberId(id),
        address,
        mail: mail == 1,
        nodupes: nodupes.map(|n| n == 1),
        own: own == 1,
        kind: Kind::parse(&kind),
        created: Timestamp(created),
    }
}

impl MemberRow {
    /// As a file tells of it.
    pub fn into_entry(self) -> Entry {
        Entry {
            address: self.address,
            mail: Some(self.mail),
            nodupes: Some(self.nodupes),
            own: Some(self.own),
            kind: Some(self.kind),
        }
    }
}

impl Reader {
    /// All lists by name.
    pub async fn load_lists(&self) -> Result<Vec<ListRow>, StoreError> {
        let rows: Vec<Row> = self
            .fetch(format!("{COLUMNS} order by name"), vec![])
            .await?;
        Ok(rows.into_iter().map(list_row).collect())
    }

    /// The list of that name.
    pub async fn find_list(&self, name: &str) -> Result<Option<ListRow>, StoreError> {
        let row: Option<Row> = self
            .fetch_one(format!("{COLUMNS} where name = ?"), vec![name.into()])
            .await?;
        Ok(row.map(list_row))
    }

    /// The list with that id, if it is there still.
    pub async fn find_list_by_id(&self, list: ListId) -> Result<Option<ListRow>, StoreError> {
        let row: Option<Row> = self
            .fetch_one(format!("{COLUMNS} where id = ?"), vec![list.0.into()])
            .await?;
        Ok(row.map(list_row))
    }

    /// The list with that posting address, given in lower case.
    pub async fn find_list_by_address(&self, address: &str) -> Result<Option<ListRow>, StoreError> {
        let row: Option<Row> = self
            .fetch_one(format!("{COLUMNS} where address = ?"), vec![address.into()])
            .await?;
        Ok(row.map(list_row))
    }

    /// How many mails for a list were taken and have no place yet, those among them that could not be filed.
    pub async fn count_unfiled(&self, list: ListId) -> Result<i64, StoreError> {
        let text = "select count(*) from receipt where list = $1 and mail is null and state < 4";
        let row: Option<(i64,)> = self.fetch_one(text, vec![list.0.into()]).await?;
        Ok(row.map_or(0, |r| r.0))
    }

    /// The member of a list with that address.
    pub async fn find_member_by_address(
        &self,
        list: ListId,
        address: &str,
    ) -> Result<Option<MemberRow>, StoreError> {
        let text = format!("{MEMBER} where list = ? and address = ?");
        let row: Option<MemberTuple> = self
            .fetch_one(text, vec![list.0.into(), address.into()])
            .await?;
        Ok(row.map(member_row))
    }

    /// How many (postings, threads, patchsets, members) a list has.
    pub async fn count_list(&self, list: ListId) -> Result<(i64, i64, i64, i64), StoreError> {
        let text = "select (select count(*) from posting where list = l.id), (select count(*) from list_thread where list = l.id), \
             (select count(*) from patchset_list where list = l.id), (select count(*) from member where list = l.id) \
             from list l where l.id = $1";
        Ok(self
            .fetch_one(text, vec![list.0.into()])
            .await?
            .unwrap_or((0, 0, 0, 0)))
    }

    /// The repositories of a list, the most important first.
    pub async fn load_list_repos(&self, list: ListId) -> Result<Vec<RepoRow>, StoreError> {
        let text = format!(
            "{REPO} join list_repo l on l.repo = r.id where l.list = ? order by l.position"
        );
        let rows: Vec<RepoTuple> = self.fetch(text, vec![list.0.into()]).await?;
        Ok(rows.into_iter().map(repo_row).collect())
    }

    /// Names of the repositories that belong to a public list: those that everybody may fetch.
    pub async fn load_public_repos(&self) -> Result<Vec<String>, StoreError> {
        let text = "select distinct r.name from repo r join list_repo lr on lr.repo = r.id join list l on l.id = lr.list \
             where l.visibility = 'public'";
        let rows: Vec<(String,)> = self.fetch(text, vec![]).await?;
        Ok(rows.into_iter().map(|r| r.0).collect())
    }

    /// All repositories by name.
    pub async fn load_repos(&self) -> Result<Vec<RepoRow>, StoreError> {
        let rows: Vec<RepoTuple> = self
            .fetch(format!("{REPO} order by r.name"), vec![])
            .await?;
        Ok(rows.into_iter().map(repo_row).collect())
    }

    /// Members of a list with an address above `after`, by address; at most `limit`.
    pub async fn load_members(
        &self,
        list: ListId,
        after: &str,
        limit: i64,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let text = format!("{MEMBER} where list = ? and address > ? order by address limit ?");
        let rows: Vec<MemberTuple> = self
            .fetch(text, vec![list.0.into(), after.into(), limit.into()])
            .await?;
        Ok(rows.into_iter().map(member_row).collect())
    }
}

impl Store {
    /// Forgets a repository that no list uses and on which no series was tried; refused else.
    pub async fn delete_repo(&self, repo: RepoId, name: String) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let id = || vec![repo.0.into()];
                let text = "select l.name from list_repo r join list l on l.id = r.list where r.repo = $1 order by 1";
                let lists: Vec<(String,)> = tx.fetch(text, id()).await?;
                if let Some((list,)) = lists.first() {
                    return Err(StoreError::Refused(format!(
                        "list {list} uses repository {name}; say `patchpost list set {list} --repo OTHER` first"
                    )));
                }
                let text = "select (select count(*) from application where repo = $1) + (select count(*) from landed where repo = $1)";
                let tried: Option<(i64,)> = tx.fetch_one(text, id()).await?;
                if tried.is_some_and(|t| t.0 > 0) {
                    return Err(StoreError::Refused(format!(
                        "series were applied in repository {name}: it is part of the archive"
                    )));
                }
                let jobs = "delete from job where kind in ('fetch', 'upkeep', 'recheck') and key = $1";
                tx.execute(jobs, vec![repo.0.to_string().into()]).await?;
                tx.execute("delete from repo_branch where repo = $1", id())
                    .await?;
                tx.execute("delete from repo where id = $1", id()).await?;
                Ok(())
            })
        })
        .await
    }

    /// Makes a list; a list that is not public gets a realm of its own.
    pub async fn insert_list(&self, list: NewList, now: Timestamp) -> Result<ListId, StoreError> {
        self.write(move |tx| Box::pin(insert_list(tx, list, now)))
            .await
    }

    /// Changes settings and raises the list's version.
    pub async fn update_list(&self, list: ListId, change: ListChange) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if let Some(address) = &change.address {
                    refuse_taken(tx, "address", address, list.0).await?;
                }
                let fields = [
                    ("address", change.address),
                    ("description", change.description),
                    ("style", change.style),
                    ("policy", change.policy.map(|p| p.to_stored())),
                    ("dmarc_unaligned", change.dmarc_unaligned),
                ];
                for (column, value) in fields {
                    if let Some(value) = value {
                        let text = format!("update list set {column} = ? where id = ?");
                        tx.execute(text, vec![value.into(), list.0.into()]).await?;
                    }
                }
                if let Some(repos) = change.repos {
                    tx.execute("delete from list_repo where list = $1", vec![list.0.into()])
                        .await?;
                    connect_repos(tx, list, &repos).await?;
                }
                tx.execute(
                    "update list set version = version + 1 where id = $1",
                    vec![list.0.into()],
                )
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Makes a repository known.
    pub async fn insert_repo(&self, repo: NewRepo, now: Timestamp) -> Result<RepoId, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let text = "select id from repo where name = $1";
                if tx
                    .fetch_one::<(i64,)>(text, vec![repo.name.as_str().into()])
                    .await?
                    .is_some()
                {
                    return Err(StoreError::Refused(format!(
                        "repository {} exists already",
                        repo.name
                    )));
                }
                let row = vec![
                    repo.name.into(),
                    repo.source_kind.into(),
                    repo.source.into(),
                    repo.branch.into(),
                    repo.tip.into(),
                    now.0.into(),
                    now.0.into(),
                ];
                let head = "repo (name, source_kind, source, branch, tip, created, fetched)";
                let rows = tx.insert(head, vec![row], "returning id").await?;
                Ok(RepoId(sql::id(&rows[0])?))
            })
        })
        .await
    }

    /// Notes what a fetch found or why it failed. Pages say whether a branch moved since a series was tried at its tip: if it
    /// did, they are made anew.
    pub async fn record_fetch(
        &self,
        repo: RepoId,
        tip: Option<String>,
        problem: Option<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let text = "select tip from repo where id = $1";
                let before: Option<(Option<String>,)> =
                    tx.fetch_one(text, vec![repo.0.into()]).await?;
                let moved = tip.is_some() && before.is_some_and(|(before,)| before != tip);
                let text = "update repo set tip = coalesce($1, tip), problem = $2, fetched = $3 where id = $4";
                let binds = vec![tip.into(), problem.into(), now.0.into(), repo.0.into()];
                tx.execute(text, binds).await?;
                if moved {
                    let text = "update realm set version = version + 1 where id in \
                         (select l.realm from list l join list_repo lr on lr.list = l.id where lr.repo = $1)";
                    tx.execute(text, vec![repo.0.into()]).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Subscribes addresses; returns those that were new. Those that bounces disabled get copies again.
    pub async fn insert_members(
        &self,
        list: ListId,
        addresses: Vec<String>,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let row = |address: &String| {
                    vec![
                        list.0.into(),
                        Bind::from(address.as_str()),
                        1.into(),
                        now.0.into(),
                    ]
                };
                let rows = addresses.iter().map(row).collect();
                let head = "member (list, address, mail, created)";
                let tail = "on conflict (list, address) do nothing returning address";
                let new = tx.insert(head, rows, tail).await?;
                standing::enable_all(tx, &addresses, now).await?;
                let new = new.iter().map(|row| sqlx::Row::try_get(row, 0));
                Ok(new.collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    /// Unsubscribes addresses; returns those that were members.
    pub async fn delete_members(
        &self,
        list: ListId,
        addresses: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let mut gone = Vec::new();
                for chunk in addresses.chunks(200) {
                    let text = format!(
                        "delete from member where list = ? and address in ({}) returning address",
                        super::marks(chunk.len())
                    );
                    let mut binds = vec![Bind::from(list.0)];
                    binds.extend(chunk.iter().map(|a| Bind::from(a.as_str())));
                    let rows: Vec<(String,)> = tx.fetch(text, binds).await?;
                    gone.extend(rows.into_iter().map(|r| r.0));
                }
                Ok(gone)
            })
        })
        .await
    }
}

async fn refuse_taken(
    tx: &mut Tx,
    column: &'static str,
    value: &str,
    own: i64,
) -> Result<(), StoreError> {
    let text = format!("select name from list where {column} = ? and id <> ?");
    match tx
        .fetch_one::<(String,)>(text, vec![value.into(), own.into()])
        .await?
    {
        Some((name,)) => Err(StoreError::Refused(format!(
            "the {column} {value} is taken by list {name}"
        ))),
        None => Ok(()),
    }
}

async fn insert_list(tx: &mut Tx, list: NewList, now: Timestamp) -> Result<ListId, StoreError> {
    refuse_taken(tx, "name", &list.name, 0).await?;
    refuse_taken(tx, "address", &list.address, 0).await?;
    let realm = match list.visibility.as_str() {
        "public" => RealmId::PUBLIC.0,
        _ => sql::id(
            &tx.insert("realm (version)", vec![vec![0.into()]], "returning id")
                .await?[0],
        )?,
    };
    let row = vec![
        list.name.into(),
        list.address.into(),
        list.description.into(),
        list.style.into(),
        list.visibility.into(),
        realm.into(),
        0.into(),
        1.into(),
        now.0.into(),
        list.policy.to_stored().into(),
    ];
    let head = "list (name, address, description, style, visibility, realm, last_number, version, created, policy)";
    let rows = tx.insert(head, vec![row], "returning id").await?;
    let id = ListId(sql::id(&rows[0])?);
    connect_repos(tx, id, &list.repos).await?;
    Ok(id)
}

async fn connect_repos(tx: &mut Tx, list: ListId, repos: &[String]) -> Result<(), StoreError> {
    for (position, name) in (0i64..).zip(repos) {
        let row: Option<(i64,)> = tx
            .fetch_one(
                "select id from repo where name = $1",
                vec![name.as_str().into()],
            )
            .await?;
        let Some((repo,)) = row else {
            return Err(StoreError::Refused(format!(
                "there is no repository {name}; add it with `patchpost repo add {name} --clone URL`"
            )));
        };
        let row = vec![list.0.into(), repo.into(), position.into()];
        tx.insert(
            "list_repo (list, repo, position)",
            vec![row],
            "on conflict do nothing",
        )
        .await?;
    }
    Ok(())
}
