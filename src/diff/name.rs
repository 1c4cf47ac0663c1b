//! File names in patches: quoting, prefixes, time stamps (`quote.c` and `apply.c` of git describe the same forms).

use std::borrow::Cow;

use super::path::squash_slashes;

/// Undoes C-style quoting; the text must begin with `"`. Returns the bytes and how much of the text was read.
///
/// `None` if the quote does not end or an escape is unknown.
pub(super) fn unquote(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        let byte = *text.get(at)?;
        at += 1;
        match byte {
            b'"' => return Some((out, at)),
            b'\n' => return None,
            b'\\' => {}
            _ => {
                out.push(byte);
                continue;
            }
        }
        let escape = *text.get(at)?;
        at += 1;
        out.push(match escape {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'"' => escape,
            b'0'..=b'3' => {
                let digits = text.get(at..at + 2)?;
                if !digits.iter().all(|d| (b'0'..=b'7').contains(d)) {
                    return None;
                }
                at += 2;
                let value = |d: u8| d - b'0';
                (value(escape) << 6) | (value(digits[0]) << 3) | value(digits[1])
            }
            _ => return None,
        });
    }
}

/// Undoes the quotes around names in a text: at its start and behind blanks. What is not quoted, or no text then, stays.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('"') {
        return text.into();
    }
    let (mut out, mut rest) = (String::new(), text);
    while let Some(character) = rest.chars().next() {
        let begins = character == '"' && (out.is_empty() || out.ends_with(' '));
        let name = unquote(rest.as_bytes()).filter(|_| begins);
        let name = name.and_then(|(name, read)| Some((String::from_utf8(name).ok()?, read)));
        let read = match name {
            Some((name, read)) => {
                out.push_str(&name);
                read
            }
            None => {
                out.push(character);
                character.len_utf8()
            }
        };
        rest = &rest[read..];
    }
    out.into()
}

/// `line` without its line end.
pub(super) fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Whether a `---` or `+++` name is `/dev/null`.
pub(super) fn is_dev_null(name: &[u8]) -> bool {
    name.strip_prefix(b"/dev/null")
        .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// What ends an unquoted name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The line end alone.
    Line,
    /// A tab, too.
    Tab,
}

/// The name at the start of `line` without its first `strip` components; `None` if it has no more than these.
pub(super) fn find(line: &[u8], strip: usize, end: End) -> Option<Vec<u8>> {
    if line.first() == Some(&b'"')
        && let Some(name) = find_quoted(line, strip)
    {
        return Some(name);
    }
    let line = content(line);
    // Any white space but blank and tab ends a name, as C's isspace() has it.
    let stop = line.iter().position(|b| match b {
        b'\t' => end == End::Tab,
        11..=13 => true,
        _ => false,
    });
    strip_components(&line[..stop.unwrap_or(line.len())], strip)
}

fn find_quoted(line: &[u8], strip: usize) -> Option<Vec<u8>> {
    let (name, _) = unquote(line)?;
    let mut rest = name.as_slice();
    for _ in 0..strip {
        rest = &rest[rest.iter().position(|b| *b == b'/')? + 1..];
    }
    Some(squash_slashes(rest))
}

fn strip_components(name: &[u8], strip: usize) -> Option<Vec<u8>> {
    let mut start = 0;
    for _ in 0..strip {
        start += name[start..].iter().position(|b| *b == b'/')? + 1;
    }
    (start < name.len()).then(|| squash_slashes(&name[start..]))
}

/// As [`find`], for diffs without git's header: a time stamp behind the name is left out. Of two names the shorter one is
/// taken where the longer one only adds to it (`file` and `file.orig`).
pub(super) fn find_traditional(line: &[u8], strip: usize, other: Option<&[u8]>) -> Option<Vec<u8>> {
    let found = find_dated(line, strip);
    let Some(other) = other else { return found };
    match found {
        Some(name) if name.len() > other.len() && name.starts_with(other) => Some(other.to_vec()),
        Some(name) => Some(name),
        None => Some(other.to_vec()),
    }
}

