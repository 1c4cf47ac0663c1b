//! Series as commands and scripts see them.

use std::collections::HashSet;

use super::copy::{Named, choose_named};
use super::{AckedPatch, Bind, Needing, Reader, Store, StoreError, marks};
use crate::patchset::{Ack, Trailer};
use crate::types::{ListId, MailId, PatchsetId, RealmId, SeriesId};

/// A patch of a summary.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PatchSummary {
    /// From 1.
    pub number: i64,
    /// Its mail.
    pub message_id: String,
    /// That mail's subject.
    pub subject: String,
    /// A word: the state that a person gave it, accepted if it landed, else its version's.
    pub state: &'static str,
    /// A person gave it that state, whatever its version's is.
    pub own_state: bool,
    /// The commit that it landed as.
    pub landed: Option<String>,
    /// The commits that it landed as, by branch, that of the main branch first.
    pub landed_in: Vec<LandedSummary>,
    /// What it carries and what replies gave to it; left out of long listings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trailers: Option<Vec<TrailerSummary>>,
}

/// A commit that a patch landed as.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LandedSummary {
    /// The repository.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
}

/// A trailer of a patch.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TrailerSummary {
    /// `Reviewed-by`
    pub name: String,
    /// What stands behind the colon.
    pub value: String,
    /// `[for the parts that are mine]`, `# a remark`
    pub note: Option<String>,
    /// The reply that gave it; null for the patch's own.
    pub message_id: Option<String>,
    /// Address of who sent that reply.
    pub sender: Option<String>,
    /// Whether it is the sender's own to give: else it is only a claim.
    pub matches: bool,
    /// Label of the earlier version that it was given on, if the patch is unchanged since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_on: Option<String>,
}

impl PatchSummary {
    /// Adds what a patch carries and was given.
    pub fn add_trailers(&mut self, patch: &AckedPatch) {
        let row = |t: &Trailer, ack: Option<&Ack>| TrailerSummary {
            name: t.name.clone(),
            value: t.value.clone(),
            note: t.note.as_ref().map(|n| n.trim().to_owned()),
            message_id: ack.map(|a| a.message_id.as_str().to_owned()),
            sender: ack.map(|a| a.sender.clone()),
            matches: ack.is_none_or(Ack::matches),
            given_on: ack.and_then(|a| a.given_on.clone()),
        };
        let own = patch.own.iter().map(|t| row(t, None));
        let given = patch.acks.iter().map(|a| row(&a.trailer, Some(a)));
        self.trailers = Some(own.chain(given).collect());
    }
}

/// What a series would come to at the tip of its branch.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TipSummary {
    /// The commit that was tried.
    pub commit: String,
    /// Whether it applies there.
    pub applies: bool,
    /// The first patch that does not fit, from 1.
    pub patch: Option<i64>,
    /// The file.
    pub file: Option<String>,
    /// The hunk, from 1.
    pub hunk: Option<i64>,
    /// In words; mostly empty where it applies.
    pub detail: String,
}

/// One version of a patchset.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SeriesSummary {
    /// Number of its patchset.
    pub patchset: i64,
    /// `1`, `2-2`, `3-r1`.
    pub version: String,
    /// How many patches it says it has.
    pub total: i64,
    /// Whether all are there.
    pub complete: bool,
    /// A word.
    pub state: &'static str,
    /// Title without tags.
    pub title: String,
    /// Address.
    pub submitter: String,
    /// The commit it was applied on.
    pub base: Option<String>,
    /// Whether it applies there; unknown while it was not tried or is for another project.
    pub applies: Option<bool>,
    /// Whether it applies at the tip of its branch, where that was looked at.
    pub tip: Option<TipSummary>,
    /// The ref in the companion.
    #[serde(rename = "ref")]
    pub ref_name: Option<String>,
    /// Cover letter.
    pub cover: Option<String>,
    /// By number.
    pub patches: Vec<PatchSummary>,
    /// How many mails answer it.
    pub comments: i64,
    /// Why these mails are one series.
    pub reason: String,
    /// Number of the patchset that it claims to be a version of, without authority.
    pub claims: Option<i64>,
    /// What is built on it; left out of long listings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed_by: Option<Vec<Needing>>,
    /// What came of applying, in words.
    pub detail: String,
    #[serde(skip)]
    id: i64,
}

/// Patchwork's states by number.
pub fn state_name(state: i64) -> &'static str {
    match state {
        2 => "under review",
        3 => "accepted",
        4 => "rejected",
        5 => "rfc",
        6 => "not applicable",
        7 => "changes requested",
        8 => "awaiting upstream",
        9 => "superseded",
        10 => "deferred",
        _ => "new",
    }
}

