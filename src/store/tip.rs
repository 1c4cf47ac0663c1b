//! Whether series apply at the tips of their branches.

use std::collections::HashMap;

use super::application::threads;
use super::sql::Bind;
use super::{Reader, Store, StoreError, Tx, file, marks};
use crate::types::{MailId, RealmId, RepoId, SeriesId, Timestamp};

/// Whether a series `s` is open: nobody has ended it and no newer version stands in its place.
pub(super) fn open() -> String {
    let states = super::regroup::OPEN_STATES;
    format!("s.superseded = 0 and s.archived = 0 and s.state in ({states})")
}

/// What came of trying a series at a tip; nothing of it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTip {
    /// The repository.
    pub repo: i64,
    /// The commit.
    pub tip: String,
    /// `applies`, `conflict` or `bad`.
    pub outcome: &'static str,
    /// The first patch that does not fit, from 1.
    pub patch: Option<i64>,
    /// The file.
    pub file: Option<String>,
    /// The hunk, from 1.
    pub hunk: Option<i64>,
    /// In words.
    pub detail: String,
}

impl NewTip {
    /// It cannot be tried there.
    pub fn bad(repo: i64, tip: &str, detail: String) -> NewTip {
        NewTip {
            repo,
            tip: tip.to_owned(),
            outcome: "bad",
            patch: None,
            file: None,
            hunk: None,
            detail,
        }
    }
}

/// What is known of a series at the tip, for pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TipRow {
    /// Name of the repository and its branch.
    pub repo: (String, String),
    /// The commit that was tried.
    pub tip: String,
    /// Whether the branch has moved since.
    pub moved: bool,
    /// `applies`, `conflict` or `bad`.
    pub outcome: String,
    /// The first patch that does not fit, from 1.
    pub patch: Option<i64>,
    /// The file.
    pub file: Option<String>,
    /// The hunk, from 1.
    pub hunk: Option<i64>,
    /// In words.
    pub detail: String,
}

impl Reader {
    /// Applied series of a repository, among its newest `open` open ones, of which the present tip was not tried; the newest
    /// first, at most `limit`. Those that are not applied are tried again as a whole.
    pub async fn load_unchecked(
        &self,
        repo: RepoId,
        tip: &str,
        open: i64,
        limit: i64,
    ) -> Result<Vec<SeriesId>, StoreError> {
        let is_open = self::open();
        let text = format!(
            "select o.id from (select s.id, a.outcome from application a join series s on s.id = a.series \
             where a.repo = ? and s.complete = 1 and {is_open} order by s.id desc limit ?) o left join tip_check t on t.series = o.id \
             where o.outcome = 'applied' and (t.tip is null or t.tip <> ?) order by o.id desc limit ?"
        );
        let binds = vec![repo.0.into(), open.into(), tip.into(), limit.into()];
        let rows: Vec<(i64,)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(|r| SeriesId(r.0)).collect())
    }

    /// What is known of these series at the tip.
    pub async fn load_tips(&self, series: &[i64]) -> Result<HashMap<i64, TipRow>, StoreError> {
        type Row = (
            i64,
            String,
            String,
            String,
            Option<String>,
            String,
            Option<i64>,
            Option<String>,
            Option<i64>,
            String,
        );
        let mut found = HashMap::new();
        for chunk in series.chunks(400) {
            let text = format!(
                "select t.series, r.name, r.branch, t.tip, r.tip, t.outcome, t.patch, t.file, t.hunk, t.detail \
                 from tip_check t join repo r on r.id = t.repo where t.series in ({})",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|s| Bind::from(*s)).collect();
            for (series, name, branch, tip, now, outcome, patch, file, hunk, detail) in
                self.fetch::<Row>(text, binds).await?
            {
                let row = TipRow {
                    repo: (name, branch),
                    moved: now.is_some_and(|now| now != tip),
                    tip,
                    outcome,
                    patch,
                    file,
                    hunk,
                    detail,
                };
                found.insert(series, row);
            }
        }
        Ok(found)
    }
}

impl Store {
    /// Records what came of tries at a tip; `mails` are those whose pages show it.
    pub async fn record_tips(
        &self,
        realm: RealmId,
        mails: Vec<MailId>,
        tips: Vec<(SeriesId, NewTip)>,
    ) -> Result<(), StoreError> {
        let now = super::now();
        self.write(move |tx| {
            Box::pin(async move {
                file::lock_realm(tx, realm).await?;
                record(tx, tips, now).await?;
                let threads = threads(tx, &mails).await?;
                file::raise(tx, realm, &threads).await
            })
        })
        .await
    }
}

/// Writes what came of tries at a tip.
pub(super) async fn record(
    tx: &mut Tx,
    tips: Vec<(SeriesId, NewTip)>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = |(series, t): (SeriesId, NewTip)| {
        vec![
            series.0.into(),
            t.repo.into(),
            t.tip.into(),
            t.outcome.into(),
            t.patch.into(),
            t.file.into(),
            t.hunk.into(),
            t.detail.into(),
            now.0.into(),
        ]
    };
    let head = "tip_check (series, repo, tip, outcome, patch, file, hunk, detail, made)";
    let tail = "on conflict (series) do update set repo = excluded.repo, tip = excluded.tip, outcome = excluded.outcome, \
         patch = excluded.patch, file = excluded.file, hunk = excluded.hunk, detail = excluded.detail, made = excluded.made";
    let rows = tips.into_iter().map(row).collect();
    tx.insert(head, rows, tail).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::delivery_tests::open;
    use crate::store::{NewList, NewRepo};

    #[tokio::test]
    async fn pages_are_made_anew_when_a_branch_moved_and_only_then() {
        let (_folder, store) = open().await;
        let repo = NewRepo {
            name: "tool".to_owned(),
            source_kind: "path".to_owned(),
            source: "/tool".to_owned(),
            branch: "main".to_owned(),
            tip: None,
        };
        let repo = store.insert_repo(repo, Timestamp(0)).await.expect("a repo");
        let mut lists = Vec::new();
        for (name, visibility, repos) in [
            ("dev", "public", vec!["tool".to_owned()]),
            ("closed", "private", vec!["tool".to_owned()]),
            ("other", "private", vec![]),
        ] {
            let list = NewList {
                name: name.to_owned(),
                address: format!("{name}@x.org"),
                description: String::new(),
                style: "patch".to_owned(),
                visibility: visibility.to_owned(),
                repos,
                policy: crate::list::settings::Policy::open(),
            };
            store.insert_list(list, Timestamp(0)).await.expect("a list");
            lists.push(store.find_list(name).await.expect("read").expect("there"));
        }
        let mut last = [0; 3];
        for (tip, problem, raised) in [
            (Some("a"), None, [1, 1, 0]),
            (Some("a"), None, [0, 0, 0]),
            (None, Some("away"), [0, 0, 0]),
            (Some("b"), None, [1, 1, 0]),
        ] {
            let text = |t: Option<&str>| t.map(str::to_owned);
            let fetched = store.record_fetch(repo, text(tip), text(problem), Timestamp(1));
            fetched.await.expect("recorded");
            let mut now = [0; 3];
            for (list, now) in lists.iter().zip(&mut now) {
                *now = store.find_list_version(list).await.expect("read").0;
            }
            if last != [0; 3] {
                let differences = [0, 1, 2].map(|n| now[n] - last[n]);
                assert_eq!(differences, raised, "{tip:?} {problem:?}");
            }
            last = now;
        }
    }
}
