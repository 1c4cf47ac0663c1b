//! What a mail asks to be done with the series that it answers: fields of SourceHut and Patchwork, and lines of a reply.
//!
//! Pure. Who may have his wish is for the caller to see.

use super::answer::own_words;
use crate::mail::Message;
use crate::types::Address;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The series gets that state: Patchwork's number, 0 for "as the rules say".
    State(i64),
    /// That person looks after it, in lower case; `None`: nobody does any more.
    Delegate(Option<String>),
    /// It cannot be read; why, in our own words.
    Unclear(&'static str),
}

/// States by what people write, in lower case with hyphens: Patchwork's names, then SourceHut's.
const STATES: [(&str, i64); 17] = [
    ("auto", 0),
    ("new", 1),
    ("under-review", 2),
    ("accepted", 3),
    ("rejected", 4),
    ("rfc", 5),
    ("not-applicable", 6),
    ("changes-requested", 7),
    ("awaiting-upstream", 8),
    ("superseded", 9),
    ("deferred", 10),
    ("proposed", 1),
    ("needs-revision", 7),
    ("approved", 8),
    ("applied", 3),
    ("withdrawn", 4),
    ("landed", 3),
];
/// States that who sent a series may give it himself: he takes it back, or says that another one is to come.
const OWN: [i64; 3] = [4, 7, 9];
/// States that he leaves as they are.
const SETTLED: [i64; 3] = [3, 4, 8];

/// Lines of a mail that are looked at.
const MAX_LINES: usize = 2_000;

/// Where a mail's author did not sign the field that wishes.
const UNSIGNED: &str = "the field that asks for it is not signed (DKIM), so anybody may have put it there; write a line into the text instead";

/// What a mail asks for: of each kind the first, and what contradicts it as [`Wish::Unclear`]. A field counts only if its author
/// himself wrote it, as `holds` says of its name in lower case.
///
/// Read are `X-Sourcehut-Patchset-Update`, `X-Patchwork-State`, `X-Patchwork-Delegate`, and of an answer lines that begin with
/// `/state` or `/delegate`, unquoted and above a diff, the signature and a mail that is quoted whole.
pub fn wishes(message: &Message, holds: impl Fn(&str) -> bool) -> Vec<Wish> {
    let mut found = Found::default();
    let mut free = Found::default();
    for name in ["x-sourcehut-patchset-update", "x-patchwork-state"] {
        let place = if holds(name) { &mut found } else { &mut free };
        let value = message.header(name);
        value.into_iter().for_each(|v| place.state(v));
    }
    let signed = holds("x-patchwork-delegate");
    let place = if signed { &mut found } else { &mut free };
    let delegate = message.header("x-patchwork-delegate");
    delegate.into_iter().for_each(|v| place.delegate(v));
    // A line of a patch's own message is no command: programs make these.
    if !message.parents.is_empty() {
        let own = own_words(&message.text, &message.subject);
        for line in own.lines().take(MAX_LINES) {
            if line.trim_end() == "--" || line.starts_with("diff --git ") {
                break;
            }
            let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            match word.to_ascii_lowercase().as_str() {
                "/state" => found.state(rest),
                "/delegate" => found.delegate(rest),
                _ => {}
            }
        }
    }
    // What anybody may have put there says nothing beside what the author says.
    let unsigned = |wish: Option<Wish>| wish.map(|_| Wish::Unclear(UNSIGNED));
    found.state = found.state.or(unsigned(free.state));
    found.delegate = found.delegate.or(unsigned(free.delegate));
    found.finish()
}

/// Why who sent a series may not give it this state himself; `None` if he may. `present` is the one that it has.
pub fn own_refusal(wish: &Wish, present: i64) -> Option<&'static str> {
    match wish {
        Wish::State(state) if !OWN.contains(state) => Some(
            "who sent a series may only say rejected (it is taken back), superseded or changes-requested; the rest is for moderators",
        ),
        Wish::State(_) if SETTLED.contains(&present) => {
            Some("it was decided on already; ask a moderator, at the address below")
        }
        Wish::State(_) => None,
        _ => Some("that is for moderators of the list"),
    }
}

#[derive(Default)]
struct Found {
    state: Option<Wish>,
    delegate: Option<Wish>,
}

impl Found {
    fn state(&mut self, value: &str) {
        let word = value.trim().to_lowercase().replace(['_', ' '], "-");
        let known = STATES.iter().find(|(name, _)| *name == word);
        let wish = known.map_or(
            Wish::Unclear(
                "there is no such state; there are new, under-review, accepted, rejected, rfc, not-applicable, changes-requested, \
                 awaiting-upstream, superseded, deferred, and auto for what the rules say",
            ),
            |(_, state)| Wish::State(*state),
        );
        keep(&mut self.state, wish, "it names two different states");
    }

    fn delegate(&mut self, value: &str) {
        let value = value.trim();
        let wish = match value.to_lowercase().as_str() {
            "none" | "nobody" => Wish::Delegate(None),
            _ => match value.trim_matches(['<', '>']).parse::<Address>() {
                Ok(address) => Wish::Delegate(Some(address.key())),
                Err(_) => Wish::Unclear("a delegate is named by one mail address, or `none`"),
            },
        };
        keep(&mut self.delegate, wish, "it names two different delegates");
    }

