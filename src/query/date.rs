//! Dates in searches: days, seconds, and a few words that are relative to now.

use chrono::{Days, Months, NaiveDate};

use super::{QueryError, Range};
use crate::types::Timestamp;

/// Reads `A..B`, `A..`, `..B` or one date, which means that day or second. Both ends are included.
pub fn parse_range(text: &str, now: Timestamp) -> Result<Range, QueryError> {
    let (from, until) = match text.split_once("..") {
        Some(ends) => ends,
        None => (text, text),
    };
    let end = |text: &str| match text {
        "" => Ok(None),
        _ => parse_moment(text, now).map(Some).ok_or_else(|| {
            QueryError(format!(
                "{text:?} is not a date; write 20260131, 20260131235959 or 2.weeks.ago"
            ))
        }),
    };
    Ok(Range {
        from: end(from)?.map(|(at, _)| at),
        until: end(until)?.map(|(at, length)| at.plus_secs(length)),
    })
}

const DAY: i64 = 86_400;

/// A moment and how many seconds it stands for.
fn parse_moment(text: &str, now: Timestamp) -> Option<(Timestamp, i64)> {
    let bare: String = text
        .chars()
        .filter(|c| !matches!(c, '-' | ':' | 'T' | 'Z'))
        .collect();
    if bare.bytes().all(|b| b.is_ascii_digit()) {
        return match bare.len() {
            8 => Some((day(&bare)?, DAY)),
            14 => {
                let part = |at: usize| bare.get(at..at + 2)?.parse::<i64>().ok();
                let seconds = part(8)? * 3600 + part(10)? * 60 + part(12)?;
                Some((day(&bare[..8])?.plus_secs(seconds), 1))
            }
            9..=11 => Some((Timestamp::from_secs(bare.parse().ok()?), 1)),
            _ => None,
        };
    }
    let words: Vec<String> = text.split(['.', '_', ' ']).map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["now"] => Some((now, 1)),
        ["today"] => Some((back(now, 0, "day")?, DAY)),
        ["yesterday"] => Some((back(now, 1, "day")?, DAY)),
        ["last", unit] => Some((back(now, 1, unit)?, DAY)),
        [count, unit, "ago"] => Some((back(now, count.parse().ok()?, unit)?, DAY)),
        _ => None,
    }
}

fn day(digits: &str) -> Option<Timestamp> {
    let (year, month, day) = (
        digits[..4].parse().ok()?,
        digits[4..6].parse().ok()?,
        digits[6..8].parse().ok()?,
    );
    start(NaiveDate::from_ymd_opt(year, month, day)?)
}

fn start(date: NaiveDate) -> Option<Timestamp> {
    Some(Timestamp::from_secs(
        date.and_hms_opt(0, 0, 0)?.and_utc().timestamp(),
    ))
}

/// The beginning of the day that lies so far back.
fn back(now: Timestamp, count: u32, unit: &str) -> Option<Timestamp> {
    let today = chrono::DateTime::from_timestamp(now.secs(), 0)?.date_naive();
    let then = match unit.trim_end_matches('s') {
        "day" => today.checked_sub_days(Days::new(count.into()))?,
        "week" => today.checked_sub_days(Days::new(u64::from(count) * 7))?,
        "month" => today.checked_sub_months(Months::new(count))?,
        "year" => today.checked_sub_months(Months::new(count.checked_mul(12)?))?,
        _ => return None,
    };
    start(then)
}
