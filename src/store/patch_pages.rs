//! What pages about patchsets read: listings, versions, what came of applying them.

use std::collections::{BTreeSet, HashSet};

use super::sight::{ListLine, Shown};
use super::{Bind, Reader, StoreError, marks};
use crate::types::{ListId, MailId, SeriesId, Timestamp};

/// Facts of a series beside a mail or in a listing.
#[derive(Debug, Clone)]
pub struct SeriesFact {
    /// The patchset's number.
    pub patchset: i64,
    /// The version's label.
    pub label: String,
    /// How many patches it says it has, and how many are there.
    pub total: i64,
    /// How many are there.
    pub received: i64,
    /// Patchwork's number.
    pub state: i64,
    /// How many of its patches have a state of their own that a person set.
    pub apart: i64,
    /// `applied`, `conflict` …
    pub outcome: Option<String>,
    /// Title without tags.
    pub title: String,
    /// Who sent it.
    pub submitter: String,
    /// Its name.
    pub submitter_name: String,
    /// Arrival of its newest patch.
    pub arrived: Timestamp,
    /// How many versions the patchset has.
    pub versions: i64,
    /// How many mails answer it.
    pub comments: i64,
    /// Anchor of the series of another patchset that it claims to be a version of.
    pub claims: Option<MailId>,
    /// What became of it at the tip of its branch, while it is open and stands on no other series: `applies`, `conflict` or `bad`.
    pub tip: Option<String>,
    /// The mail it was looked up by, if any.
    pub mail: Option<MailId>,
}

/// Which patchsets to list.
#[derive(Debug, Clone, Default)]
pub struct PatchFilter {
    /// Patchwork's numbers; empty: all.
    pub states: Vec<i64>,
    /// Part of the submitter's address or name.
    pub submitter: String,
    /// `applied`, `conflict`, `elsewhere`, or `tip` for what applies on its base and no more at the tip; empty: all.
    pub outcome: String,
    /// Part of the title.
    pub words: String,
}

/// What came of applying, for a page.
#[derive(Debug, Clone)]
pub struct ApplicationRow {
    /// `applied`, `conflict`, `elsewhere`, `bad`.
    pub outcome: String,
    /// The repository's name and branch.
    pub repo: Option<(String, String)>,
    /// The commit.
    pub base: Option<String>,
    /// Why that one.
    pub why: String,
    /// The series that it is a commit of, with its patchset and label, if it is not the project's.
    pub on_series: Option<(SeriesId, i64, String)>,
    /// The ref.
    pub ref_name: Option<String>,
    /// The first patch that does not fit, from 1.
    pub patch: Option<i64>,
    /// The file.
    pub file: Option<String>,
    /// The hunk, from 1.
    pub hunk: Option<i64>,
    /// In words.
    pub detail: String,
    /// Commit ids by patch.
    pub commits: Vec<String>,
}

/// A version of a patchset with its mails.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its row.
    pub series: i64,
    /// Why these mails are one series.
    pub reason: String,
    /// `base-commit:`
    pub base_commit: Option<String>,
    /// Cover letter.
    pub cover: Option<MailId>,
    /// Number, mail, taken over.
    pub patches: Vec<(i64, MailId, bool)>,
    /// States of patches by themselves that people set: number, and Patchwork's number.
    pub states: Vec<(i64, i64)>,
    /// Comment and what it answers.
    pub comments: Vec<(MailId, MailId)>,
}

type FactTuple = (
    i64,
    String,
    i64,
    i64,
    i64,
    Option<String>,
    String,
    String,
    String,
    i64,
    i64,
    i64,
    Option<i64>,
    i64,
    Option<String>,
    Option<i64>,
);

fn fact(t: FactTuple) -> SeriesFact {
    let (
        patchset,
        label,
        total,
        received,
        state,
        outcome,
        title,
        submitter,
        submitter_name,
        arrived,
        versions,
        comments,
        claims,
        apart,
        tip,
        mail,
    ) = t;
    let (arrived, mail) = (Timestamp(arrived), mail.map(MailId));
    let claims = claims.map(MailId);
    SeriesFact {
        patchset,
        label,
        total,
        received,
        state,
        apart,
        outcome,
        title,
        submitter,
        submitter_name,
        arrived,
        versions,
        comments,
        claims,
        tip,
        mail,
    }
}

/// What became of an open series at the tip. One that stands on another is expected to need that first.
fn at_tip() -> String {
    let open = super::tip::open();
    format!(
        "(select t.outcome from tip_check t where t.series = s.id and a.on_series is null and {open})"
    )
}