    fn finish(self) -> Vec<Wish> {
        self.state.into_iter().chain(self.delegate).collect()
    }
}

fn keep(place: &mut Option<Wish>, wish: Wish, two: &'static str) {
    match place {
        None => *place = Some(wish),
        Some(known) if *known == wish => {}
        Some(known) => *known = Wish::Unclear(two),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &str, text: &str, expected: &[Wish]) {
        let mail = format!("From: a@b.c\n{fields}\n{text}");
        assert_eq!(
            wishes(&crate::mail::parse(mail.as_bytes()), |_| true),
            expected
        );
    }

    const REPLY: &str = "In-Reply-To: <p@x>\n";
    const STATE: fn(i64) -> Wish = Wish::State;

    #[test]
    fn fields_of_other_programs_are_read() {
        check("X-Sourcehut-Patchset-Update: APPLIED\n", "", &[STATE(3)]);
        let revision = "x-sourcehut-patchset-update: needs_revision\n";
        check(revision, "", &[STATE(7)]);
        check("X-Patchwork-State: Under Review\n", "", &[STATE(2)]);
        let both = "X-Patchwork-State: rfc\nX-Patchwork-Delegate: Ana@X.org\n";
        let ana = Wish::Delegate(Some("Ana@x.org".to_owned()));
        let found = wishes(&crate::mail::parse(both.as_bytes()), |_| true);
        assert_eq!(found[0], STATE(5));
        assert!(
            matches!(&found[1], Wish::Delegate(Some(a)) if a.eq_ignore_ascii_case("ana@x.org")),
            "{ana:?}"
        );
    }

    #[test]
    fn lines_count_in_answers_only_and_where_they_are_meant() {
        check(REPLY, "Good.\n\n/state accepted\n", &[STATE(3)]);
        check(
            REPLY,
            "/STATE Awaiting Upstream\n/delegate none\n",
            &[STATE(8), Wish::Delegate(None)],
        );
        check("", "/state accepted\n", &[]);
        check(REPLY, "> /state accepted\n", &[]);
        check(REPLY, " /state accepted\n", &[]);
        check(REPLY, "-- \n/state accepted\n", &[]);
        check(REPLY, "diff --git a/x b/x\n/state accepted\n", &[]);
        check(REPLY, "see /state accepted\n/stately home\n", &[]);
        let quoted =
            "On Monday.\n\n-----Original Message-----\nFrom: Ana <ana@x.org>\n\n/state accepted\n";
        check(REPLY, quoted, &[]);
        let above = format!("/state deferred\n\n{quoted}");
        check(REPLY, &above, &[STATE(10)]);
    }

    #[test]
    fn a_field_that_anybody_may_have_put_there_is_no_wish_of_the_author() {
        let fields = "From: a@b.c\nIn-Reply-To: <p@x>\nX-Patchwork-State: rejected\nX-Patchwork-Delegate: eve@x.org\n\n";
        let free = |text: &str, holds: fn(&str) -> bool| {
            wishes(
                &crate::mail::parse(format!("{fields}{text}").as_bytes()),
                holds,
            )
        };
        let unsigned = Wish::Unclear(UNSIGNED);
        assert_eq!(free("", |_| false), [unsigned.clone(), unsigned.clone()]);
        let delegate = |name: &str| name == "x-patchwork-delegate";
        let eve = Wish::Delegate(Some("eve@x.org".to_owned()));
        assert_eq!(free("", delegate), [unsigned.clone(), eve]);
        assert_eq!(
            free("/state accepted\n", |_| false),
            [STATE(3), unsigned],
            "what the author says stands"
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let unclear = |fields: &str, text: &str, words: &str| {
            let mail = format!("From: a@b.c\n{fields}\n{text}");
            let found = wishes(&crate::mail::parse(mail.as_bytes()), |_| true);
            assert!(
                matches!(found[..], [Wish::Unclear(why)] if why.contains(words)),
                "{found:?}"
            );
        };
        unclear(REPLY, "/state good\n", "no such state");
        unclear(REPLY, "/state\n", "no such state");
        unclear(
            "X-Sourcehut-Patchset-Update: UNKNOWN\n",
            "",
            "no such state",
        );
        unclear(REPLY, "/state new\n/state rfc\n", "two different");
        unclear(REPLY, "/delegate Ana and Ben\n", "one mail address");
        check(REPLY, "/state new\n/state NEW\n", &[STATE(1)]);
    }

    #[test]
    fn who_sent_a_series_may_take_it_back_and_no_more() {
        assert_eq!(own_refusal(&STATE(4), 1), None);
        assert_eq!(own_refusal(&STATE(9), 7), None);
        assert!(own_refusal(&STATE(3), 1).is_some());
        assert!(own_refusal(&STATE(9), 3).is_some());
        assert!(own_refusal(&Wish::Delegate(None), 1).is_some());
    }
}
