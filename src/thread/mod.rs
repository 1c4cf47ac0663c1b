//! Where a message stands among the messages of its thread.
//!
//! Pure. The tree is JWZ's without grouping by subject; loops are impossible, ghosts are shown only where something
//! hangs below them, siblings go by sane date. No recursion: the depth of a thread is a stranger's choice.

use std::collections::HashMap;

use crate::types::{MessageId, Timestamp};

/// A message of a thread.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub id: MessageId,
    /// Nearest ancestor first.
    pub parents: Vec<MessageId>,
    /// The Date field.
    pub date: Option<Timestamp>,
    /// Arrival.
    pub arrived: Timestamp,
    /// Its number, the last tie-breaker.
    pub number: i64,
}

/// A place in the tree, in the order of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Index of the row; `None` for a ghost.
    pub row: Option<usize>,
    /// Its name.
    pub id: MessageId,
    /// 0 for roots.
    pub depth: u32,
}

/// The moment a message is sorted by: its date if that is sane, else its arrival.
///
/// Sane is 1990 up to two days after arrival: clocks run ahead, time zones are wrong, drafts lie about.
pub fn effective_date(date: Option<Timestamp>, arrived: Timestamp) -> Timestamp {
    const YEAR_1990: Timestamp = Timestamp::from_secs(631_152_000);
    date.filter(|d| *d >= YEAR_1990 && *d <= arrived.plus_secs(2 * 86_400))
        .unwrap_or(arrived)
}

/// The thread's tree, flattened in reading order. Every row appears exactly once, for any input.
pub fn tree(rows: &[Row]) -> Vec<Branch> {
    let mut places: Vec<(MessageId, Vec<usize>)> = Vec::new();
    let mut by_id: HashMap<MessageId, usize> = HashMap::new();
    let place = |id: &MessageId,
                 places: &mut Vec<(MessageId, Vec<usize>)>,
                 by_id: &mut HashMap<MessageId, usize>| {
        *by_id.entry(id.clone()).or_insert_with(|| {
            places.push((id.clone(), Vec::new()));
            places.len() - 1
        })
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let key = |row: usize| {
        (
            effective_date(rows[row].date, rows[row].arrived),
            rows[row].number,
            row,
        )
    };
    order.sort_by_key(|row| key(*row));
    for row in &order {
        let at = place(&rows[*row].id, &mut places, &mut by_id);
        places[at].1.push(*row);
    }
    let mut parent: Vec<Option<usize>> = vec![None; places.len()];
    for row in &order {
        let child = by_id[&rows[*row].id];
        for name in rows[*row].parents.iter().take(64) {
            let above = place(name, &mut places, &mut by_id);
            parent.resize(places.len(), None);
            if parent[child].is_none() && !reaches(&parent, above, child) {
                parent[child] = Some(above);
            }
        }
        // References tell how ancestors hang together, nearest first; they fill gaps and never overrule.
        for pair in rows[*row].parents.windows(2).take(63) {
            let (low, high) = (by_id[&pair[0]], by_id[&pair[1]]);
            if parent[low].is_none()
                && places[low].1.is_empty()
                && low != high
                && !reaches(&parent, high, low)
            {
                parent[low] = Some(high);
            }
        }
    }
    flatten(rows, &places, &parent)
}

/// Whether `goal` is `from` or above it.
fn reaches(parent: &[Option<usize>], from: usize, goal: usize) -> bool {
    let mut at = Some(from);
    while let Some(place) = at {
        if place == goal {
            return true;
        }
        at = parent[place];
    }
    false
}

fn flatten(
    rows: &[Row],
    places: &[(MessageId, Vec<usize>)],
    parent: &[Option<usize>],
) -> Vec<Branch> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); places.len()];
    let mut roots = Vec::new();
    for (at, above) in parent.iter().enumerate() {
        match above {
            Some(above) => children[*above].push(at),
            None => roots.push(at),
        }
    }
    // The earliest mail at or below each place: ghosts are sorted by it, empty ones have none.
    let mut earliest: Vec<Option<(Timestamp, i64)>> = places
        .iter()
        .map(|(_, own)| {
            own.iter()
                .map(|r| {
                    (
                        effective_date(rows[*r].date, rows[*r].arrived),
                        rows[*r].number,
                    )
                })
                .min()
        })
        .collect();
    let bottom_up = bottom_up(&roots, &children);
    for at in &bottom_up {
        if places[*at].1.is_empty() {
            earliest[*at] = children[*at].iter().filter_map(|c| earliest[*c]).min();
        }
    }
    let sorted = |mut list: Vec<usize>| {
        list.retain(|at| earliest[*at].is_some());
        list.sort_by(|a, b| (earliest[*a], &places[*a].0).cmp(&(earliest[*b], &places[*b].0)));
        list
    };
    let mut out = Vec::new();
    let mut stack: Vec<(usize, u32)> = sorted(roots).into_iter().rev().map(|at| (at, 0)).collect();
    while let Some((at, depth)) = stack.pop() {
        let (id, own) = &places[at];
        let below = sorted(std::mem::take(&mut children[at]));
        // A ghost at the top with a single child says nothing.
        let silent = own.is_empty() && depth == 0 && below.len() == 1;
        if own.is_empty() && !silent {
            out.push(Branch {
                row: None,
                id: id.clone(),
                depth,
            });
        }
        out.extend(own.iter().map(|row| Branch {
            row: Some(*row),
            id: id.clone(),
            depth,
        }));
        let next = if silent { depth } else { depth + 1 };
        stack.extend(below.into_iter().rev().map(|child| (child, next)));
    }
    out
}

