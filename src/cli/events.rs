//! `events`: what was noted about mail that was not archived.

use anyhow::Result;

use super::args;
use super::output::{Table, print_json};
use crate::pipeline::Ctx;
use crate::types::Timestamp;

/// Notes that are shown at most.
const SHOWN: i64 = 1_000;

/// `patchpost events`
pub async fn events(ctx: &Ctx, wish: args::Events) -> Result<()> {
    let list = match &wish.list {
        Some(name) => Some(super::find_list(ctx, name).await?.id),
        None => None,
    };
    let events = ctx.store.load_events(list, SHOWN).await?;
    if wish.json.json {
        return print_json(&events);
    }
    let mut table = Table::new(["WHEN", "LIST", "WHAT", "SENDER", "WHY"]);
    for e in &events {
        let sender = match e.actor.as_str() {
            "" => "<>",
            sender => sender,
        };
        let when = Timestamp(e.happened).human();
        table.row([&when, &e.list, &e.kind, sender, &e.detail]);
    }
    table.print("nothing was noted");
    Ok(())
}
