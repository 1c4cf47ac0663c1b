//! Patches that landed: what may have, and what did.

use super::application::threads;
use super::sql::Bind;
use super::{Store, StoreError, file, marks};
use crate::types::{MailId, RealmId, Timestamp};

/// A patch that may have landed in a repository.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its series.
    pub series: i64,
    /// The series' patchset.
    pub patchset: i64,
    /// Whose.
    pub realm: RealmId,
    /// Place in the series, from 1.
    pub number: i64,
    /// Its mail.
    pub mail: MailId,
    /// Its mail's name.
    pub message_id: String,
    /// JSON of what was recognised.
    pub recognised: String,
    /// The commit that it is known to have landed as.
    pub commit: Option<String>,
}

/// Patchwork's number for `accepted`.
const ACCEPTED: i64 = 3;
/// Patchwork's number for `rejected`.
const REJECTED: i64 = 4;

impl Store {
    /// The patches of the newest complete series of a repository's lists that were not rejected or archived.
    pub async fn load_pending(&self, repo: i64, series: i64) -> Result<Vec<Pending>, StoreError> {
        let text = "select p.series, s.patchset, s.realm, p.number, p.mail, m.message_id, m.recognised, p.commit_ref from patch p \
             join series s on s.id = p.series join mail m on m.id = p.mail where p.series in (select distinct s.id from series s \
             join patchset_list pl on pl.patchset = s.patchset join list_repo lr on lr.list = pl.list \
             where lr.repo = $1 and s.complete = 1 and s.archived = 0 and s.state <> $2 order by s.id desc limit $3) \
             order by p.series, p.number";
        type Row = (i64, i64, i64, i64, i64, String, String, Option<String>);
        let binds = vec![repo.into(), REJECTED.into(), series.into()];
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let pending = rows.into_iter().map(
            |(series, patchset, realm, number, mail, message_id, recognised, commit)| Pending {
                series,
                patchset,
                realm: RealmId(realm),
                number,
                mail: MailId(mail),
                message_id,
                recognised,
                commit,
            },
        );
        Ok(pending.collect())
    }

    /// Records that patches of one series landed as these commits of a repository: (patch, commit id).
    ///
    /// Once all patches of the series have landed, the series and its patchset are accepted. An event says so either way.
    pub async fn record_landed(
        &self,
        landed: Vec<(Pending, String)>,
        repo: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some((first, _)) = landed.first() else {
            return Ok(());
        };
        let (series, patchset, realm) = (first.series, first.patchset, first.realm);
        self.write(move |tx| {
            Box::pin(async move {
                for (patch, commit) in &landed {
                    let text = "update patch set commit_ref = $1, state = $2 where series = $3 and number = $4 and mail = $5";
                    let binds: Vec<Bind> = vec![
                        commit.as_str().into(),
                        ACCEPTED.into(),
                        series.into(),
                        patch.number.into(),
                        patch.mail.0.into(),
                    ];
                    tx.execute(text, binds).await?;
                }
                let text = "update series set state = $1 where id = $2 and state <> $3 and not exists \
                     (select 1 from patch where series = $2 and commit_ref is null)";
                let accepted = tx.execute(text, vec![ACCEPTED.into(), series.into(), REJECTED.into()]).await?;
                if accepted > 0 {
                    let text = "update patchset set state = $1 where id = $2 and newest = $3";
                    tx.execute(text, vec![ACCEPTED.into(), patchset.into(), series.into()]).await?;
                }
                let words = landed.iter().map(|(p, c)| format!("patch {} as {c}", p.number));
                let detail = format!("{repo}: {}", words.collect::<Vec<_>>().join(", "));
                let text = "insert into event (realm, kind, patchset, actor, happened, detail) values ($1, 'landed', $2, $3, $4, $5)";
                let actor = format!("repository {repo}");
                tx.execute(text, vec![realm.0.into(), patchset.into(), actor.into(), now.0.into(), detail.into()]).await?;
                let mails: Vec<MailId> = landed.iter().map(|(p, _)| p.mail).collect();
                let threads = threads(tx, &mails).await?;
                file::raise(tx, realm, &threads).await
            })
        })
        .await
    }

    /// The commits that patches of these series landed as: (series, number, commit).
    pub async fn load_landed(&self, series: &[i64]) -> Result<Vec<(i64, i64, String)>, StoreError> {
        let mut all = Vec::new();
        for chunk in series.chunks(400) {
            let text = format!(
                "select series, number, commit_ref from patch where commit_ref is not null and series in ({}) order by series, number",
                marks(chunk.len())
            );
            let rows: Vec<(i64, i64, String)> = self
                .fetch(text, chunk.iter().map(|s| Bind::from(*s)).collect())
                .await?;
            all.extend(rows);
        }
        Ok(all)
    }
}
