//! `held`: mail that a person looks at first.

use anyhow::{Result, bail};

use super::args::{self, Which};
use super::output::{Table, count, print, print_json};
use crate::list::rules;
use crate::mail;
use crate::patchset::attached_patch;
use crate::pipeline::{Ctx, HeldFilter};
use crate::store::{Fate, HeldRow, PostedMail, RecallWish, Removal};
use crate::types::{ListId, MessageId, ReceiptId, Timestamp};

/// `patchpost held …`
pub async fn held(ctx: &Ctx, wish: args::Held) -> Result<()> {
    let now = ctx.store.time().await?;
    match wish {
        args::Held::Ls { list, json } => {
            let list = match &list {
                Some(name) => Some(super::find_list(ctx, name).await?.id),
                None => None,
            };
            let all = ctx.load_held(list).await?;
            if json.json {
                return print_json(&all);
            }
            let mut table = Table::new(["ID", "LIST", "ARRIVED", "FROM", "SUBJECT", "HELD AS"]);
            for h in &all {
                let when = Timestamp(h.arrived).human();
                let id = h.id.to_string();
                table.row([&id, &h.list, &when, &h.address, &h.subject, &h.reason]);
            }
            table.print("nothing is held");
        }
        args::Held::Show { id, json } => show(ctx, id, json.json).await?,
        args::Held::Accept { which, person } => {
            let wanted = find(ctx, &which).await?;
            let done = ctx
                .accept_held(wanted, person, "by the operator", now)
                .await?;
            say("accepted", &done);
        }
        args::Held::Reject { which, words } => {
            let words = words.trim().to_owned();
            if words.is_empty() || words.len() > 2_000 {
                bail!("--words has 1 to 2,000 characters: what the author is to read");
            }
            let wanted = find(ctx, &which).await?;
            let fate = Fate::Reject(words);
            let done = ctx
                .refuse_held(wanted, fate, "by the operator", now)
                .await?;
            say("rejected", &done);
        }
        args::Held::Discard { which, purge } => discard(ctx, &which, purge, now).await?,
    }
    Ok(())
}

async fn discard(ctx: &Ctx, which: &Which, purge: bool, now: Timestamp) -> Result<()> {
    let wanted = match find(ctx, which).await {
        // It went, but the command broke off before the files were written anew.
        Err(error) if purge && !ctx.store.load_scrubs().await?.is_empty() => {
            eprintln!("{error:#}");
            scrub_owed(ctx).await?;
            println!("{CLEARED}");
            return Ok(());
        }
        found => found?,
    };
    let fate = match purge {
        true => Fate::Purge,
        false => Fate::Discard,
    };
    let done = ctx
        .refuse_held(wanted, fate, "by the operator", now)
        .await?;
    if purge {
        scrub_owed(ctx).await?;
    }
    println!("discarded: {}", gone(&done, purge));
    Ok(())
}

/// How many mails of which lists are gone, and what is left of them.
fn gone(done: &[HeldRow], purge: bool) -> String {
    let mails = count(done.len() as u64, "mail");
    let mut lists: Vec<&str> = done.iter().map(|h| h.list.as_str()).collect();
    lists.sort_unstable();
    lists.dedup();
    let (Some(first), lists) = (lists.first(), lists.join(", ")) else {
        return mails;
    };
    let (their, them) = match done.len() {
        1 => ("its", "it"),
        _ => ("their", "them"),
    };
    let left = match purge {
        true => format!("nothing of {them} is left"),
        false => super::pasteable(&format!(
            "{their} text is deleted at once and cannot be got back, also by the same mail sent again; `patchpost events {first}` names {them}"
        )),
    };
    format!("{mails} of {lists}; {left}")
}

const CLEARED: &str = "what was removed before is gone from the database's files, too";

/// Writes the database's files anew where something was purged.
async fn scrub_owed(ctx: &Ctx) -> Result<()> {
    for realm in ctx.store.load_scrubs().await? {
        ctx.scrub(realm).await?;
    }
    Ok(())
}

/// `patchpost recall …`
pub async fn recall(ctx: &Ctx, wish: args::Recall) -> Result<()> {
    let list = match &wish.list {
        Some(name) => Some(super::find_list(ctx, name).await?.id),
        None => None,
    };
    let mut wanted = Vec::new();
    for text in &wish.ids {
        wanted.push(find_posted(ctx, text, list, wish.author.as_deref()).await?);
    }
    let mut gone = Vec::new();
    for mail in wanted {
        let how = RecallWish {
            how: Removal::Recall,
            ban: wish.ban,
            everywhere: false,
            why: wish.why.clone(),
            actor: "by the operator".to_owned(),
        };
        let now = ctx.store.time().await?;
        let Some(done) = ctx.recall(mail.mail, how, now).await? else {
            gone.push(mail.message_id);
            continue;
        };
        let (subject, address) = (line(&mail.subject), line(&mail.address));
        let lists = done.lists.join(", ");
        println!("recalled from {lists}: {subject} by {address}");
        println!(
            "copies: {} stopped, {} under way, {} sent before",
            done.stopped, done.under_way, done.sent
        );
        if !done.banned.is_empty() {
            println!("banned: {}", done.banned.join(", "));
        }
    }
    clear_aftermath(ctx).await?;
    if !gone.is_empty() {
        bail!(
            "removed before, there is nothing to recall: {}",
            line(&gone.join(", "))
        );
    }
    Ok(())
}

/// Refs go and groups are made anew before a command says that it is done.
async fn clear_aftermath(ctx: &Ctx) -> Result<()> {
    crate::worker::drain(ctx, &["aftermath"]).await?;
    match ctx.store.find_parked("aftermath").await? {
        None => Ok(()),
        Some((id, problem)) => bail!(
            "the mail is off the lists, but refs or pages still have it: job {id} failed for good: {problem}; mend that, then: \
             `patchpost jobs --retry`"
        ),
    }
}

