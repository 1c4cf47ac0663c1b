//! `series move|split|merge|cut|version|state`: what a person decides, as events that every recomputation replays.

use anyhow::{Context, Result, bail, ensure};

use super::args;
use crate::patchset::Correction;
use crate::pipeline::Ctx;
use crate::store::{NewCorrection, VersionAnchor};
use crate::types::{ListId, MailId, MessageId, PatchsetId, RealmId};

/// Notes a decision, groups anew, and says what changed.
pub async fn correct(ctx: &Ctx, wish: args::Series) -> Result<()> {
    let Some((realm, correction)) = read(ctx, wish).await? else {
        return Ok(());
    };
    let recorded = ctx.correct(realm, correction).await?;
    match recorded.differences.is_empty() {
        true => println!("noted; nothing changes by it"),
        false => recorded.differences.iter().for_each(|l| println!("{l}")),
    }
    Ok(())
}

/// What to record; `None` for wishes that are no correction.
async fn read(ctx: &Ctx, wish: args::Series) -> Result<Option<(RealmId, NewCorrection)>> {
    let mut finder = Finder { ctx, list: None };
    let found = match wish {
        args::Series::Move { mail, to, place } => {
            finder.settle(place).await?;
            let (mail, to) = (finder.mail(&mail).await?, finder.mail(&to).await?);
            finder.name("move", mail, vec![to], to.0.to_string())?
        }
        args::Series::Split { mails, place } => {
            finder.settle(place).await?;
            let mut all = Vec::new();
            for mail in &mails {
                all.push(finder.mail(mail).await?);
            }
            let others = all.split_off(1);
            let rows: Vec<String> = others.iter().map(|m| m.0.to_string()).collect();
            finder.name("split", all[0], others, rows.join(" "))?
        }
        args::Series::Merge { one, other, place } => {
            finder.settle(place).await?;
            let (one, other) = (finder.series(&one).await?, finder.series(&other).await?);
            finder.name("merge", one, vec![other], other.0.to_string())?
        }
        args::Series::Cut { mail, from, place } => {
            finder.settle(place).await?;
            let child = finder.mail(&mail).await?;
            let parent = match from {
                Some(from) => finder.mail(&from).await?,
                None => {
                    let parent = ctx.store.find_parent(child.0).await?;
                    let parent =
                        parent.with_context(|| format!("{mail} answers no mail that is here"))?;
                    (parent, child.1)
                }
            };
            finder.name("cut", child, vec![parent], parent.0.to_string())?
        }
        args::Series::Version {
            series,
            version,
            place,
        } => {
            finder.settle(place).await?;
            let mail = finder.series(&series).await?;
            if Correction::parse("version", mail.0, &version).is_none() {
                bail!("{version:?} is no version; write 3, or 5.1");
            }
            finder.name("version", mail, vec![], version)?
        }
        args::Series::State {
            series,
            state,
            patch,
            version,
            place,
        } => {
            finder.settle(place).await?;
            let state = (state as i64).to_string();
            let version = version.as_deref();
            match (patch, version) {
                (Some(number), _) => {
                    let found = finder.version(&series, version).await?;
                    let mail = finder.patch(found, number).await?;
                    finder.name("patch state", mail, vec![], state)?
                }
                (None, Some(_)) => {
                    let found = finder.version(&series, version).await?;
                    finder.name("state", (found.anchor, found.realm), vec![], state)?
                }
                (None, None) => {
                    let mail = finder.series(&series).await?;
                    finder.name("state", mail, vec![], state)?
                }
            }
        }
        args::Series::Ls { .. }
        | args::Series::Show { .. }
        | args::Series::Mbox { .. }
        | args::Series::Apply { .. }
        | args::Series::RangeDiff { .. } => return Ok(None),
    };
    Ok(Some(found))
}

type Found = (MailId, RealmId);

struct Finder<'a> {
    ctx: &'a Ctx,
    list: Option<ListId>,
}

impl Finder<'_> {
    async fn settle(&mut self, place: args::Place) -> Result<()> {
        if let Some(name) = place.list {
            self.list = Some(super::find_list(self.ctx, &name).await?.id);
        }
        Ok(())
    }

    /// The mail of that Message-ID; where several carry it, the one that was filed first.
    async fn mail(&self, text: &str) -> Result<Found> {
        let id = MessageId::parse(text).with_context(|| format!("{text:?} is no Message-ID"))?;
        let found = self.ctx.store.find_mails_named(&id, self.list).await?;
        let first = found.first().copied().with_context(|| {
            format!("there is no mail {id} here; a mail's page shows its Message-ID")
        })?;
        if found.iter().any(|(_, realm)| *realm != first.1) {
            bail!("lists that know nothing of each other have a mail {id}; say which with --list");
        }
        Ok(first)
    }

    /// The mail that stands for the newest version of the patchset of that number, or the mail of that Message-ID.
    async fn series(&self, text: &str) -> Result<Found> {
        if text.parse::<i64>().is_err() {
            return self.mail(text).await;
        }
        let found = self.version(text, None).await?;
        Ok((found.anchor, found.realm))
    }

    /// The version of that label, or the newest, of the patchset of that number; or the one that the mail of that Message-ID is in.
    async fn version(&self, text: &str, label: Option<&str>) -> Result<VersionAnchor> {
        let Ok(number) = text.parse() else {
            ensure!(
                label.is_none(),
                "--version goes with the number of a patchset; a Message-ID names a version by itself"
            );
            let (mail, _) = self.mail(text).await?;
            let found = self.ctx.store.find_anchor_of(mail).await?;
            return found
                .with_context(|| format!("{text} is no patch or cover letter of a series"));
        };
        let all = self.ctx.store.load_anchors(PatchsetId(number)).await?;
        ensure!(
            !all.is_empty(),
            "there is no patchset {number}; `patchpost series ls` shows all"
        );
        let label = label.map(|l| l.strip_prefix('v').unwrap_or(l));
        let wanted = |v: &VersionAnchor| label.map_or(v.newest, |l| v.label == l);
        all.into_iter().find(wanted).with_context(|| {
            let label = label.unwrap_or_default();
            format!("there is no version {label} of patchset {number}; `patchpost series show {number}` shows all")
        })
    }

    /// The patch of that number in a version.
    async fn patch(&self, version: VersionAnchor, number: i64) -> Result<Found> {
        let all = self.ctx.store.load_patch_mails(version.series).await?;
        let found = all.iter().find(|(n, _)| *n == number);
        let Some((_, mail)) = found else {
            let known: Vec<String> = all.iter().map(|(n, _)| n.to_string()).collect();
            bail!(
                "v{} has no patch {number} here; it has: {}",
                version.label,
                known.join(", ")
            );
        };
        Ok((*mail, version.realm))
    }

    fn name(
        &self,
        kind: &'static str,
        mail: Found,
        others: Vec<Found>,
        detail: String,
    ) -> Result<(RealmId, NewCorrection)> {
        if others.iter().any(|(_, realm)| *realm != mail.1) {
            bail!("these mails stand in lists that know nothing of each other");
        }
        let actor = super::landing::user();
        let others = others.into_iter().map(|(mail, _)| mail).collect();
        let new = NewCorrection {
            kind,
            mail: mail.0,
            others,
            detail,
            actor,
        };
        Ok((mail.1, new))
    }
}
