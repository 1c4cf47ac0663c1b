//! Who gave which trailer to the patches of one version.

use std::collections::{HashMap, HashSet};

use super::{Bind, Reader, StoreError, marks};
use crate::diff::patch_id::{PatchId, patch_id};
use crate::mail::{self, mbox};
use crate::patchset::{
    Ack, Answer, Carried, FoldOptions, Recognised, Trailer, acks_for, carry_acks, fold, parse_tag,
};
use crate::types::{MailId, MessageId, Timestamp};
use crate::verdict::{Level, Verdict};

/// A patch with the trailers it carries and those that were given to it.
#[derive(Debug, Clone)]
pub struct AckedPatch {
    /// From 1.
    pub number: i64,
    /// Its mail.
    pub mail: MailId,
    /// Taken over from an older version by a partial reroll.
    pub taken_over: bool,
    /// When it arrived.
    pub arrived: Timestamp,
    /// How well its submitter is authenticated.
    pub level: Level,
    /// Its submitter is not who From says, for whom alone anything speaks: a field names him.
    pub by_field: bool,
    /// What its own message carries.
    pub own: Vec<Trailer>,
    /// What replies gave to it.
    pub acks: Vec<Ack>,
}

/// The patches of one version.
#[derive(Debug, Clone)]
pub struct AckedSeries {
    /// `2`, `3-r1`.
    pub label: String,
    /// By number.
    pub patches: Vec<AckedPatch>,
}

impl AckedSeries {
    /// A patch of it, given its mail's bytes, as a mail of an mbox for `git am`, trailers folded in; what git finds no patch
    /// in stays as it came.
    pub fn render(&self, patch: &AckedPatch, bytes: &[u8], options: &FoldOptions) -> Vec<u8> {
        let message = mail::parse(bytes);
        let version = self.label.split('-').next().unwrap_or_default();
        let reroll = parse_tag(&format!("[v{version}]")).version;
        let reroll = reroll.filter(|_| patch.taken_over);
        let folded = fold(bytes, &message, &patch.acks, reroll, patch.arrived, options);
        folded.unwrap_or_else(|_| {
            let mut out = Vec::new();
            mbox::write(&mut out, bytes).expect("a vector takes all");
            out
        })
    }
}

/// Number, mail, taken over, arrival, what was recognised, verdict.
type PatchRow = (i64, i64, i64, i64, String, String);

/// A patch of an earlier version.
#[derive(Clone)]
struct Earlier {
    label: String,
    mail: MailId,
    level: Level,
}

impl Reader {
    /// The version with that label, or the newest, of a patchset; an old number leads to the one it became.
    ///
    /// Patches taken over bring what was given to them, and what was given to the cover that they came with; those that are
    /// unchanged since an earlier version bring what was given to them alone, as in b4.
    pub async fn load_acked_series(
        &self,
        patchset: i64,
        label: Option<&str>,
    ) -> Result<Option<AckedSeries>, StoreError> {
        let alias = "select patchset from patchset_alias where old = $1";
        let row: Option<(i64,)> = self.fetch_one(alias, vec![patchset.into()]).await?;
        let patchset = row.map_or(patchset, |r| r.0);
        let which = match label {
            Some(_) => "s.label = $2",
            None => "s.id = (select newest from patchset where id = s.patchset) and $2 = ''",
        };
        let text = format!("select s.id, s.label from series s where s.patchset = $1 and {which}");
        let binds = vec![patchset.into(), label.unwrap_or_default().into()];
        let row: Option<(i64, String)> = self.fetch_one(text, binds).await?;
        let Some((series, label)) = row else {
            return Ok(None);
        };
        let text = "select p.number, p.mail, p.taken_over, m.arrived, m.recognised, m.verdict from patch p join mail m on m.id = p.mail \
             where p.series = $1 order by p.number";
        let rows: Vec<PatchRow> = self.fetch(text, vec![series.into()]).await?;
        let moved: Vec<i64> = rows.iter().filter(|r| r.2 == 1).map(|r| r.1).collect();
        let covers = self.load_covers(series, patchset, &moved).await?;
        let given = self.load_answers(patchset).await?;
        let earlier = self.load_earlier(series, &rows, &given).await?;
        let patch = |(number, mail, taken_over, arrived, json, verdict): PatchRow| {
            let level = Verdict::from_stored(&verdict).level;
            let facts = facts(&json);
            let level = facts.as_ref().map_or(level, |f| f.level(level));
            let by_field = facts.as_ref().is_some_and(|f| f.rewritten);
            let (mail, own) = (MailId(mail), facts.map_or(Vec::new(), |f| f.trailers));
            let acks = acks_for(mail, &[level], &own, &covers, &given);
            let before = earlier.get(&mail).into_iter().flatten();
            let before = before.map(|e| Carried {
                label: e.label.clone(),
                acks: acks_for(e.mail, &[level, e.level], &own, &[], &given),
            });
            let acks = carry_acks(acks, &own, before.collect());
            AckedPatch {
                number,
                mail,
                taken_over: taken_over == 1,
                by_field,
                arrived: Timestamp(arrived),
                level,
                acks,
                own,
            }
        };
        let patches = rows.into_iter().map(patch).collect();
        Ok(Some(AckedSeries { label, patches }))
    }

