//! Three-way merge of texts by lines, as git does it without conflict style: changes that overlap or touch are a conflict
//! unless both sides say the same (`xdl_merge()` at its level "zealous").

use std::ops::Range;

/// Lines of the base that a side replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Lines of the base.
    pub base: Range<usize>,
    /// Lines of the side that stand there instead.
    pub side: Range<usize>,
}

/// Where both sides changed the same lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clash {
    /// First such line of our side, from 1.
    pub line: usize,
}

/// One part of the result that is not our side's text, or a clash.
#[derive(Debug, Clone)]
struct Part {
    from: From,
    ours: Range<usize>,
    theirs: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Ours,
    Theirs,
    Clash,
}

/// The lines of a text, each with its line end.
pub fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|b| *b == b'\n').collect()
}

/// Merges two sides of one base. `our_changes` and `their_changes` lead from the base to each side, in order.
pub fn merge(
    ours: &[&[u8]],
    theirs: &[&[u8]],
    our_changes: &[Change],
    their_changes: &[Change],
) -> Result<Vec<u8>, Clash> {
    let parts = align(ours, theirs, our_changes, their_changes);
    let mut out = Vec::new();
    let mut next = 0;
    for part in parts {
        match part.from {
            From::Ours => {}
            From::Theirs => {
                ours[next..part.ours.start]
                    .iter()
                    .for_each(|l| out.extend_from_slice(l));
                theirs[part.theirs]
                    .iter()
                    .for_each(|l| out.extend_from_slice(l));
                next = part.ours.end;
            }
            From::Clash if same(&ours[part.ours.clone()], &theirs[part.theirs]) => {}
            From::Clash => {
                return Err(Clash {
                    line: part.ours.start + 1,
                });
            }
        }
    }
    ours[next..].iter().for_each(|l| out.extend_from_slice(l));
    Ok(out)
}

/// Both sides wrote the same: no clash. Where both wrote nothing, git keeps the clash.
fn same(ours: &[&[u8]], theirs: &[&[u8]]) -> bool {
    !ours.is_empty() && ours == theirs
}

fn align(
    ours: &[&[u8]],
    theirs: &[&[u8]],
    our_changes: &[Change],
    their_changes: &[Change],
) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut a, mut b) = (
        our_changes.iter().peekable(),
        their_changes.iter().peekable(),
    );
    // How far the lines of each side are from those of the base, after the changes so far.
    let (mut our_shift, mut their_shift) = (0isize, 0isize);
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (None, None) => return parts,
            (Some(x), y) if y.is_none_or(|y| x.base.end < y.base.start) => {
                let theirs = shifted(&x.base, their_shift);
                append(&mut parts, From::Ours, x.side.clone(), theirs);
                our_shift = shift_after(x);
                a.next();
            }
            (x, Some(y)) if x.is_none_or(|x| y.base.end < x.base.start) => {
                let ours = shifted(&y.base, our_shift);
                append(&mut parts, From::Theirs, ours, y.side.clone());
                their_shift = shift_after(y);
                b.next();
            }
            (Some(x), Some(y)) => {
                let equal = x.base == y.base && ours[x.side.clone()] == theirs[y.side.clone()];
                if !equal {
                    let start = x.base.start.min(y.base.start);
                    let end = x.base.end.max(y.base.end);
                    let our_range = widened(x, start, end);
                    let their_range = widened(y, start, end);
                    append(&mut parts, From::Clash, our_range, their_range);
                }
                let (our_end, their_end) = (x.base.end, y.base.end);
                if our_end >= their_end {
                    their_shift = shift_after(y);
                    b.next();
                }
                if their_end >= our_end {
                    our_shift = shift_after(x);
                    a.next();
                }
            }
            (Some(_), None) | (None, Some(_)) => {
                unreachable!("the guards take a side that is alone")
            }
        }
    }
}

/// The lines of a side that stand where `start..end` of the base was, as far as one change tells. A side that dropped lines before its
/// change has none so far up: these belong to the clash before, which this one then continues (git's `xdl_append_merge` as well takes
/// nothing but the end of such a part).
fn widened(change: &Change, start: usize, end: usize) -> Range<usize> {
    let above = change.base.start - start;
    change.side.start.saturating_sub(above)..change.side.end + (end - change.base.end)
}

