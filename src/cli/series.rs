//! `series show` and `series mbox`.

use std::io::Write;

use anyhow::{Context, Result, bail, ensure};

use super::args;
use super::landing::check_signoff;
use super::output::unless_closed;
use crate::mail::{self, mbox};
use crate::patchset::FoldOptions;
use crate::pipeline::Ctx;
use crate::store::summary::{SeriesSummary, TipSummary};
use crate::store::{AckedPatch, AckedSeries};
use crate::types::PatchsetId;
use crate::view::url;

/// Series that are named as built on one.
const NEEDING: i64 = 200;

/// The versions of a patchset with the trailers of their patches and what is built on them, for `patchpost series show`.
pub async fn show(ctx: &Ctx, patchset: PatchsetId) -> Result<Vec<SeriesSummary>> {
    let mut all = ctx.store.load_patchset_summaries(patchset).await?;
    ctx.store.add_needing(&mut all, NEEDING).await?;
    for one in &mut all {
        let acked = ctx
            .store
            .load_acked_series(one.patchset, Some(&one.version))
            .await?;
        for patch in acked.iter().flat_map(|s| &s.patches) {
            let same = one.patches.iter_mut().find(|p| p.number == patch.number);
            same.into_iter().for_each(|p| p.add_trailers(patch));
        }
    }
    Ok(all)
}

/// The state of a version, and of patches that have another: `new (patch 2: rejected)`.
pub fn states(series: &SeriesSummary) -> String {
    let own = series.patches.iter().filter(|p| p.own_state);
    let own: Vec<String> = own
        .map(|p| format!("patch {}: {}", p.number, p.state))
        .collect();
    match own.is_empty() {
        true => series.state.to_owned(),
        false => format!("{} ({})", series.state, own.join(", ")),
    }
}

/// Each version with what became of it and its patches: why they are one series, whether they apply, at the tip too, and where they landed.
pub fn version_lines(all: &[SeriesSummary]) -> Vec<String> {
    let of = |s: &SeriesSummary| {
        let mut lines = vec![String::new(), format!("v{}: {}", s.version, outcome(s))];
        if let Some(tip) = &s.tip {
            lines.push(format!(
                "  at the tip, {}: {}",
                short(&tip.commit),
                at_tip(tip)
            ));
        }
        lines.push(format!("  one series: {}", s.reason));
        for patch in &s.patches {
            let own = match patch.own_state {
                true => format!(", {}", patch.state),
                false => String::new(),
            };
            let landed = patch.landed_in.iter();
            let landed: String = landed
                .map(|l| {
                    format!(
                        ", landed in {} {} as {}",
                        l.repo,
                        l.branch,
                        short(&l.commit)
                    )
                })
                .collect();
            let (number, subject, id) = (patch.number, &patch.subject, &patch.message_id);
            lines.push(format!("  {number}  {subject} <{id}>{own}{landed}"));
        }
        lines
    };
    let clean = |line: String| line.replace(char::is_control, "\u{fffd}");
    all.iter().flat_map(of).map(clean).collect()
}

/// What came of trying a version on its base, in words.
fn outcome(s: &SeriesSummary) -> String {
    let base = s.base.as_deref().map(short);
    match (s.complete, s.applies, base) {
        (false, ..) => "not all of its patches are here".to_owned(),
        (_, Some(true), Some(base)) => format!("applies on {base}"),
        (_, Some(false), Some(base)) => format!("does not apply on {base}: {}", s.detail),
        _ if !s.detail.is_empty() => s.detail.clone(),
        (_, Some(applies), None) if !applies => "does not apply".to_owned(),
        _ => "not tried".to_owned(),
    }
}