    /// For each patch of a series the same patch in earlier versions, oldest first, as far as answers gave it trailers.
    async fn load_earlier(
        &self,
        series: i64,
        patches: &[PatchRow],
        given: &[Answer],
    ) -> Result<HashMap<MailId, Vec<Earlier>>, StoreError> {
        let mut found: HashMap<MailId, Vec<Earlier>> = HashMap::new();
        let text = "select s.label, p.mail, m.verdict from series o join series s on s.patchset = o.patchset and s.position < o.position \
             join patch p on p.series = s.id and p.taken_over = 0 join mail m on m.id = p.mail where o.id = $1 order by s.position, p.number";
        type Row = (String, i64, String);
        let rows: Vec<Row> = match given.is_empty() {
            true => Vec::new(),
            false => self.fetch(text, vec![series.into()]).await?,
        };
        let earlier = rows.into_iter().map(|(label, mail, verdict)| Earlier {
            label,
            mail: MailId(mail),
            level: Verdict::from_stored(&verdict).level,
        });
        let here: Vec<MailId> = patches.iter().map(|p| MailId(p.1)).collect();
        let own: HashSet<MailId> = here.iter().copied().collect();
        let told = given.iter().filter(|a| !a.trailers.is_empty());
        let told: HashSet<MailId> = told.map(|a| a.target).collect();
        let acked = |e: &Earlier| !own.contains(&e.mail) && told.contains(&e.mail);
        let earlier: Vec<Earlier> = earlier.filter(acked).collect();
        if earlier.is_empty() {
            return Ok(found);
        }
        let mut mails = here.clone();
        mails.extend(earlier.iter().map(|e| e.mail));
        let texts = self.load_patch_texts(&mails).await?;
        let id = |mail: &MailId| texts.get(mail).and_then(|t| patch_id(t.as_bytes()));
        let mut same: HashMap<PatchId, Vec<MailId>> = HashMap::new();
        for mail in &here {
            let ids = id(mail).into_iter();
            ids.for_each(|id| same.entry(id).or_default().push(*mail));
        }
        for one in earlier {
            let patches = id(&one.mail).and_then(|id| same.get(&id));
            for mail in patches.into_iter().flatten() {
                found.entry(*mail).or_default().push(one.clone());
            }
        }
        Ok(found)
    }

    /// The name of the list that a mail was posted to first, public ones before others.
    pub async fn find_list_of(&self, mail: MailId) -> Result<Option<String>, StoreError> {
        let text = "select l.name from posting p join list l on l.id = p.list where p.mail = $1 order by l.realm, l.id limit 1";
        let row: Option<(String,)> = self.fetch_one(text, vec![mail.0.into()]).await?;
        Ok(row.map(|r| r.0))
    }

    /// The cover of a series, and those that the mails which it took over came with.
    async fn load_covers(
        &self,
        series: i64,
        patchset: i64,
        moved: &[i64],
    ) -> Result<Vec<MailId>, StoreError> {
        let mut all: Vec<(i64,)> = self
            .fetch(
                "select cover from series where id = $1 and cover is not null",
                vec![series.into()],
            )
            .await?;
        for chunk in moved.chunks(400) {
            let text = format!(
                "select distinct s.cover from series s join patch p on p.series = s.id where s.patchset = ? and s.cover is not null \
                 and p.taken_over = 0 and p.mail in ({})",
                marks(chunk.len())
            );
            let mails = chunk.iter().map(|m| Bind::from(*m));
            let binds = std::iter::once(Bind::from(patchset)).chain(mails).collect();
            all.extend(self.fetch::<(i64,)>(text, binds).await?);
        }
        Ok(all.into_iter().map(|r| MailId(r.0)).collect())
    }

    /// All that answers patches and covers of a patchset, oldest first.
    async fn load_answers(&self, patchset: i64) -> Result<Vec<Answer>, StoreError> {
        let text = "select c.mail, c.target, m.message_id, m.recognised, m.verdict from comment c join series s on s.id = c.series join mail m on m.id = c.mail \
             where s.patchset = $1 order by m.arrived, m.message_id, m.identity";
        let rows: Vec<(i64, i64, String, String, String)> =
            self.fetch(text, vec![patchset.into()]).await?;
        let answer =
            |(mail, target, message_id, json, verdict): (i64, i64, String, String, String)| {
                let (facts, message_id) = (facts(&json)?, MessageId::parse(&message_id)?);
                let level = facts.level(Verdict::from_stored(&verdict).level);
                Some(Answer {
                    mail: MailId(mail),
                    target: MailId(target),
                    message_id,
                    name: facts.submitter_name,
                    address: facts.submitter,
                    level,
                    trailers: facts.trailers,
                })
            };
        Ok(rows.into_iter().filter_map(answer).collect())
    }
}

fn facts(json: &str) -> Option<Recognised> {
    // A row that cannot be read was written by another version; `reclassify` writes it anew.
    serde_json::from_str(json).ok()
}