/// The one posted mail that is meant, or an error that says what there is.
async fn find_posted(
    ctx: &Ctx,
    text: &str,
    list: Option<ListId>,
    author: Option<&str>,
) -> Result<PostedMail> {
    let Some(id) = MessageId::parse(text) else {
        bail!("{text:?} is no Message-ID");
    };
    let mut found = ctx.find_posted(&id, list).await?;
    if let Some(author) = author {
        found.retain(|m| m.address.eq_ignore_ascii_case(author));
    }
    match found.as_slice() {
        [] => bail!("no mail {id} is posted; `patchpost held ls` shows what is held"),
        [one] => Ok(one.clone()),
        several => {
            let whose: Vec<String> = several.iter().map(|m| line(&m.address)).collect();
            bail!(
                "{} mails have the name {id}; say whose with --author, or which with --list: {}",
                several.len(),
                whose.join(", ")
            );
        }
    }
}

/// `patchpost remove …`
pub async fn remove(ctx: &Ctx, wish: args::Remove) -> Result<()> {
    let list = match &wish.list {
        Some(name) => Some(super::find_list(ctx, name).await?.id),
        None => None,
    };
    let owed = ctx.store.load_scrubs().await?;
    let mail = match find_posted(ctx, &wish.id, list, wish.author.as_deref()).await {
        // It went, but the command broke off before the files were written anew.
        Err(error) if wish.purge && !owed.is_empty() => {
            eprintln!("{error:#}");
            clear_aftermath(ctx).await?;
            scrub_owed(ctx).await?;
            println!("{CLEARED}");
            return Ok(());
        }
        found => found?,
    };
    let how = match wish.purge {
        true => Removal::Purge,
        false => Removal::Redact,
    };
    let wanted = RecallWish {
        how,
        ban: false,
        everywhere: wish.everywhere,
        why: wish.why,
        actor: "by the operator".to_owned(),
    };
    let now = ctx.store.time().await?;
    let done = ctx.recall(mail.mail, wanted, now).await?;
    clear_aftermath(ctx).await?;
    if how == Removal::Purge {
        scrub_owed(ctx).await?;
    }
    if let Some(done) = done {
        println!("removed from {}", done.lists.join(", "));
    }
    Ok(())
}

fn say(what: &str, done: &[HeldRow]) {
    for h in done {
        println!("{what}: {} from {}", line(&h.subject), line(&h.address));
    }
}

/// The held mails that are meant; an error if one of them is not held.
async fn find(ctx: &Ctx, which: &Which) -> Result<Vec<HeldRow>> {
    if let Some(list) = &which.list {
        let list = super::find_list(ctx, list).await?;
        let filter = HeldFilter {
            from: which.from.clone(),
            subject: which.subject.clone(),
            reason: which.reason.clone(),
        };
        if filter == HeldFilter::default() && !which.all {
            bail!("say which: --from, --subject, --reason, or --all");
        }
        let patterns = [&filter.from, &filter.subject, &filter.reason];
        for pattern in patterns.into_iter().flatten() {
            rules::check_pattern(pattern).map_err(anyhow::Error::msg)?;
        }
        return Ok(ctx.find_held(list.id, &filter).await?);
    }
    let mut all = Vec::new();
    for id in &which.ids {
        match ctx.store.find_held(*id).await? {
            Some(held) => all.push(held),
            None => bail!("no mail {id} is held; `patchpost held ls` shows those that are"),
        }
    }
    Ok(all)
}

async fn show(ctx: &Ctx, id: i64, json: bool) -> Result<()> {
    let Some(held) = ctx.store.find_held(id).await? else {
        bail!("no mail {id} is held; `patchpost held ls` shows those that are");
    };
    let receipts = ctx.store.load_receipts(&[ReceiptId(id)]).await?;
    let Some(receipt) = receipts.into_iter().next() else {
        bail!("mail {id} is held no longer: it was decided on just now");
    };
    let text = String::from_utf8_lossy(&receipt.bytes).into_owned();
    let series = ctx.with_series(vec![held.clone()]).await?;
    if json {
        let ids: Vec<i64> = series.iter().map(|h| h.id).collect();
        return print_json(&serde_json::json!({"held": held, "series": ids, "mail": text}));
    }
    println!(
        "{} for {}, arrived {}",
        held.id,
        held.list,
        Timestamp(held.arrived).human()
    );
    println!("held as: {}", line(&held.reason));
    if !held.verdict.is_empty() {
        println!("{}", line(&held.verdict));
    }
    if series.len() > 1 {
        println!("accepted together with it:");
        for other in series.iter().filter(|h| h.id != held.id) {
            println!("  {} {}", other.id, line(&other.subject));
        }
    }
    println!();
    // A stranger's bytes must not steer the terminal.
    print(&printable(&text))?;
    // Above it may stand in base64.
    let message = mail::parse(&receipt.bytes);
    let Some(patch) = attached_patch(&message) else {
        return Ok(());
    };
    println!("\nThe patch that is attached, decoded:\n");
    print(&printable(patch))
}

/// A stranger's words within one line.
fn line(text: &str) -> String {
    printable(&text.replace(['\n', '\t'], "\u{fffd}"))
}

fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_subject_steers_no_terminal_and_makes_no_line() {
        let subject = "hello\u{1b}[2J\naccepted: all is well\r\u{9b}1m";
        let shown = line(subject);
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert!(shown.starts_with("hello"), "{shown:?}");
        assert_eq!(printable("a\n\tb"), "a\n\tb", "a mail keeps its lines");
    }
}