/// The columns of a [`SeriesFact`] but the last.
fn columns() -> String {
    let at_tip = at_tip();
    format!(
        "s.patchset, s.label, s.total, s.received, s.state, a.outcome, s.title, s.submitter, s.submitter_name, s.arrived, \
         ps.versions, (select count(*) from comment c where c.series = s.id), s.claims, \
         (select count(*) from patch h where h.series = s.id and h.hand = 1), {at_tip}"
    )
}

impl Reader {
    /// Facts of the series that these mails begin: cover or patch.
    pub async fn load_facts(&self, mails: &[MailId]) -> Result<Vec<SeriesFact>, StoreError> {
        let (columns, mut all) = (columns(), Vec::new());
        for chunk in mails.chunks(200) {
            let list = marks(chunk.len());
            let text = format!(
                "select {columns}, s.cover from series s join patchset ps on ps.id = s.patchset left join application a on a.series = s.id \
                 where s.cover in ({list}) union all select {columns}, p.mail from patch p join series s on s.id = p.series \
                 join patchset ps on ps.id = s.patchset left join application a on a.series = s.id where p.taken_over = 0 and p.mail in ({list})"
            );
            let mut binds: Vec<Bind> = chunk.iter().map(|m| Bind::from(m.0)).collect();
            binds.extend(binds.clone());
            all.extend(
                self.fetch::<FactTuple>(text, binds)
                    .await?
                    .into_iter()
                    .map(fact),
            );
        }
        Ok(all)
    }

    /// Facts of the newest version of each patchset that these mails belong to, as cover or patch.
    pub async fn load_newest_facts(&self, mails: &[MailId]) -> Result<Vec<SeriesFact>, StoreError> {
        let (columns, mut all) = (columns(), Vec::new());
        for chunk in mails.chunks(200) {
            let list = marks(chunk.len());
            let text = format!(
                "select {columns}, x.mail from (select patchset, cover as mail from series where cover in ({list}) \
                 union select o.patchset, p.mail from patch p join series o on o.id = p.series where p.taken_over = 0 and p.mail in ({list})) x \
                 join patchset ps on ps.id = x.patchset join series s on s.id = ps.newest left join application a on a.series = s.id"
            );
            let mut binds: Vec<Bind> = chunk.iter().map(|m| Bind::from(m.0)).collect();
            binds.extend(binds.clone());
            let rows: Vec<FactTuple> = self.fetch(text, binds).await?;
            all.extend(rows.into_iter().map(fact));
        }
        Ok(all)
    }

    /// Patchsets of a list by their newest version, newest first, before (arrival, patchset).
    pub async fn load_patchsets(
        &self,
        list: ListId,
        filter: &PatchFilter,
        before: (i64, i64),
        limit: i64,
    ) -> Result<Vec<SeriesFact>, StoreError> {
        let columns = columns();
        let mut text = format!(
            "select {columns}, cast(null as bigint) from patchset_list pl join patchset ps on ps.id = pl.patchset join series s on s.id = ps.newest \
             left join application a on a.series = s.id where pl.list = ? and (pl.updated < ? or (pl.updated = ? and pl.patchset < ?))"
        );
        let mut binds = vec![
            Bind::from(list.0),
            before.0.into(),
            before.0.into(),
            before.1.into(),
        ];
        if !filter.states.is_empty() {
            text.push_str(&format!(" and s.state in ({})", marks(filter.states.len())));
            binds.extend(filter.states.iter().map(|s| Bind::from(*s)));
        }
        let pattern = |words: &str| format!("%{}%", words.to_lowercase().replace(['%', '_'], ""));
        if !filter.submitter.is_empty() {
            text.push_str(" and (s.submitter like ? or lower(s.submitter_name) like ?)");
            binds.extend([
                pattern(&filter.submitter).into(),
                pattern(&filter.submitter).into(),
            ]);
        }
        let unfit = format!("coalesce({}, 'applies') <> 'applies'", at_tip());
        match filter.outcome.as_str() {
            "" => {}
            "tip" => text.push_str(&format!(" and a.outcome = 'applied' and {unfit}")),
            "applied" => text.push_str(&format!(" and a.outcome = 'applied' and not {unfit}")),
            other => {
                text.push_str(" and a.outcome = ?");
                binds.push(other.into());
            }
        }
        for word in filter.words.split_whitespace().take(8) {
            text.push_str(" and lower(s.title) like ?");
            binds.push(pattern(word).into());
        }
        text.push_str(" order by pl.updated desc, pl.patchset desc limit ?");
        binds.push(limit.into());
        // Words are looked for in all rows; what is asked for without them is found by an index.
        let rows: Vec<FactTuple> = if filter.submitter.is_empty() && filter.words.trim().is_empty()
        {
            self.fetch(text, binds).await?
        } else {
            self.fetch_limited(text, binds).await?
        };
        Ok(rows.into_iter().map(fact).collect())
    }

