//! Recipient addresses: the list itself, its commands, and the spellings that people bring from elsewhere.

use crate::types::Address;

/// What a recipient address asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A posting.
    Post,
    /// A bounce of a copy or of a probe; the token says of which.
    Bounce(String),
    /// The people who run the list.
    Owner,
    /// A change of a subscription, or help: `subscribe`, `unsubscribe`, `help`, `nomail`, `mail`; `remove`, of a mail; `request`, for what
    /// the subject says.
    Request(&'static str),
    /// An answer to something that was sent with a token: `confirm`, `mod` or `unsubscribe`, and the token.
    Answer(&'static str, String),
    /// The private rehearsal: never a posting.
    Check,
    /// A probe of `doctor` that comes back; the token says which, unless it stands in the subject.
    Echo(Option<String>),
}

/// The words behind `+`.
const WORDS: [(&str, Target); 17] = [
    ("post", Target::Post),
    ("subscribe", Target::Request("subscribe")),
    ("unsubscribe", Target::Request("unsubscribe")),
    // Mailman's names for the same.
    ("join", Target::Request("subscribe")),
    ("leave", Target::Request("unsubscribe")),
    ("help", Target::Request("help")),
    ("nomail", Target::Request("nomail")),
    ("mail", Target::Request("mail")),
    ("nodupes", Target::Request("nodupes")),
    ("dupes", Target::Request("dupes")),
    ("noown", Target::Request("noown")),
    ("own", Target::Request("own")),
    ("remove", Target::Request("remove")),
    ("request", Target::Request("request")),
    ("owner", Target::Owner),
    ("check", Target::Check),
    ("echo", Target::Echo(None)),
];

/// What stands before a token behind `+`.
const ANSWERS: [&str; 3] = ["confirm", "mod", "unsubscribe"];

/// Mailman's spellings behind a hyphen. Its `-bounces` comes without a token, so a person has to look.
const ALIASES: [(&str, Target); 7] = [
    ("request", Target::Request("request")),
    ("subscribe", Target::Request("subscribe")),
    ("join", Target::Request("subscribe")),
    ("unsubscribe", Target::Request("unsubscribe")),
    ("leave", Target::Request("unsubscribe")),
    ("owner", Target::Owner),
    ("bounces", Target::Owner),
];

/// All readings of an address as (posting address of a list, target), the most literal first.
///
/// `dev@`, `dev+owner@`, `dev+b-TOKEN@`, `dev-request@`, and SourceHut's `~ana/dev@` and `u.ana.dev@`. The first
/// reading whose list exists counts, so that a list called `dev-owner` gets its own mail.
pub fn readings(address: &Address) -> Vec<(String, Target)> {
    let local = address.local().to_lowercase();
    let base = |name: &str| format!("{name}@{}", address.domain());
    let mut out = vec![(base(&local), Target::Post)];
    let name = without_owner(&local);
    if name != local {
        out.push((base(name), Target::Post));
    }
    if let Some((list, word)) = name.split_once('+') {
        out.extend(behind_plus(word).map(|target| (base(list), target)));
    }
    if let Some((list, word)) = name.rsplit_once('-') {
        let known = ALIASES.iter().find(|(alias, _)| *alias == word);
        out.extend(known.map(|(_, target)| (base(list), target.clone())));
    }
    out
}

/// Of an address that nothing reads, the posting addresses that may be meant, each with what stands behind: `dev@x.org` and `+jion`.
pub fn beginnings(address: &Address) -> Vec<(String, String)> {
    let local = address.local().to_lowercase();
    let name = without_owner(&local);
    let cuts = [name.find('+'), name.rfind('-')].into_iter().flatten();
    let cut = |at: usize| {
        let (list, word) = name.split_at(at);
        (format!("{list}@{}", address.domain()), word.to_owned())
    };
    cuts.map(cut).collect()
}

/// `dev` of `~ana/dev` and `u.ana.dev`, else the local part itself.
fn without_owner(local: &str) -> &str {
    let tilde = local
        .strip_prefix('~')
        .and_then(|rest| rest.split_once('/'));
    let dotted = local
        .strip_prefix("u.")
        .and_then(|rest| rest.split_once('.'));
    tilde.or(dotted).map_or(local, |(_, name)| name)
}

fn behind_plus(word: &str) -> Option<Target> {
    if let Some((_, target)) = WORDS.iter().find(|(known, _)| *known == word) {
        return Some(target.clone());
    }
    let (kind, token) = word.split_once('-')?;
    if token.is_empty() {
        return None;
    }
    if kind == "b" || kind == "probe" {
        return Some(Target::Bounce(token.to_owned()));
    }
    if kind == "echo" {
        return Some(Target::Echo(Some(token.to_owned())));
    }
    let kind = ANSWERS.iter().find(|known| **known == kind)?;
    Some(Target::Answer(kind, token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `address` where only the lists of `x.org` called `dev`, `my-dev` and `dev-owner` exist.
    #[track_caller]
    fn check(address: &str, expected: &str) {
        let parsed: Address = address.parse().expect("an address");
        let lists = ["dev@x.org", "my-dev@x.org", "dev-owner@x.org"];
        let mut readings = readings(&parsed).into_iter();
        let got = match readings.find(|(list, _)| lists.contains(&list.as_str())) {
            Some((list, target)) => {
                let name = list.strip_suffix("@x.org").expect("of x.org").to_owned();
                format!("{name} {target:?}")
            }
            None => "nobody".to_owned(),
        };
        assert_eq!(got, expected, "{address}");
    }

    #[test]
    fn a_list_is_found_whatever_the_case() {
        check("dev@x.org", "dev Post");
        check("DEV@X.org", "dev Post");
        check("Dev+Owner@x.org", "dev Owner");
        check("dev+post@x.org", "dev Post");
    }

    #[test]
    fn every_command_word_is_known() {
        check("dev+subscribe@x.org", "dev Request(\"subscribe\")");
        check("dev+unsubscribe@x.org", "dev Request(\"unsubscribe\")");
        check("dev+help@x.org", "dev Request(\"help\")");
        check("dev+nomail@x.org", "dev Request(\"nomail\")");
        check("dev+mail@x.org", "dev Request(\"mail\")");
        check("dev+remove@x.org", "dev Request(\"remove\")");
        check("dev+join@x.org", "dev Request(\"subscribe\")");
        check("dev+leave@x.org", "dev Request(\"unsubscribe\")");
        check("my-dev+owner@x.org", "my-dev Owner");
        check("dev+check@x.org", "dev Check");
    }

    #[test]
    fn tokens_are_kept_apart_by_what_they_are_for() {
        check("dev+b-abc@x.org", "dev Bounce(\"abc\")");
        check("DEV+B-ABC@x.org", "dev Bounce(\"abc\")");
        check("dev+confirm-abc@x.org", "dev Answer(\"confirm\", \"abc\")");
        check("dev+mod-abc@x.org", "dev Answer(\"mod\", \"abc\")");
        check("dev+probe-a-b@x.org", "dev Bounce(\"a-b\")");
        check(
            "dev+unsubscribe-abc@x.org",
            "dev Answer(\"unsubscribe\", \"abc\")",
        );
        check("dev+echo-abc@x.org", "dev Echo(Some(\"abc\"))");
        check("dev+echo@x.org", "dev Echo(None)");
        check("my-dev+b-owner@x.org", "my-dev Bounce(\"owner\")");
    }

    #[test]
    fn spellings_from_mailman_and_sourcehut_work() {
        check("my-dev-request@x.org", "my-dev Request(\"request\")");
        check("dev+request@x.org", "dev Request(\"request\")");
        check("dev-subscribe@x.org", "dev Request(\"subscribe\")");
        check("dev-join@x.org", "dev Request(\"subscribe\")");
        check("dev-unsubscribe@x.org", "dev Request(\"unsubscribe\")");
        check("dev-leave@x.org", "dev Request(\"unsubscribe\")");
        check("my-dev-owner@x.org", "my-dev Owner");
        check("dev-bounces@x.org", "dev Owner");
        check("~ana/dev@x.org", "dev Post");
        check("u.ana.dev@x.org", "dev Post");
        check("~ana/dev+subscribe@x.org", "dev Request(\"subscribe\")");
        check(
            "u.ana.dev+unsubscribe@x.org",
            "dev Request(\"unsubscribe\")",
        );
    }

    #[test]
    fn a_list_with_an_alias_in_its_name_gets_its_own_mail() {
        check("dev-owner@x.org", "dev-owner Post");
        check("dev-owner-owner@x.org", "dev-owner Owner");
    }

    #[test]
    fn what_is_not_known_is_nobodys() {
        check("dev@y.org", "nobody");
        check("other@x.org", "nobody");
        check("dev+nonsense@x.org", "nobody");
        check("dev+b-@x.org", "nobody");
        check("dev+@x.org", "nobody");
        check("+owner@x.org", "nobody");
        check("-owner@x.org", "nobody");
        check("~dev@x.org", "nobody");
        check("u.dev@x.org", "nobody");
        check("dev%x.org@x.org", "nobody");
    }
}