fn shift_after(change: &Change) -> isize {
    change.side.end.cast_signed() - change.base.end.cast_signed()
}

fn shifted(range: &Range<usize>, by: isize) -> Range<usize> {
    range.start.saturating_add_signed(by)..range.end.saturating_add_signed(by)
}

/// Adds a part; one that touches the part before becomes one with it, and a clash if they are of two sides.
fn append(parts: &mut Vec<Part>, from: From, ours: Range<usize>, theirs: Range<usize>) {
    if let Some(last) = parts.last_mut()
        && (ours.start <= last.ours.end || theirs.start <= last.theirs.end)
    {
        if last.from != from {
            last.from = From::Clash;
        }
        last.ours.end = ours.end;
        last.theirs.end = theirs.end;
        return;
    }
    parts.push(Part { from, ours, theirs });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes between two texts whose lines are all different: common lines by equality.
    fn changes(base: &[&[u8]], side: &[&[u8]]) -> Vec<Change> {
        let mut out: Vec<Change> = Vec::new();
        let (mut i, mut j) = (0, 0);
        while i < base.len() || j < side.len() {
            if i < base.len() && j < side.len() && base[i] == side[j] {
                (i, j) = (i + 1, j + 1);
                continue;
            }
            let (from_i, from_j) = (i, j);
            while i < base.len() && !side[j..].contains(&base[i]) {
                i += 1;
            }
            while j < side.len() && !base[i..].contains(&side[j]) {
                j += 1;
            }
            out.push(Change {
                base: from_i..i,
                side: from_j..j,
            });
        }
        out
    }

    #[track_caller]
    fn check(base: &str, ours: &str, theirs: &str, expected: Result<&str, usize>) {
        let text = |s: &str| s.chars().map(|c| format!("{c}\n")).collect::<String>();
        let (base, ours, theirs) = (text(base), text(ours), text(theirs));
        let (b, o, t) = (
            lines(base.as_bytes()),
            lines(ours.as_bytes()),
            lines(theirs.as_bytes()),
        );
        let merged = merge(&o, &t, &changes(&b, &o), &changes(&b, &t));
        let merged = merged.map(|m| String::from_utf8_lossy(&m).replace('\n', ""));
        assert_eq!(
            merged.as_deref().map_err(|c| c.line),
            expected,
            "{base:?} {ours:?} {theirs:?}"
        );
    }

    #[test]
    fn changes_apart_go_together() {
        check("abcdef", "aBcdef", "abcdEf", Ok("aBcdEf"));
        check("abcdef", "xabcdef", "abcdefy", Ok("xabcdefy"));
        check("abcdef", "acdef", "abcde", Ok("acde"));
        check("abcdef", "abcdef", "abXdef", Ok("abXdef"));
        check("abcdef", "abXdef", "abcdef", Ok("abXdef"));
    }

    #[test]
    fn the_same_change_on_both_sides_is_one() {
        check("abcdef", "abXdef", "abXdef", Ok("abXdef"));
        check("abcdef", "abXdEf", "abXdef", Ok("abXdEf"));
        check("abcdef", "abdef", "abdef", Ok("abdef"));
    }

    #[test]
    fn changes_that_overlap_or_touch_clash() {
        check("abcdef", "abXdef", "abYdef", Err(3));
        check("abcdef", "abXdef", "abcYef", Err(3));
        check("abcdef", "abxcdef", "abycdef", Err(3));
        check("abcdef", "abef", "abcXef", Err(3));
    }

    #[test]
    fn one_side_changes_all_and_the_other_drops_here_and_there() {
        let base: Vec<String> = (0..12).map(|n| format!("{n}\n")).collect();
        let base: Vec<&[u8]> = base.iter().map(|l| l.as_bytes()).collect();
        let theirs: Vec<&[u8]> = [0, 6, 7, 9, 10, 11].map(|n: usize| base[n]).to_vec();
        for ours in [vec![], vec![b"x\n".as_slice()], vec![b"x\n", b"y\n"]] {
            let (a, b) = (changes(&base, &ours), changes(&base, &theirs));
            assert!(merge(&ours, &theirs, &a, &b).is_err());
            assert!(merge(&theirs, &ours, &b, &a).is_err());
        }
    }
}