    /// Patchsets that hold a patch of one of these addresses, in lower case, and stand in a list that is shown, each with the first such
    /// list; by their newest version, the newest first.
    pub async fn load_own_patchsets<'a>(
        &self,
        addresses: &[String],
        shown: &'a [ListLine],
        limit: i64,
    ) -> Result<Vec<(&'a Shown, SeriesFact)>, StoreError> {
        if addresses.is_empty() || shown.is_empty() {
            return Ok(Vec::new());
        }
        let realms: BTreeSet<i64> = shown.iter().map(|(l, _)| l.realm.0).collect();
        let text = format!(
            "select {}, cast(null as bigint) from patchset ps join series s on s.id = ps.newest left join application a on a.series = s.id \
             where ps.id in (select o.patchset from mail m join patch p on p.mail = m.id and p.taken_over = 0 join series o on o.id = p.series \
             join patchset_list pl on pl.patchset = o.patchset where m.realm in ({}) and lower(m.address) in ({}) and m.state = 0 \
             and pl.list in ({})) order by s.arrived desc, s.id desc limit ?",
            columns(),
            marks(realms.len()),
            marks(addresses.len()),
            marks(shown.len())
        );
        let realms = realms.into_iter().map(Bind::from);
        let lists = shown.iter().map(|(l, _)| Bind::from(l.id.0));
        let binds = realms.chain(addresses.iter().map(Bind::from)).chain(lists);
        let rows: Vec<FactTuple> = self
            .fetch(text, binds.chain([limit.into()]).collect())
            .await?;
        let facts: Vec<SeriesFact> = rows.into_iter().map(fact).collect();
        let ids: Vec<i64> = facts.iter().map(|f| f.patchset).collect();
        let places = self.find_lists_of(&ids).await?;
        let first = |fact: SeriesFact| {
            let mut there = places.iter().filter(|p| p.0 == fact.patchset);
            let list = there.find_map(|p| shown.iter().find(|(l, _)| l.id == p.1))?;
            Some((&list.0, fact))
        };
        Ok(facts.into_iter().filter_map(first).collect())
    }

    /// The patchset that a number leads to in a list, following aliases.
    pub async fn find_patchset(
        &self,
        list: ListId,
        number: i64,
    ) -> Result<Option<i64>, StoreError> {
        let text = "select pl.patchset from patchset_list pl where pl.list = $1 and (pl.patchset = $2 or pl.patchset = \
             (select patchset from patchset_alias where old = $2))";
        let row: Option<(i64,)> = self
            .fetch_one(text, vec![list.0.into(), number.into()])
            .await?;
        Ok(row.map(|r| r.0))
    }

    /// The version with that label: (series, facts, reason, cover, patches, comments).
    pub async fn load_version(
        &self,
        patchset: i64,
        label: &str,
    ) -> Result<Option<Version>, StoreError> {
        let text = "select s.id, s.reason, s.cover, s.base_commit from series s where s.patchset = $1 and s.label = $2";
        let row: Option<(i64, String, Option<i64>, Option<String>)> = self
            .fetch_one(text, vec![patchset.into(), label.into()])
            .await?;
        let Some((series, reason, cover, base_commit)) = row else {
            return Ok(None);
        };
        let text = "select number, mail, taken_over, case when hand = 1 then state end from patch where series = $1 order by number";
        let patches: Vec<(i64, i64, i64, Option<i64>)> =
            self.fetch(text, vec![series.into()]).await?;
        let comments: Vec<(i64, i64)> = self
            .fetch(
                "select mail, target from comment where series = $1",
                vec![series.into()],
            )
            .await?;
        Ok(Some(Version {
            series,
            reason,
            base_commit,
            cover: cover.map(MailId),
            states: patches.iter().filter_map(|p| Some((p.0, p.3?))).collect(),
            patches: patches
                .into_iter()
                .map(|(n, m, t, _)| (n, MailId(m), t == 1))
                .collect(),
            comments: comments
                .into_iter()
                .map(|(m, t)| (MailId(m), MailId(t)))
                .collect(),
        }))
    }

    /// All versions of a patchset as facts, oldest first.
    pub async fn load_versions(&self, patchset: i64) -> Result<Vec<SeriesFact>, StoreError> {
        let columns = columns();
        let text = format!(
            "select {columns}, s.anchor from series s join patchset ps on ps.id = s.patchset left join application a on a.series = s.id \
             where s.patchset = ? order by s.position"
        );
        Ok(self
            .fetch::<FactTuple>(text, vec![patchset.into()])
            .await?
            .into_iter()
            .map(fact)
            .collect())
    }

    /// The patchset of a list whose series has this anchor: (patchset, label, title).
    pub async fn find_claimed(
        &self,
        list: ListId,
        anchor: MailId,
    ) -> Result<Option<(i64, String, String)>, StoreError> {
        let text = "select s.patchset, s.label, s.title from series s join patchset_list pl on pl.patchset = s.patchset and pl.list = $1 \
             where s.anchor = $2";
        self.fetch_one(text, vec![list.0.into(), anchor.0.into()])
            .await
    }

    /// Series of a list that claim to be versions of a patchset, the newest 20: (patchset, label, title, submitter).
    pub async fn load_claims(
        &self,
        list: ListId,
        patchset: i64,
    ) -> Result<Vec<(i64, String, String, String)>, StoreError> {
        let text = "select c.patchset, c.label, c.title, c.submitter from series s join series c on c.claims = s.anchor \
             join patchset_list pl on pl.patchset = c.patchset and pl.list = $1 \
             where s.patchset = $2 order by c.id desc limit 20";
        self.fetch(text, vec![list.0.into(), patchset.into()]).await
    }

    /// Which of these patchsets stand in a list.
    pub async fn find_in_list(
        &self,
        list: ListId,
        patchsets: &[i64],
    ) -> Result<HashSet<i64>, StoreError> {
        if patchsets.is_empty() {
            return Ok(HashSet::new());
        }
        let text = format!(
            "select patchset from patchset_list where list = ? and patchset in ({})",
            marks(patchsets.len())
        );
        let ids = patchsets.iter().map(|p| Bind::from(*p));
        let binds = std::iter::once(Bind::from(list.0)).chain(ids).collect();
        let rows: Vec<(i64,)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(|r| r.0).collect())
    }

    /// The lists in which these patchsets stand: (patchset, list).
    pub async fn find_lists_of(&self, patchsets: &[i64]) -> Result<Vec<(i64, ListId)>, StoreError> {
        if patchsets.is_empty() {
            return Ok(Vec::new());
        }
        let text = format!(
            "select patchset, list from patchset_list where patchset in ({}) order by patchset, list",
            marks(patchsets.len())
        );
        let binds = patchsets.iter().map(|p| Bind::from(*p)).collect();
        let rows: Vec<(i64, i64)> = self.fetch(text, binds).await?;
        Ok(rows.into_iter().map(|(p, l)| (p, ListId(l))).collect())
    }

    /// What came of applying a series.
    pub async fn find_application(
        &self,
        series: i64,
    ) -> Result<Option<ApplicationRow>, StoreError> {
        type Row = (
            String,
            Option<String>,
            Option<String>,
            Option<String>,
            String,
            Option<String>,
            Option<i64>,
            Option<String>,
            Option<i64>,
            String,
            Option<i64>,
            Option<i64>,
            Option<String>,
        );
        let text = "select a.outcome, r.name, r.branch, a.base, a.why, a.ref_name, a.patch, a.file, a.hunk, a.detail, \
             o.id, o.patchset, o.label from application a left join repo r on r.id = a.repo left join series o on o.id = a.on_series where a.series = $1";
        let row: Option<Row> = self.fetch_one(text, vec![series.into()]).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let (outcome, name, branch, base, why, ref_name, patch, file, hunk, detail, on, set, label) =
            row;
        let on_series = on.zip(set).zip(label);
        let on_series = on_series.map(|((on, set), label)| (SeriesId(on), set, label));
        let text = "select commit_id from application_commit where series = $1 order by number";
        let commits: Vec<(String,)> = self.fetch(text, vec![series.into()]).await?;
        let commits = commits.into_iter().map(|c| c.0).collect();
        Ok(Some(ApplicationRow {
            outcome,
            repo: name.zip(branch),
            base,
            why,
            on_series,
            ref_name,
            patch,
            file,
            hunk,
            detail,
            commits,
        }))
    }
}