fn bottom_up(roots: &[usize], children: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut stack: Vec<usize> = roots.to_vec();
    while let Some(at) = stack.pop() {
        order.push(at);
        stack.extend(&children[at]);
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> MessageId {
        MessageId::parse(text).expect("an id")
    }

    fn row(name: &str, parents: &str, minute: i64) -> Row {
        let at = Timestamp::from_secs(1_700_000_000 + minute * 60);
        let parents = parents.split_whitespace().map(id).collect();
        Row {
            id: id(name),
            parents,
            date: Some(at),
            arrived: at,
            number: minute,
        }
    }

    #[track_caller]
    fn check(rows: &[Row], expected: &str) {
        let show = |b: &Branch| {
            format!(
                "{}{}{}",
                ".".repeat(b.depth as usize),
                b.id,
                if b.row.is_none() { "?" } else { "" }
            )
        };
        assert_eq!(
            tree(rows).iter().map(show).collect::<Vec<_>>().join(" "),
            expected
        );
    }

    #[test]
    fn replies_hang_below_what_they_answer_in_order_of_date() {
        check(
            &[
                row("b", "a", 2),
                row("a", "", 1),
                row("d", "b a", 4),
                row("c", "a", 3),
            ],
            "a .b ..d .c",
        );
    }

    #[test]
    fn ghosts_show_only_where_they_hold_something_together() {
        check(&[row("b", "g", 1), row("c", "g", 2)], "g? .b .c");
        check(&[row("b", "g", 1)], "b");
        check(&[row("a", "", 0), row("c", "g a", 2)], "a .g? ..c");
    }

    #[test]
    fn mails_that_answer_each_other_do_not_loop() {
        check(&[row("a", "b", 1), row("b", "a", 2)], "b .a");
        check(&[row("a", "a", 1)], "a");
    }

    #[test]
    fn absurd_dates_do_not_move_a_mail() {
        let mut late = row("b", "a", 1);
        late.date = Some(Timestamp::from_secs(4_000_000_000));
        check(&[row("a", "", 0), late, row("c", "a", 2)], "a .b .c");
    }

    #[test]
    fn two_mails_of_one_name_are_siblings() {
        let rows = [row("a", "", 0), row("a", "", 1)];
        check(&rows, "a a");
    }

    proptest! {
        #[test]
        fn every_mail_appears_once_whatever_the_order(
            links in proptest::collection::vec((0usize..12, proptest::collection::vec(0usize..12, 0..4)), 1..12),
            seed in any::<u64>(),
        ) {
            let rows: Vec<Row> = links.iter().enumerate().map(|(i, (name, parents))| {
                let parents: Vec<String> = parents.iter().map(|p| format!("m{p}")).collect();
                row(&format!("m{name}"), &parents.join(" "), i as i64)
            }).collect();
            let show = |rows: &[Row]| tree(rows).into_iter().map(|b| (b.row.map(|r| rows[r].number), b.id, b.depth)).collect::<Vec<_>>();
            let expected = show(&rows);
            prop_assert_eq!(expected.iter().filter(|(n, ..)| n.is_some()).count(), rows.len());
            let mut shuffled = rows.clone();
            shuffled.sort_by_key(|r| (r.number as u64).wrapping_mul(seed | 1).rotate_left(17));
            prop_assert_eq!(show(&shuffled), expected);
        }
    }

    #[test]
    fn ten_thousand_levels_are_no_trouble() {
        let rows: Vec<Row> = (0..10_000)
            .map(|i| {
                row(
                    &format!("m{i}"),
                    &if i == 0 {
                        String::new()
                    } else {
                        format!("m{}", i - 1)
                    },
                    i,
                )
            })
            .collect();
        assert_eq!(tree(&rows).last().map(|b| b.depth), Some(9_999));
    }
}