const COLUMNS: &str = "select s.id, s.patchset, s.label, s.total, s.complete, s.state, s.title, s.submitter, a.base, a.outcome, \
     a.ref_name, c.message_id, (select count(*) from comment where series = s.id), s.reason, a.detail, \
     (select max(o.patchset) from series o where o.anchor = s.claims) from series s \
     left join application a on a.series = s.id left join mail c on c.id = s.cover";

type Row = (
    i64,
    i64,
    String,
    i64,
    i64,
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    i64,
    String,
    Option<String>,
    Option<i64>,
);

impl Reader {
    /// Series, newest patchsets first; of one list, or of all.
    pub async fn load_summaries(
        &self,
        list: Option<ListId>,
        limit: i64,
    ) -> Result<Vec<SeriesSummary>, StoreError> {
        let (filter, mut binds) = match list {
            Some(list) => (
                "where s.patchset in (select patchset from patchset_list where list = ?)",
                vec![Bind::from(list.0)],
            ),
            None => ("", vec![]),
        };
        binds.push(limit.into());
        let text = format!("{COLUMNS} {filter} order by s.patchset desc, s.position limit ?");
        self.summaries(text, binds).await
    }

    /// The versions of one patchset, oldest first; an old number leads to the one it became.
    pub async fn load_patchset_summaries(
        &self,
        patchset: PatchsetId,
    ) -> Result<Vec<SeriesSummary>, StoreError> {
        let alias = "select patchset from patchset_alias where old = $1";
        let row: Option<(i64,)> = self.fetch_one(alias, vec![patchset.0.into()]).await?;
        let id = row.map_or(patchset.0, |r| r.0);
        self.summaries(
            format!("{COLUMNS} where s.patchset = ? order by s.position"),
            vec![id.into()],
        )
        .await
    }

    /// Adds to versions what is built on each, at most `limit` series.
    pub async fn add_needing(
        &self,
        versions: &mut [SeriesSummary],
        limit: i64,
    ) -> Result<(), StoreError> {
        for one in versions {
            let text = "select realm from series where id = $1";
            let row: Option<(i64,)> = self.fetch_one(text, vec![one.id.into()]).await?;
            let realm = RealmId(row.map_or(0, |r| r.0));
            let needing = self.load_needing(realm, SeriesId(one.id), limit).await?;
            one.needed_by = Some(needing);
        }
        Ok(())
    }

    async fn summaries(
        &self,
        text: String,
        binds: Vec<Bind>,
    ) -> Result<Vec<SeriesSummary>, StoreError> {
        let rows: Vec<Row> = self.fetch(text, binds).await?;
        let mut all: Vec<SeriesSummary> = rows.into_iter().map(summary).collect();
        for chunk in all.chunks_mut(400) {
            let text = format!(
                "select p.series, p.number, m.message_id, m.subject, p.commit_ref, p.state, p.hand from patch p join mail m on m.id = p.mail where p.series in ({}) \
                 order by p.series, p.number",
                marks(chunk.len())
            );
            let binds = chunk.iter().map(|s| Bind::from(s.id)).collect();
            type Patch = (i64, i64, String, String, Option<String>, Option<i64>, i64);
            for (series, number, message_id, subject, landed, state, hand) in
                self.fetch::<Patch>(text, binds).await?
            {
                if let Some(one) = chunk.iter_mut().find(|s| s.id == series) {
                    one.patches.push(PatchSummary {
                        number,
                        message_id,
                        subject,
                        state: state.map_or(one.state, state_name),
                        own_state: hand == 1,
                        trailers: None,
                        landed,
                        landed_in: Vec::new(),
                    });
                }
            }
            let ids: Vec<i64> = chunk.iter().map(|s| s.id).collect();
            for one in self.load_landed(&ids).await? {
                let patches = chunk.iter_mut().filter(|s| s.id == one.series);
                let mut patches = patches.flat_map(|s| &mut s.patches);
                if let Some(patch) = patches.find(|p| p.number == one.number) {
                    patch.landed_in.push(LandedSummary {
                        repo: one.repo,
                        branch: one.branch,
                        commit: one.commit,
                    });
                }
            }
        }
        let ids: Vec<i64> = all.iter().map(|s| s.id).collect();
        let mut tips = self.load_tips(&ids).await?;
        for one in &mut all {
            one.tip = tips.remove(&one.id).map(|t| TipSummary {
                commit: t.tip,
                applies: t.outcome == "applies",
                patch: t.patch,
                file: t.file,
                hunk: t.hunk,
                detail: t.detail,
            });
        }
        Ok(all)
    }

