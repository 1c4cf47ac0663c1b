//! The Date field as git reads it: leniently, token by token (git-commit(1), "DATE FORMATS").
//!
//! One rule is left out because it needs the clock: git takes `11/12/2026` for December while November is still to come.

use std::fmt;

/// An author's date: seconds since 1970 and the zone, as a commit keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorDate {
    /// Seconds since 1970-01-01 00:00 UTC; never negative.
    pub secs: i64,
    /// Minutes east of UTC.
    pub zone: i32,
}

impl fmt::Display for AuthorDate {
    /// `1700000000 +0100`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.zone < 0 { '-' } else { '+' };
        let minutes = self.zone.unsigned_abs();
        write!(
            f,
            "{} {sign}{:02}{:02}",
            self.secs,
            minutes / 60,
            minutes % 60
        )
    }
}

const MONTHS: [&[u8]; 12] = [
    b"January",
    b"February",
    b"March",
    b"April",
    b"May",
    b"June",
    b"July",
    b"August",
    b"September",
    b"October",
    b"November",
    b"December",
];
const WEEKDAYS: [&[u8]; 7] = [
    b"Sunday",
    b"Monday",
    b"Tuesday",
    b"Wednesday",
    b"Thursday",
    b"Friday",
    b"Saturday",
];
/// Zone names that git knows, with hours east of UTC, summer time counted in.
const ZONES: [(&[u8], i32); 44] = [
    (b"IDLW", -12),
    (b"NT", -11),
    (b"CAT", -10),
    (b"HST", -10),
    (b"HDT", -9),
    (b"YST", -9),
    (b"YDT", -8),
    (b"PST", -8),
    (b"PDT", -7),
    (b"MST", -7),
    (b"MDT", -6),
    (b"CST", -6),
    (b"CDT", -5),
    (b"EST", -5),
    (b"EDT", -4),
    (b"AST", -3),
    (b"ADT", -2),
    (b"WAT", -1),
    (b"GMT", 0),
    (b"UTC", 0),
    (b"Z", 0),
    (b"WET", 0),
    (b"BST", 1),
    (b"CET", 1),
    (b"MET", 1),
    (b"MEWT", 1),
    (b"MEST", 2),
    (b"CEST", 2),
    (b"MESZ", 2),
    (b"FWT", 1),
    (b"FST", 2),
    (b"EET", 2),
    (b"EEST", 3),
    (b"WAST", 7),
    (b"WADT", 8),
    (b"CCT", 8),
    (b"JST", 9),
    (b"EAST", 10),
    (b"EADT", 11),
    (b"GST", 10),
    (b"NZT", 12),
    (b"NZST", 12),
    (b"NZDT", 13),
    (b"IDLE", 12),
];

/// Reads a Date value; `None` if there is nothing that makes a date, or one before 1970 or after 2099.
pub(super) fn parse(text: &[u8]) -> Option<AuthorDate> {
    let end = text.iter().position(|b| matches!(b, 0 | b'\n'));
    let text = &text[..end.unwrap_or(text.len())];
    if let Some(date) = text.strip_prefix(b"@").and_then(parse_raw) {
        return Some(date);
    }
    let mut clock = Clock::default();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let read = match rest[0] {
            c if c.is_ascii_alphabetic() => clock.word(rest),
            c if c.is_ascii_digit() => clock.number(rest),
            b'-' | b'+' if digit_at(rest, 1) && clock.hour.is_some() => clock.zone_number(rest),
            _ => 1,
        };
        at += read.max(1);
    }
    let secs = clock.seconds()?;
    let zone = clock.zone.unwrap_or(0);
    let secs = if clock.is_utc {
        secs
    } else {
        secs - i64::from(zone) * 60
    };
    (secs >= 0).then_some(AuthorDate { secs, zone })
}

/// `@1700000000 +0100`, as git writes dates itself.
fn parse_raw(text: &[u8]) -> Option<AuthorDate> {
    let (secs, digits) = integer(text);
    let [b' ', sign @ (b'+' | b'-'), zone @ ..] = &text[digits..] else {
        return None;
    };
    let (value, length) = integer(zone);
    if digits == 0 || length != 4 || zone.len() != 4 {
        return None;
    }
    let minutes = i32::try_from(value / 100 * 60 + value % 100).ok()?;
    let zone = if *sign == b'-' { -minutes } else { minutes };
    Some(AuthorDate { secs, zone })
}

