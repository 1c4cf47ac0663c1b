//! `member show` and `member enable`: how an address stands, what came back of its copies, and giving it its copies again.

use anyhow::{Result, bail};

use super::output::{Table, print_json};
use super::pasteable;
use crate::list::score::{self, State};
use crate::pipeline::Ctx;
use crate::store::{BounceRow, ListRow, MemberRow, StandingRow, state_word};
use crate::types::{Address, Timestamp};

/// Bounces that are shown at most.
const SHOWN: i64 = 200;

/// `patchpost member show`
pub async fn show(ctx: &Ctx, list: &ListRow, address: &str, json: bool) -> Result<()> {
    let address = address.parse::<Address>()?.key();
    let member = ctx.store.find_member_by_address(list.id, &address).await?;
    let standing = ctx.store.find_standing(&address).await?;
    let bounces = ctx.store.load_bounces(list.id, &address, SHOWN).await?;
    if member.is_none() && bounces.is_empty() {
        bail!("{address} is no member of list {}", list.name);
    }
    match json {
        true => print_json(&value(
            &address,
            member.as_ref(),
            standing.as_ref(),
            &bounces,
        )),
        false => {
            print(&address, member.as_ref(), standing.as_ref(), &bounces);
            Ok(())
        }
    }
}

fn value(
    address: &str,
    member: Option<&MemberRow>,
    standing: Option<&StandingRow>,
    bounces: &[BounceRow],
) -> serde_json::Value {
    let standing = standing.map(|s| s.standing);
    serde_json::json!({
        "address": address,
        "member": member.is_some(),
        "mail": member.is_some_and(|m| m.mail),
        "since": member.map(|m| m.created.rfc3339()),
        "state": state_word(standing.map_or(State::Fine, |s| s.state)),
        "score": standing.map_or(0.0, |s| points(s.halves)),
        "days": standing.map_or(0, |s| s.days),
        "warnings": standing.filter(|s| s.state == State::Disabled).map_or(0, |s| s.told),
        "bounces": bounces,
    })
}

#[allow(clippy::cast_precision_loss)]
fn points(halves: i64) -> f64 {
    halves as f64 / 2.0
}

fn print(
    address: &str,
    member: Option<&MemberRow>,
    standing: Option<&StandingRow>,
    bounces: &[BounceRow],
) {
    match member {
        Some(member) => println!("{address}  member since {}", member.created.human()),
        None => println!("{address}  no member any more"),
    }
    let standing = standing.map(|s| s.standing);
    let state = standing.map_or(State::Fine, |s| s.state);
    let (score, days) = standing.map_or((0.0, 0), |s| (points(s.halves), s.days));
    let since = standing.map(|s| s.since.human()).unwrap_or_default();
    println!(
        "{}",
        match state {
            _ if member.is_some_and(|m| !m.mail) && state != State::Disabled => pasteable(
                "paused: gets no copies; `patchpost member set LIST ADDRESS --mail on` ends it"
            ),
            State::Fine => format!(
                "gets copies; score {score} of {}, on {days} of {} days",
                points(score::LIMIT_HALVES),
                score::LIMIT_DAYS
            ),
            State::Probed => format!("gets copies; a probe is on its way since {since}"),
            State::Disabled => pasteable(&format!(
                "disabled by bounces since {since}; `patchpost member enable {address}` gives it copies again"
            )),
        }
    );
    let mut table = Table::new(["WHEN", "POSTING", "CLASS", "CODE", "THE SERVER SAID"]);
    for b in bounces {
        let class = match b.storm {
            true => format!("{}, in a storm", b.class),
            false => b.class.clone(),
        };
        table.row([
            &Timestamp(b.arrived).human(),
            &b.number.to_string(),
            &class,
            &b.code,
            &b.text,
        ]);
    }
    table.print("nothing came back");
}

/// `patchpost member enable`
pub async fn enable(ctx: &Ctx, addresses: &[String]) -> Result<()> {
    for address in addresses {
        let address = address.parse::<Address>()?.key();
        let word = match ctx.enable_address(&address, crate::store::now()).await? {
            true => "gets copies again, and its points are forgiven",
            false => "was not kept from anything",
        };
        println!("{address} {word}");
    }
    Ok(())
}