fn find_dated(line: &[u8], strip: usize) -> Option<Vec<u8>> {
    let stamp = time_stamp_length(content(line));
    if stamp == 0 || line.first() == Some(&b'"') {
        return find(line, strip, End::Tab);
    }
    let line = content(line);
    strip_components(&line[..line.len() - stamp], strip)
}

fn ends_with(line: &[u8], pattern: &[u8]) -> bool {
    // `0` stands for a digit, `+` for a sign.
    let Some(start) = line.len().checked_sub(pattern.len()) else {
        return false;
    };
    line[start..].iter().zip(pattern).all(|(b, p)| match p {
        b'0' => b.is_ascii_digit(),
        b'+' => matches!(b, b'+' | b'-'),
        _ => b == p,
    })
}

/// Length of ` 2010-07-05 19:41:17.620000023 -0500` and its shorter forms at the end of a line, with the blanks before it.
fn time_stamp_length(line: &[u8]) -> usize {
    if !line.last().is_some_and(u8::is_ascii_digit) {
        return 0;
    }
    let mut end = line.len();
    for zone in [&b" +0000"[..], b" +00:00"] {
        if ends_with(&line[..end], zone) {
            end -= zone.len();
            break;
        }
    }
    let digits = line[..end].iter().rev().take_while(|b| b.is_ascii_digit());
    let fraction = digits.count();
    if ends_with(&line[..end], b" 00:00:00") {
        end -= 9;
    } else if end > fraction && line[end - fraction - 1] == b'.' {
        let before = end - fraction - 1;
        if ends_with(&line[..before], b" 00:00:00") {
            end = before - 9;
        }
    }
    if ends_with(&line[..end], b"0000-00-00") {
        end -= 10;
    } else if ends_with(&line[..end], b"00-00-00") {
        end -= 8;
    } else {
        return 0;
    }
    match line[..end].last() {
        Some(b'\t') => line.len() - (end - 1),
        Some(b' ') => {
            let blanks = line[..end].iter().rev().take_while(|b| **b == b' ');
            line.len() - (end - blanks.count())
        }
        _ => 0,
    }
}

/// Whether a name line carries the time stamp by which GNU diff says "not there": the epoch, in any zone.
pub(super) fn has_epoch(line: &[u8]) -> bool {
    let line = content(line);
    let Some(tab) = line.iter().rposition(|b| *b == b'\t') else {
        return false;
    };
    let Ok(stamp) = std::str::from_utf8(&line[tab + 1..]) else {
        return false;
    };
    let (epoch_hour, rest) = if let Some(rest) = stamp.strip_prefix("1969-12-31 ") {
        (24, rest)
    } else if let Some(rest) = stamp.strip_prefix("1970-01-01 ") {
        (0, rest)
    } else {
        return false;
    };
    let Some((time, zone)) = rest.split_once(' ') else {
        return false;
    };
    let time = match time.split_once('.') {
        Some((time, fraction)) if !fraction.is_empty() && fraction.bytes().all(|b| b == b'0') => {
            time
        }
        Some(_) => return false,
        None => time,
    };
    if time.len() != 8 || !ends_with(time.as_bytes(), b"00:00:00") || !time.ends_with(":00") {
        return false;
    }
    let short = zone.replace(':', "");
    if short.len() != 5 || !ends_with(short.as_bytes(), b"+0000") {
        return false;
    }
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    let (hour, minute) = (number(&time[..2]), number(&time[3..5]));
    let offset = number(&short[1..3]) * 60 + number(&short[3..5]);
    let offset = if short.starts_with('-') {
        -offset
    } else {
        offset
    };
    hour * 60 + minute - offset == epoch_hour * 60
}