/// What has been found so far; months count from 0, years from 0 too.
#[derive(Default)]
struct Clock {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    hour: Option<i64>,
    minute: Option<i64>,
    second: Option<i64>,
    zone: Option<i32>,
    /// The number was seconds since 1970: a zone moves nothing.
    is_utc: bool,
}

impl Clock {
    fn is_blank(&self) -> bool {
        let parts = [
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
        ];
        parts.iter().all(Option::is_none)
    }

    /// A word: month, day of the week, zone, AM, PM. How many bytes were read.
    fn word(&mut self, text: &[u8]) -> usize {
        for (month, name) in (0..).zip(MONTHS) {
            let read = same_word(text, name);
            if read >= 3 {
                self.month = Some(month);
                return read;
            }
        }
        if let Some(read) = WEEKDAYS
            .iter()
            .map(|n| same_word(text, n))
            .find(|n| *n >= 3)
        {
            return read;
        }
        for (name, hours) in ZONES {
            let read = same_word(text, name);
            if read >= 3 || read == name.len() {
                self.zone = self.zone.or(Some(hours * 60));
                return read;
            }
        }
        for (half, hours) in [(b"PM", 12), (b"AM", 0)] {
            if same_word(text, half) == 2 {
                // Without an hour yet git counts from -1.
                self.hour = Some(self.hour.unwrap_or(-1) % 12 + hours).filter(|h| *h >= 0);
                return 2;
            }
        }
        // ISO 8601: the time follows a T.
        if text[0] == b'T' && digit_at(text, 1) && self.hour.is_none() {
            (self.minute, self.second) = (Some(0), Some(0));
            return 1;
        }
        text.iter().take_while(|b| b.is_ascii_alphabetic()).count()
    }

    /// A number, and what is joined to it. How many bytes were read.
    fn number(&mut self, text: &[u8]) -> usize {
        let (value, length) = integer(text);
        if value >= 100_000_000 && self.is_blank() && self.set_epoch(value) {
            return length;
        }
        if let Some(mark @ (b':' | b'.' | b'/' | b'-')) = text.get(length)
            && digit_at(text, length + 1)
            && let Some(read) = self.joined_numbers(text, value, length, *mark)
        {
            return read;
        }
        match length {
            8 => {
                self.set_date(Some(value / 10_000), value % 10_000 / 100, value % 100);
                return length;
            }
            6 => {
                let fits = self.set_time(value / 10_000, value % 10_000 / 100, value % 100);
                let fraction = fits && text.get(length) == Some(&b'.');
                return if fraction {
                    length + 1 + integer(&text[length + 1..]).1
                } else {
                    length
                };
            }
            _ => {}
        }
        if self.hour.is_none() && self.minute == Some(0) && self.second == Some(0) {
            let (hour, minute) = if length == 4 {
                (value / 100, value % 100)
            } else {
                (value, 0)
            };
            if matches!(length, 2 | 4) && self.set_time(hour, minute, 0) {
                return length;
            }
            (self.minute, self.second) = (None, None);
        }
        self.lone_number(value, length);
        length
    }

    /// A number by itself: year, zone, day, month, in git's order of preference.
    fn lone_number(&mut self, value: i64, length: usize) {
        if length == 4 {
            if value <= 1400 && self.zone.is_none() {
                self.zone = i32::try_from(value / 100 * 60 + value % 100).ok();
            } else if (1901..2100).contains(&value) {
                self.year = Some(value);
            }
        } else if length > 2 {
            // Long numbers mean nothing.
        } else if (1..32).contains(&value) && self.day.is_none() {
            self.day = Some(value);
        } else if length == 2 && self.year.is_none() && value < 10 && self.day.is_some() {
            self.year = Some(value + 2000);
        } else if length == 2 && self.year.is_none() && value >= 70 {
            self.year = Some(value + 1900);
        } else if (1..13).contains(&value) && self.month.is_none() {
            self.month = Some(value - 1);
        }
    }

