//! `series apply`: shows the exact commits, then pushes them.

use anyhow::{Result, ensure};
use serde_json::json;

use super::args::SeriesApply;
use super::output::print_json;
use crate::patchset::{Ack, FoldOptions};
use crate::pipeline::{Ctx, LandWish, Plan, PlannedPatch};
use crate::types::PatchsetId;

/// Lands a series, or only says what that would be.
pub async fn apply(ctx: &Ctx, wish: SeriesApply) -> Result<()> {
    check_signoff(wish.signoff.as_deref())?;
    let version = wish.version.as_deref();
    let options = FoldOptions {
        signoff: wish.signoff.clone(),
        ..FoldOptions::default()
    };
    let landing = LandWish {
        patchset: PatchsetId(wish.patchset),
        version: version.map(|l| l.strip_prefix('v').unwrap_or(l).to_owned()),
        repo: wish.repo,
        branch: wish.branch,
        options,
    };
    let plan = ctx.plan_landing(&landing).await?;
    let mut shown = as_json(&plan, wish.signoff.as_deref());
    let done = format!(
        "{} of {} is at {}",
        plan.branch, plan.repo.name, plan.tips.1
    );
    if !wish.json.json {
        print!("{}", as_text(&plan, wish.signoff.as_deref()));
    }
    if !wish.dry_run {
        ctx.land_series(plan, &user()).await?;
    }
    if wish.json.json {
        shown["pushed"] = json!(!wish.dry_run);
        return print_json(&shown);
    }
    match wish.dry_run {
        true => println!("dry run: nothing was pushed"),
        false => println!("pushed: {done}"),
    }
    Ok(())
}

/// `Name <address>`, as it will stand in a commit.
pub fn check_signoff(who: Option<&str>) -> Result<()> {
    if let Some(who) = who {
        let fits = who.contains('@') && !who.chars().any(char::is_control);
        ensure!(fits, "--signoff wants \"Name <address>\", not {who:?}");
    }
    Ok(())
}

/// Who runs a command on the server's folder is one of its operators.
pub fn user() -> String {
    std::env::var("USER").unwrap_or_else(|_| "operator".to_owned())
}

/// The acks that are folded in, or those that are not.
fn acks(patch: &PlannedPatch, folded: bool) -> impl Iterator<Item = &Ack> {
    patch.acks.iter().filter(move |a| a.matches() == folded)
}

fn as_json(plan: &Plan, signoff: Option<&str>) -> serde_json::Value {
    let ack = |a: &Ack| {
        let trailer = a.trailer.to_string();
        json!({ "trailer": trailer, "sender": a.sender, "message_id": a.message_id.as_str() })
    };
    let patch = |p: &PlannedPatch| {
        let folded: Vec<_> = acks(p, true).map(ack).collect();
        let left_out: Vec<_> = acks(p, false).map(ack).collect();
        let commit = p.commit.as_ref();
        json!({
            "number": p.number, "commit": commit.map(|c| &c.id), "title": commit.map(|c| &c.title),
            "author": commit.map(|c| &c.author), "folded": folded, "left_out": left_out,
            "hidden_diff": p.hidden_diff, "authenticated": p.authenticated,
        })
    };
    json!({
        "patchset": plan.series.patchset.0, "version": plan.series.label, "repo": plan.repo.name, "branch": plan.branch,
        "old": plan.tips.0, "new": plan.tips.1, "committer": plan.committer, "signoff": signoff,
        "claims": plan.claims, "warnings": plan.warnings,
        "patches": plan.patches.iter().map(patch).collect::<Vec<_>>(), "diffstat": plan.stat(),
    })
}

fn as_text(plan: &Plan, signoff: Option<&str>) -> String {
    let series = &plan.series;
    let mut out = format!(
        "patchset {} v{} on {} of {}\n  old tip    {}\n  new tip    {}\n  committer  {}\n",
        series.patchset,
        series.label,
        plan.branch,
        plan.repo.name,
        plan.tips.0,
        plan.tips.1,
        plan.committer
    );
    if series.label != series.newest {
        out += &format!("  note       v{} is newer\n", series.newest);
    }
    let warnings = plan.warnings.iter();
    out.extend(warnings.map(|w| format!("  warning    {w}\n")));
    for patch in &plan.patches {
        let place = format!("{}/{}", patch.number, series.total);
        let Some(commit) = &patch.commit else {
            out += &format!("{place} is in the branch already\n");
            continue;
        };
        out += &format!("{place} {} {}\n", commit.id, commit.title);
        out += &format!("  author     {}\n", commit.author);
        if patch.hidden_diff {
            out += "  note       another part of the mail holds a diff, too: it is no part of the commit\n";
        }
        let line = |what: &str, a: &Ack| {
            let (sender, id) = (&a.sender, a.message_id.as_str());
            format!("  {what:<9}  {} (by {sender} in <{id}>)\n", a.trailer)
        };
        out.extend(acks(patch, true).map(|a| line("folded in", a)));
        out.extend(acks(patch, false).map(|a| line("left out", a)));
        if let Some(who) = signoff {
            out += &format!("  signed     Signed-off-by: {who}\n");
        }
    }
    out += plan.stat();
    // What strangers wrote must not speak to the terminal.
    out.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}