/// The one name that a `diff --git a/NAME b/NAME` line gives twice, without its first `strip` components.
///
/// `None` if the two differ, as with renames, whose names stand in lines of their own. `line` is what follows `diff --git `.
pub(super) fn from_git_header(line: &[u8], strip: usize) -> Option<Vec<u8>> {
    let line = content(line);
    if line.first() == Some(&b'"') {
        let (first, read) = unquote(line)?;
        let first = skip_prefix(&first, strip)?.to_vec();
        let blanks = line[read..].iter().take_while(|b| b.is_ascii_whitespace());
        let second = &line[read + blanks.count()..];
        let second = match second.first()? {
            b'"' => unquote(second)?.0,
            _ => second.to_vec(),
        };
        return (skip_prefix(&second, strip)? == first).then_some(first);
    }
    let name = skip_prefix(line, strip)?;
    if let Some(quote) = name.iter().position(|b| *b == b'"') {
        let (second, _) = unquote(&name[quote..])?;
        let second = skip_prefix(&second, strip)?;
        let first = &name[..quote];
        let same = first.len() > second.len()
            && first.starts_with(second)
            && first[second.len()].is_ascii_whitespace();
        return same.then(|| second.to_vec());
    }
    let mut separators = (0..name.len()).filter(|at| matches!(name[*at], b' ' | b'\t'));
    separators
        .find(|at| skip_prefix(&name[at + 1..], strip) == Some(&name[..*at]))
        .map(|at| name[..at].to_vec())
}

/// A name without its first components; `None` for absolute ones and for those that have no more.
fn skip_prefix(name: &[u8], strip: usize) -> Option<&[u8]> {
    if name.first() == Some(&b'/') {
        return None;
    }
    let mut rest = name;
    for _ in 0..strip {
        rest = &rest[rest.iter().position(|b| *b == b'/')? + 1..];
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: Option<Vec<u8>>) -> String {
        name.map_or_else(|| "-".into(), |n| String::from_utf8_lossy(&n).into_owned())
    }

    #[track_caller]
    fn header(line: &str, expected: &str) {
        let found = text(from_git_header(line.as_bytes(), 1));
        assert_eq!(found, expected, "line: {line}");
    }

    #[test]
    fn the_header_line_gives_a_name_only_if_it_stands_there_twice() {
        header("a/x.c b/x.c\n", "x.c");
        header("a/a b b/a b\n", "a b");
        header("a/a b/a b b/a b/a b\n", "a b/a b");
        header("a/x.c b/y.c\n", "-");
        header("\"a/\\303\\244\" \"b/\\303\\244\"\n", "ä");
        header("a/t \"b/t\"\n", "t");
        header("\"a/t\" b/t\n", "t");
        header("x.c x.c\n", "-");
        header("/a/x /b/x\n", "-");
    }

    #[track_caller]
    fn old(line: &str, expected: &str) {
        let found = text(find_traditional(line.as_bytes(), 1, None));
        assert_eq!(found, expected, "line: {line}");
    }

    #[test]
    fn time_stamps_are_no_part_of_a_name() {
        old("a/x.c\n", "x.c");
        old("a/x.c\t2010-07-05 19:41:17.620000023 -0500\n", "x.c");
        old("a/x y\t2010-07-05 19:41:17\n", "x y");
        old("a/x y   2010-07-05 19:41:17 +02:00\n", "x y");
        old("a/x 10-07-05\n", "x");
        old("a/x-2010\n", "x-2010");
        old("x.c\n", "-");
        old("a//b///c\n", "/b/c");
    }

    #[test]
    fn the_epoch_says_that_a_file_is_not_there() {
        for (line, expected) in [
            ("x\t1970-01-01 00:00:00.000000000 +0000\n", true),
            ("x\t1969-12-31 19:00:00 -0500\n", true),
            ("x\t1970-01-01 01:00:00 +01:00\n", true),
            ("x\t1970-01-01 01:00:00 +0000\n", false),
            ("x\t1970-01-01 00:00:01 +0000\n", false),
            ("x 1970-01-01 00:00:00 +0000\n", false),
        ] {
            assert_eq!(has_epoch(line.as_bytes()), expected, "line: {line}");
        }
    }

    #[test]
    fn quotes_that_do_not_end_and_unknown_escapes_are_no_names() {
        assert_eq!(unquote(b"\"a\\tb\" x"), Some((b"a\tb".to_vec(), 6)));
        assert_eq!(unquote(b"\"a"), None);
        assert_eq!(unquote(b"\"\\q\""), None);
        assert_eq!(unquote(b"\"\\477\""), None);
        assert_eq!(unquote(b"\"\\18\""), None);
    }
}