fn at_tip(tip: &TipSummary) -> String {
    let place = match (tip.patch, tip.file.as_deref(), tip.hunk) {
        (Some(patch), Some(file), Some(hunk)) => format!(" in {file} (patch {patch}, hunk {hunk})"),
        (Some(patch), Some(file), None) => format!(" in {file} (patch {patch})"),
        (Some(patch), None, _) => format!(" in patch {patch}"),
        _ => String::new(),
    };
    match tip.applies {
        true if tip.detail.is_empty() => "applies".to_owned(),
        true => tip.detail.clone(),
        false => format!("does not apply{place}: {}", tip.detail),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// What is built on versions, a line each: `v1 is needed by patchset 9 v2: Title`.
pub fn needing_lines(all: &[SeriesSummary]) -> Vec<String> {
    let of = |s: &SeriesSummary| {
        let (needed_by, version) = (s.needed_by.clone().unwrap_or_default(), s.version.clone());
        needed_by.into_iter().map(move |n| {
            let line = format!(
                "v{version} is needed by patchset {} v{}: {}",
                n.patchset, n.version, n.title
            );
            line.replace(char::is_control, "\u{fffd}")
        })
    };
    all.iter().flat_map(of).collect()
}

/// `patchpost series mbox`
pub async fn mbox(ctx: &Ctx, wish: args::SeriesMbox) -> Result<()> {
    let (number, label) = (wish.patchset, wish.version.as_deref());
    let label = label.map(|l| l.strip_prefix('v').unwrap_or(l));
    let Some(series) = ctx.store.load_acked_series(number, label).await? else {
        match label {
            Some(label) => bail!(
                "there is no version {label} of patchset {number}; `patchpost series show {number}` shows all"
            ),
            None => bail!("there is no patchset {number}; `patchpost series ls` shows all"),
        }
    };
    if !wish.incomplete {
        check_complete(ctx, number, &series).await?;
    }
    unless_closed(print_patches(ctx, &wish, &series).await)
}

/// Refuses a version with holes: `git am` would take half a series without a word.
async fn check_complete(ctx: &Ctx, patchset: i64, series: &AckedSeries) -> Result<()> {
    let versions = ctx.store.load_versions(patchset).await?;
    let fact = versions.iter().find(|v| v.label == series.label);
    let Some(fact) = fact.filter(|f| f.received < f.total) else {
        return Ok(());
    };
    bail!(
        "{} of {} patches of v{} are here, the others did not arrive yet; print these with --incomplete",
        fact.received,
        fact.total,
        fact.label
    );
}

async fn print_patches(ctx: &Ctx, wish: &args::SeriesMbox, series: &AckedSeries) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for patch in &series.patches {
        let bytes = super::bytes_of(ctx, patch.mail).await?;
        if wish.original {
            mbox::write(&mut out, &bytes)?;
            continue;
        }
        let options = options(ctx, wish, patch, &bytes).await?;
        out.write_all(&series.render(patch, &bytes, &options))?;
    }
    Ok(())
}

async fn options(
    ctx: &Ctx,
    wish: &args::SeriesMbox,
    patch: &AckedPatch,
    bytes: &[u8],
) -> Result<FoldOptions> {
    check_signoff(wish.signoff.as_deref())?;
    let source = match wish.link.as_deref() {
        Some("") => {
            let list = ctx.store.find_list_of(patch.mail).await?;
            let list = list.context("the mail is in no list any more")?;
            let id = url::message_id(&mail::parse(bytes).message_id);
            Some(("Link".to_owned(), format!("{}/{list}/{id}/", ctx.base_url)))
        }
        Some(mask) => {
            ensure!(
                mask.contains("%s"),
                "--link wants %s where the Message-ID goes"
            );
            Some(("Link".to_owned(), mask.to_owned()))
        }
        None => wish
            .message_id
            .then(|| ("Message-ID".to_owned(), "<%s>".to_owned())),
    };
    Ok(FoldOptions {
        trailers: !wish.no_trailers,
        signoff: wish.signoff.clone(),
        copy_cc: wish.copy_cc,
        source,
        order: wish.order.clone(),
        ignore: wish.ignore.clone(),
        sloppy: wish.sloppy,
    })
}
