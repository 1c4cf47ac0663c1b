//! `queue`: what is owed by mail, seen and steered.

use anyhow::{Result, ensure};

use super::args::{Chosen, Queue};
use super::output::{Table, count, print_json};
use crate::pipeline::Ctx;
use crate::store::queue::{Choice, Steer};
use crate::types::Timestamp;

/// `patchpost queue`
pub async fn queue(ctx: &Ctx, wish: Queue) -> Result<()> {
    match wish {
        Queue::Ls {
            chosen,
            limit,
            json,
        } => {
            let choice = choose(ctx, &chosen).await?;
            let rows = ctx.store.load_queue(&choice, limit).await?;
            if json.json {
                return print_json(&rows);
            }
            let mut table = Table::new([
                "ID",
                "LIST",
                "TO",
                "MAIL",
                "STATE",
                "SINCE",
                "TRIES",
                "NEXT TRY",
                "LAST ANSWER",
            ]);
            let now = crate::store::now();
            for r in &rows {
                let what = match r.id.starts_with('c') {
                    true => format!("copy of {}", r.what),
                    false => format!("letter: {}", r.what),
                };
                let (tries, since) = (r.attempts.to_string(), Timestamp(r.since).human());
                let next = next_try(r.state, Timestamp(r.next), now);
                table.row([
                    &r.id, &r.list, &r.to, &what, r.state, &since, &tries, &next, &r.problem,
                ]);
            }
            table.print("nothing is owed");
            Ok(())
        }
        Queue::Show(json) => show(ctx, json.json).await,
        Queue::Retry(chosen) => steer(ctx, &chosen, Steer::Retry).await,
        Queue::Hold(chosen) => steer(ctx, &chosen, Steer::Hold).await,
        Queue::Drop(chosen) => steer(ctx, &chosen, Steer::Drop).await,
    }
}

async fn show(ctx: &Ctx, json: bool) -> Result<()> {
    let counts = ctx.store.count_queue().await?;
    if json {
        return print_json(&counts);
    }
    let mut table = Table::new(["LIST", "TO", "STATE", "MAILS", "NEXT TRY"]);
    let now = crate::store::now();
    for c in &counts {
        let mails = c.mails.to_string();
        let next = next_try(c.state, Timestamp(c.next), now);
        table.row([&c.list, &c.domain, c.state, &mails, &next]);
    }
    table.print("nothing is owed");
    Ok(())
}

/// When a mail is tried next, in words.
fn next_try(state: &str, next: Timestamp, now: Timestamp) -> String {
    match state {
        "due" if next > now => next.human(),
        "due" => "at its turn".to_owned(),
        "sending" => "now".to_owned(),
        "held" => "when it is let go".to_owned(),
        _ => "never".to_owned(),
    }
}

async fn steer(ctx: &Ctx, chosen: &Chosen, how: Steer) -> Result<()> {
    let any = !chosen.ids.is_empty()
        || chosen.list.is_some()
        || chosen.to.is_some()
        || chosen.state.is_some();
    ensure!(any, "say which: ids, --list, --to or --state");
    let choice = choose(ctx, chosen).await?;
    let done = ctx.steer_queue(choice, how, describe(chosen)).await?;
    ensure!(
        done > 0,
        "no owed mail is meant by that; `patchpost queue ls` shows all, and what is being sent stays"
    );
    eprintln!("{}: {}", how.done(), count(done, "mail"));
    Ok(())
}

/// The choice in words, for the note.
fn describe(chosen: &Chosen) -> String {
    let mut parts = chosen.ids.clone();
    parts.extend(chosen.list.iter().map(|l| format!("list {l}")));
    parts.extend(chosen.to.iter().map(|d| format!("to {d}")));
    parts.extend(chosen.state.iter().map(|s| format!("{s:?}")));
    parts.join(", ")
}

async fn choose(ctx: &Ctx, chosen: &Chosen) -> Result<Choice> {
    let list = match &chosen.list {
        Some(name) => Some(super::find_list(ctx, name).await?.id),
        None => None,
    };
    let ids = match chosen.ids.is_empty() {
        true => None,
        false => Some(Choice::parse_ids(&chosen.ids).map_err(anyhow::Error::msg)?),
    };
    Ok(Choice {
        ids,
        list,
        of_site: false,
        domain: chosen.to.as_ref().map(|d| d.to_lowercase()),
        state: chosen.state.map(|s| s.number()),
        recipient: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_due_has_a_next_try() {
        let check = |state, next, expected: &str| {
            let said = next_try(state, Timestamp::from_secs(next), Timestamp::from_secs(60));
            assert_eq!(said, expected, "{state} {next}");
        };
        check("due", 120, "1970-01-01 00:02 UTC");
        check("due", 60, "at its turn");
        check("sending", 120, "now");
        check("held", 120, "when it is let go");
        check("given-up", 0, "never");
    }
}
