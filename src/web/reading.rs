//! In which order the mails of a thread are read, and what stands beside one of them.

use std::collections::HashMap;

use super::message::MAX_THREAD;
use super::page::{Problem, mail_href};
use super::routes::App;
use crate::store::ListRow;
use crate::store::pages::{MailRow, ThreadLine};
use crate::thread::{self, Row};
use crate::types::MessageId;

/// Names of what mails answer, the nearest first, by row.
type Parents = HashMap<i64, Vec<MessageId>>;

/// What the mails of a thread answer.
pub async fn parents_of(app: &App, thread: i64) -> Result<Parents, Problem> {
    let mut parents = Parents::new();
    for (mail, parent) in app.store.load_parents(thread).await? {
        let named = parents.entry(mail).or_default();
        named.extend(MessageId::parse(&parent));
    }
    Ok(parents)
}

/// Mails of a thread in reading order, with their depths.
pub fn in_order(lines: &[ThreadLine], parents: &Parents) -> Vec<(usize, u32)> {
    let row = |line: &ThreadLine| {
        Some(Row {
            id: MessageId::parse(&line.message_id)?,
            parents: parents.get(&line.mail.0).cloned().unwrap_or_default(),
            date: line.date,
            arrived: line.arrived,
            number: line.number,
        })
    };
    let rows: Vec<Row> = lines.iter().filter_map(row).collect();
    let tree = thread::tree(&rows).into_iter();
    tree.filter_map(|b| b.row.map(|r| (r, b.depth))).collect()
}

/// A link and its words.
type Way = (String, &'static str);

/// Where a mail stands in its thread (`mail 3 of 18`), and the ways to what it answers, to the one before and the next; nothing of a
/// thread that has no other, or too many.
pub async fn beside(
    app: &App,
    list: &ListRow,
    mail: &MailRow,
) -> Result<(Option<String>, Vec<Way>), Problem> {
    let lines = app
        .store
        .load_thread_lines(list.id, mail.thread, MAX_THREAD);
    let lines = lines.await?;
    let all = lines.len();
    if all < 2 || all as i64 == MAX_THREAD {
        return Ok((None, Vec::new()));
    }
    let parents = parents_of(app, mail.thread).await?;
    let order = in_order(&lines, &parents);
    let is_it = |(at, _): &(usize, u32)| lines[*at].number == mail.number;
    let Some(place) = order.iter().position(is_it) else {
        return Ok((None, Vec::new()));
    };
    let href = |line: &ThreadLine| mail_href(&list.name, &line.message_id);
    let is_there = |id: &MessageId| lines.iter().find(|l| l.message_id == id.as_str());
    let named = parents.get(&mail.mail.0).into_iter().flatten();
    let parent = named.filter_map(is_there).next();
    let by_place = |at: Option<usize>| order.get(at?).map(|(at, _)| &lines[*at]);
    let ways = [
        (parent, "what it answers"),
        (by_place(place.checked_sub(1)), "previous"),
        (by_place(Some(place + 1)), "next"),
    ];
    let ways = ways.into_iter();
    let ways = ways.filter_map(|(line, words)| Some((href(line?), words)));
    Ok((Some(format!("mail {} of {all}", place + 1)), ways.collect()))
}
