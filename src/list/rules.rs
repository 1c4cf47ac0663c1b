//! Patterns and ordered header rules. Pure.
//!
//! A pattern is a glob: `*` is any run of characters, `?` one character; case does not count. Its matcher goes forward only:
//! no pattern and no mail make it slow.

use serde::{Deserialize, Serialize};

/// What a rule says of the mails that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Not held for being a stranger's or spam-like.
    Accept,
    /// A person looks at it first.
    Hold,
    /// Its sender hears that it is not wanted.
    Reject,
    /// It is dropped, with a note.
    Discard,
}

impl Action {
    /// As written in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Accept => "accept",
            Action::Hold => "hold",
            Action::Reject => "reject",
            Action::Discard => "discard",
        }
    }
}

/// One header rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// A header field's name; any case.
    pub field: String,
    /// A glob for the whole value.
    pub pattern: String,
    /// What becomes of a mail one of whose fields of that name matches.
    pub action: Action,
}

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 200;
/// So much of a field's value is looked at, in bytes.
const MAX_VALUE: usize = 8 << 10;
/// Fields that say who somebody is: a stranger writes into them what he likes, so they open nothing.
const CLAIMS: [&str; 6] = [
    "from",
    "sender",
    "reply-to",
    "return-path",
    "resent-from",
    "authentication-results",
];

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RuleError(pub String);

impl Rule {
    /// Reads `FIELD PATTERN ACTION`; the pattern may hold blanks.
    pub fn parse(text: &str) -> Result<Rule, RuleError> {
        let wrong = |why: String| Err(RuleError(format!("{text:?} is no rule: {why}")));
        let form = "it reads FIELD PATTERN ACTION, such as 'Subject *lottery* discard'";
        let Some((field, rest)) = text.trim().split_once(char::is_whitespace) else {
            return wrong(form.to_owned());
        };
        let Some((pattern, action)) = rest.trim().rsplit_once(char::is_whitespace) else {
            return wrong(form.to_owned());
        };
        let action = match action {
            "accept" => Action::Accept,
            "hold" => Action::Hold,
            "reject" => Action::Reject,
            "discard" => Action::Discard,
            other => {
                return wrong(format!("{other:?} is not accept, hold, reject or discard"));
            }
        };
        let field = field.trim_end_matches(':');
        let plain = |b: u8| b.is_ascii_graphic() && b != b':';
        if field.is_empty() || field.len() > 76 || !field.bytes().all(plain) {
            return wrong(format!("{field:?} is not the name of a header field"));
        }
        if action == Action::Accept && CLAIMS.iter().any(|c| field.eq_ignore_ascii_case(c)) {
            return wrong(format!(
                "anybody can write {field}; say who may post with --person ADDRESS=post"
            ));
        }
        let pattern = pattern.trim();
        if let Err(why) = check_pattern(pattern) {
            return wrong(why);
        }
        let (field, pattern) = (field.to_owned(), pattern.to_owned());
        Ok(Rule {
            field,
            pattern,
            action,
        })
    }

    /// Whether a header has a field that this rule means.
    pub fn matches(&self, headers: &[(String, String)]) -> bool {
        let mut named = headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(&self.field));
        named.any(|(_, value)| is_match(&self.pattern, value))
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.field,
            self.pattern,
            self.action.as_str()
        )
    }
}

/// What is wrong with a pattern, if anything is.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    let fine = (1..=MAX_PATTERN).contains(&pattern.len()) && !pattern.chars().any(char::is_control);
    match fine {
        true => Ok(()),
        false => Err(format!(
            "a pattern has 1 to {MAX_PATTERN} characters, * for any and ? for one"
        )),
    }
}

/// Whether a glob matches the whole of a text (its first 8 KiB), whatever the case.
///
/// The pieces between stars are looked for from left to right, each at its first place: what comes later can only fit better.
pub fn is_match(pattern: &str, text: &str) -> bool {
    let text = &text[..text.floor_char_boundary(MAX_VALUE)];
    let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let pattern = pattern.to_lowercase();
    let mut pieces = pattern.split('*').map(|p| p.chars().collect::<Vec<_>>());
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = fits(&first, &text).then(|| &text[first.len()..]) else {
        return false;
    };
    let mut pieces: Vec<Vec<char>> = pieces.collect();
    let Some(last) = pieces.pop() else {
        // Without a star it is all or nothing.
        return rest.is_empty();
    };
    for piece in &pieces {
        let Some(at) = (0..=rest.len()).find(|at| fits(piece, &rest[*at..])) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.len() >= last.len() && fits(&last, &rest[rest.len() - last.len()..])
}

/// Whether a piece without stars is how a text begins.
fn fits(piece: &[char], text: &[char]) -> bool {
    piece.len() <= text.len() && piece.iter().zip(text).all(|(p, t)| *p == '?' || p == t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(is_match(pattern, text), expected, "{pattern} on {text}");
    }

    #[test]
    fn globs_match_the_whole_value_in_any_case() {
        check("yes", "Yes", true);
        check("yes", "yes, score=9", false);
        check("yes*", "YES, score=9", true);
        check("*lottery*", "You won the LOTTERY!", true);
        check("*lottery*", "lotter", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("*", "", true);
        check("**", "x", true);
        check("a*b*c", "a--b--b--c", true);
        check("a*b*c", "a--c--b", false);
        check("*ab", "aab", true);
        check("ab*ba", "aba", false);
        check("\u{c4}*", "\u{e4}pfel", true);
    }

    #[test]
    fn no_pattern_is_slow() {
        // A matcher that goes back would not end in this life.
        let pattern = "*a".repeat(90) + "b";
        check(&pattern, &"a".repeat(100_000), false);
    }

    #[track_caller]
    fn check_rule(text: &str, expected: &str) {
        let got = match Rule::parse(text) {
            Ok(rule) => rule.to_string(),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{text}: {got}");
    }

    #[test]
    fn rules_are_read_or_say_why_not() {
        check_rule(
            "Subject: *won a prize* discard",
            "Subject *won a prize* discard",
        );
        check_rule("X-Spam-Level ****** hold", "X-Spam-Level ****** hold");
        check_rule("Subject hold", "FIELD PATTERN ACTION");
        check_rule("Subject * burn", "\"burn\" is not accept");
        check_rule("From *@example.org accept", "anybody can write From");
        check_rule("From *@example.org reject", "From *@example.org reject");
        check_rule("S\u{e9} * hold", "not the name of a header field");
    }

    #[test]
    fn a_rule_looks_at_every_field_of_its_name() {
        let rule = Rule::parse("x-spam yes* hold").expect("a rule");
        let fields = |values: &[&str]| {
            let one = |v: &&str| ("X-Spam".to_owned(), (*v).to_owned());
            values.iter().map(one).collect::<Vec<_>>()
        };
        assert!(rule.matches(&fields(&["No", "Yes"])));
        assert!(!rule.matches(&fields(&["No"])));
        assert!(!rule.matches(&[]));
    }

    proptest::proptest! {
        #[test]
        fn any_text_matches_itself_with_stars_around_any_piece(text in "[a-z?.]{0,20}", from in 0usize..20, len in 0usize..20) {
            let from = from.min(text.len());
            let to = (from + len).min(text.len());
            let pattern = format!("*{}*", &text[from..to]);
            proptest::prop_assert!(is_match(&pattern, &text));
        }
    }
}