    /// Two or three numbers with the same mark between them: a time or a date.
    fn joined_numbers(
        &mut self,
        text: &[u8],
        first: i64,
        length: usize,
        mark: u8,
    ) -> Option<usize> {
        let (second, more) = integer(&text[length + 1..]);
        let mut end = length + 1 + more;
        let mut third = None;
        if text.get(end) == Some(&mark) && digit_at(text, end + 1) {
            let (value, more) = integer(&text[end + 1..]);
            third = Some(value);
            end += 1 + more;
        }
        if mark == b':' {
            if !self.set_time(first, second, third.unwrap_or(0)) {
                return None;
            }
            let dated = self.year.is_some() && self.month.is_some() && self.day.is_some();
            if dated && text.get(end) == Some(&b'.') && digit_at(text, end + 1) {
                end += 1 + integer(&text[end + 1..]).1;
            }
            return Some(end);
        }
        let last = third.unwrap_or(-1);
        let found = (first > 70
            && (self.set_date(Some(first), second, last)
                || self.set_date(Some(first), last, second)))
            || (mark != b'.' && self.set_date(third, first, second))
            || self.set_date(third, second, first)
            || (mark == b'.' && self.set_date(third, first, second));
        found.then_some(end)
    }

    /// Sets a date that can be; without a year only month and day.
    fn set_date(&mut self, year: Option<i64>, month: i64, day: i64) -> bool {
        if !(1..13).contains(&month) || !(1..32).contains(&day) {
            return false;
        }
        let full = match year {
            None => None,
            Some(year @ 1970..2100) => Some(year),
            Some(year @ 71..100) => Some(year + 1900),
            Some(year) if year < 38 => Some(year + 2000),
            Some(_) => return false,
        };
        (self.month, self.day) = (Some(month - 1), Some(day));
        self.year = full.or(self.year);
        true
    }

    fn set_time(&mut self, hour: i64, minute: i64, second: i64) -> bool {
        let fits = hour <= 24 && minute < 60 && second <= 60;
        if fits {
            (self.hour, self.minute, self.second) = (Some(hour), Some(minute), Some(second));
        }
        fits
    }

    fn set_epoch(&mut self, secs: i64) -> bool {
        let Some(date) = chrono::DateTime::from_timestamp(secs, 0) else {
            return false;
        };
        use chrono::{Datelike, Timelike};
        self.year = Some(i64::from(date.year()));
        self.month = Some(i64::from(date.month0()));
        self.day = Some(i64::from(date.day()));
        self.hour = Some(i64::from(date.hour()));
        self.minute = Some(i64::from(date.minute()));
        self.second = Some(i64::from(date.second()));
        self.is_utc = true;
        true
    }

    /// `+0100`, `+01:00`, `+01`; anything else is read over.
    fn zone_number(&mut self, text: &[u8]) -> usize {
        let (value, length) = integer(&text[1..]);
        let mut end = 1 + length;
        let (hours, minutes) = match length {
            4 => (value / 100, value % 100),
            2 if text.get(end) == Some(&b':') => {
                let (minutes, more) = integer(&text[end + 1..]);
                end += 1 + more;
                (value, if end == 6 { minutes } else { 99 })
            }
            2 => (value, 0),
            _ => (value, 99),
        };
        if minutes < 60 && hours < 24 {
            let east = i32::try_from(hours * 60 + minutes).unwrap_or(0);
            self.zone = Some(if text[0] == b'-' { -east } else { east });
        }
        end
    }

    /// Seconds since 1970 of the calendar time, zone not looked at.
    fn seconds(&self) -> Option<i64> {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let years = self.year.filter(|y| (1970..2100).contains(y))? - 1970;
        let month = self.month?;
        // Git counts a missing day as the one before the last of the month before.
        let mut day = self.day.unwrap_or(-1);
        if month < 2 || (years + 2) % 4 != 0 {
            day -= 1;
        }
        let before = BEFORE.get(usize::try_from(month).ok()?)?;
        let days = years * 365 + (years + 1) / 4 + before + day;
        Some(days * 86_400 + self.hour? * 3_600 + self.minute? * 60 + self.second?)
    }
}

/// How far `text` and `name` agree, in any case; 0 if the word in the text goes on differently.
fn same_word(text: &[u8], name: &[u8]) -> usize {
    for (at, byte) in text.iter().enumerate() {
        if name.get(at).is_some_and(|n| n.eq_ignore_ascii_case(byte)) {
            continue;
        }
        return if byte.is_ascii_alphanumeric() { 0 } else { at };
    }
    text.len()
}

fn digit_at(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_digit)
}

/// The number at the start (huge ones are cut to what no rule takes) and its length in bytes.
fn integer(text: &[u8]) -> (i64, usize) {
    let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = text[..length].iter().fold(0i64, |n, d| {
        n.saturating_mul(10).saturating_add(i64::from(d - b'0'))
    });
    (value, length)
}
