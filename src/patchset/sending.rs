//! What a Message-ID made by a tool tells: which mails were sent by one run, and b4's slug and version.

use serde::{Deserialize, Serialize};

/// Where a Message-ID made by a tool says a mail stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stem {
    /// What versions of one change share if b4 made the id (its slug); else the same as `sending`.
    pub stem: String,
    /// b4 writes the version into it.
    pub version: Option<u32>,
    /// The same for all mails of one run of the tool.
    #[serde(default)]
    pub sending: String,
    /// Its place in that run, 0 if the tool does not say.
    #[serde(default)]
    pub sequence: u32,
}

/// Reads a Message-ID without brackets. Known shapes:
/// `git send-email`: `20240315173105.636749-2-ana@example.org`, and before git 2.6 `1426012345-4711-2-git-send-email-ana@example.org`;
/// `git format-patch --thread`: `cover.1700000000.git.ana@example.org`, `<commit>.1700000000.git.ana@example.org`;
/// b4: `20240315-slug-v2-3-0123456789ab@example.org`.
pub(super) fn stem(id: &str) -> Option<Stem> {
    send_email(id)
        .or_else(|| format_patch(id))
        .or_else(|| b4(id))
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn send_email(id: &str) -> Option<Stem> {
    let mut pieces = id.splitn(3, '-');
    let (first, second, rest) = (pieces.next()?, pieces.next()?, pieces.next()?);
    if let Some((date, process)) = first.split_once('.')
        && digits(date, 14..=14)
        && digits(process, 1..=10)
        && digits(second, 1..=6)
    {
        return Some(run(first.to_owned(), second));
    }
    let (number, tail) = rest.split_once('-')?;
    let old = digits(first, 9..=11)
        && digits(second, 1..=10)
        && digits(number, 1..=6)
        && tail.starts_with("git-send-email-");
    old.then(|| run(format!("{first}-{second}"), number))
}

fn run(sending: String, sequence: &str) -> Stem {
    Stem {
        stem: sending.clone(),
        version: None,
        sending,
        // At most six digits: always a number.
        sequence: sequence.parse().unwrap_or(0),
    }
}

fn format_patch(id: &str) -> Option<Stem> {
    let (head, tail) = id.split_once('.')?;
    let (time, rest) = tail.split_once('.')?;
    let commit = head.len() == 40 && head.bytes().all(|b| b.is_ascii_hexdigit());
    let fits = (head == "cover" || commit) && digits(time, 9..=11) && rest.starts_with("git.");
    fits.then(|| run(tail.to_owned(), "0"))
}

fn b4(id: &str) -> Option<Stem> {
    let local = id.split('@').next()?;
    let (date, rest) = local.split_once('-')?;
    let (head, hash) = rest.rsplit_once('-')?;
    let (head, number) = head.rsplit_once('-')?;
    let (slug, version) = head.rsplit_once("-v")?;
    let made_by_b4 = digits(date, 8..=8)
        && digits(number, 1..=4)
        && digits(version, 1..=3)
        && !slug.is_empty()
        && (8..=40).contains(&hash.len())
        && hash.bytes().all(|b| b.is_ascii_hexdigit());
    made_by_b4.then(|| Stem {
        stem: slug.to_owned(),
        version: version.parse().ok(),
        sending: format!("{date}-{slug}-v{version}-{hash}"),
        sequence: number.parse().unwrap_or(0),
    })
}
