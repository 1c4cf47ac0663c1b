//! Recipient addresses: the list itself, its commands, and the spellings that people bring from elsewhere.

use crate::types::Address;

/// What a recipient address asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A posting.
    Post,
    /// A bounce of a copy; the token says of which.
    Bounce(String),
    /// Something for the people who run the list: `subscribe`, `unsubscribe`, `help`, `owner`, `nomail`, `mail`.
    Request(&'static str),
}

const REQUESTS: [&str; 6] = [
    "subscribe",
    "unsubscribe",
    "help",
    "owner",
    "nomail",
    "mail",
];
/// Mailman's spellings behind a hyphen.
const ALIASES: [(&str, &str); 7] = [
    ("request", "help"),
    ("subscribe", "subscribe"),
    ("join", "subscribe"),
    ("unsubscribe", "unsubscribe"),
    ("leave", "unsubscribe"),
    ("owner", "owner"),
    ("bounces", "owner"),
];

/// All readings of an address as (posting address of a list, target), the most literal first.
///
/// `dev@`, `dev+owner@`, `dev+b-TOKEN@`, `dev-request@`, and SourceHut's `~ana/dev@` and `u.ana.dev@`.
pub fn readings(address: &Address) -> Vec<(String, Target)> {
    let local = address.local().to_lowercase();
    let base = |name: &str| format!("{name}@{}", address.domain());
    let mut out = vec![(base(&local), Target::Post)];
    let name = match local
        .strip_prefix('~')
        .and_then(|rest| rest.split_once('/'))
    {
        Some((_, name)) => name.to_owned(),
        None => match local
            .strip_prefix("u.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((_, name)) => name.to_owned(),
            None => local.clone(),
        },
    };
    if name != local {
        out.push((base(&name), Target::Post));
    }
    if let Some((list, word)) = name.split_once('+') {
        if let Some(token) = word.strip_prefix("b-") {
            out.push((base(list), Target::Bounce(token.to_owned())));
        }
        if let Some(known) = REQUESTS.iter().find(|r| **r == word) {
            out.push((base(list), Target::Request(known)));
        }
        if word == "post" {
            out.push((base(list), Target::Post));
        }
    }
    if let Some((list, word)) = name.rsplit_once('-')
        && let Some((_, known)) = ALIASES.iter().find(|(a, _)| *a == word)
    {
        out.push((base(list), Target::Request(known)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &str) {
        let address: Address = address.parse().expect("an address");
        let show = |(list, target): (String, Target)| format!("{list} {target:?}");
        let readings: Vec<String> = readings(&address).into_iter().map(show).collect();
        assert_eq!(
            readings.last().map(String::as_str),
            Some(expected),
            "of {readings:?}"
        );
    }

    #[test]
    fn addresses_of_all_schools_are_understood() {
        check("dev@x.org", "dev@x.org Post");
        check("DEV@X.org", "dev@x.org Post");
        check("dev+owner@x.org", "dev@x.org Request(\"owner\")");
        check("dev+b-abc@x.org", "dev@x.org Bounce(\"abc\")");
        check("my-dev-request@x.org", "my-dev@x.org Request(\"help\")");
        check("dev-leave@x.org", "dev@x.org Request(\"unsubscribe\")");
        check("~ana/dev@x.org", "dev@x.org Post");
        check(
            "u.ana.dev+unsubscribe@x.org",
            "dev@x.org Request(\"unsubscribe\")",
        );
        check("dev+nonsense@x.org", "dev+nonsense@x.org Post");
    }
}