    /// The patches of a series' mails in order: of a patchset's newest version, or of the version with that label.
    pub async fn load_series_mails(
        &self,
        patchset: PatchsetId,
        label: Option<&str>,
    ) -> Result<Vec<MailId>, StoreError> {
        let which = match label {
            Some(_) => "s.label = ?",
            None => "s.id = (select newest from patchset where id = s.patchset) and ? = ''",
        };
        let text = format!(
            "select p.mail from patch p join series s on s.id = p.series where s.patchset = ? and {which} order by p.number"
        );
        let rows: Vec<(i64,)> = self
            .fetch(
                text,
                vec![patchset.0.into(), label.unwrap_or_default().into()],
            )
            .await?;
        Ok(rows.into_iter().map(|r| MailId(r.0)).collect())
    }

    /// Of these mails, and others of their names, those that are not served under that name (see `copy::choose_named`), in
    /// a list, or in all that the realm has: the mbox of a thread carries one mail a name.
    pub async fn find_shadowed(
        &self,
        list: Option<ListId>,
        mails: &[MailId],
    ) -> Result<HashSet<MailId>, StoreError> {
        let posted = match list {
            Some(_) => "join posting q on q.mail = o.id and q.list = ?",
            None => "",
        };
        let text = format!(
            "select o.id, o.message_id, o.level, o.address from mail o {posted} \
             where o.state = 0 and o.node in (select node from mail where id in ({})) order by o.arrived, o.id",
            super::marks(mails.len())
        );
        let list = list.map(|l| Bind::from(l.0));
        let binds = list.into_iter().chain(mails.iter().map(|m| m.0.into()));
        let rows: Vec<(i64, String, i64, String)> = self.fetch(text, binds.collect()).await?;
        let named = rows.into_iter().map(|(id, name, rank, address)| Named {
            mail: MailId(id),
            name,
            address: address.to_lowercase(),
            rank,
        });
        let named: Vec<Named> = named.collect();
        let served = choose_named(named.iter().cloned());
        let shadowed = named.iter().map(|n| n.mail).filter(|m| !served.contains(m));
        Ok(shadowed.collect())
    }

    /// Mails of a list by number above `after`, at most `limit`: (number, mail, arrival in microseconds).
    pub async fn load_postings(
        &self,
        list: ListId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, MailId, i64)>, StoreError> {
        let text = "select p.number, p.mail, p.arrived from posting p join mail m on m.id = p.mail where p.list = $1 and p.number > $2 \
             and m.state = 0 order by p.number limit $3";
        let rows: Vec<(i64, i64, i64)> = self
            .fetch(text, vec![list.0.into(), after.into(), limit.into()])
            .await?;
        Ok(rows
            .into_iter()
            .map(|(number, mail, arrived)| (number, MailId(mail), arrived))
            .collect())
    }

    /// How far an import from a source came.
    pub async fn find_import(
        &self,
        list: ListId,
        source: &str,
    ) -> Result<Option<String>, StoreError> {
        let text = "select position from import where list = $1 and source = $2";
        let row: Option<(String,)> = self
            .fetch_one(text, vec![list.0.into(), source.into()])
            .await?;
        Ok(row.map(|r| r.0))
    }
}

impl Store {
    /// Notes how far an import from a source came.
    pub async fn record_import(
        &self,
        list: ListId,
        source: String,
        position: String,
    ) -> Result<(), StoreError> {
        let now = super::now();
        self.write(move |tx| {
            Box::pin(async move {
                let row = vec![list.0.into(), source.into(), position.into(), now.0.into()];
                let tail = "on conflict (list, source) do update set position = excluded.position, changed = excluded.changed";
                tx.insert("import (list, source, position, changed)", vec![row], tail).await.map(|_| ())
            })
        })
        .await
    }
}

fn summary(row: Row) -> SeriesSummary {
    let (
        id,
        patchset,
        version,
        total,
        complete,
        state,
        title,
        submitter,
        base,
        outcome,
        ref_name,
        cover,
        comments,
        reason,
        detail,
        claims,
    ) = row;
    let applies = match outcome.as_deref() {
        Some("applied") => Some(true),
        Some("conflict" | "bad") => Some(false),
        _ => None,
    };
    SeriesSummary {
        patchset,
        version,
        total,
        complete: complete == 1,
        state: state_name(state),
        title,
        submitter,
        base,
        applies,
        tip: None,
        ref_name,
        cover,
        patches: Vec::new(),
        comments,
        reason,
        claims,
        needed_by: None,
        detail: detail.unwrap_or_default(),
        id,
    }
}
