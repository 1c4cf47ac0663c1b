//! What a list does with a mail that was addressed to it.

use super::address::Target;
use super::order::{self, Outcome, Question};
use crate::mail::Message;
use crate::session::{Protocol, Reply};

/// What becomes of a mail. A refusal is a [`Reply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is archived and sent to the members.
    Accept,
    /// A person looks at it first, for the reason given: it is kept, and shown to nobody else.
    Hold(String),
    /// It is for the people who run the list, whole.
    Request(&'static str),
    /// A copy came back.
    Bounce(String),
    /// A moderator's answer about a held mail.
    Moderate(String),
    /// Not wanted; it is noted and goes no further, as a refusal would bother an innocent third party.
    Drop(&'static str),
}

/// More trace fields than this are a loop (Postfix and chasquid count to 50).
const MAX_RECEIVED: usize = 50;

/// Decides for one recipient; what people ask of a list was answered before (`list::command`). Of the question, mail to anything but the list itself needs `message`, `null_sender` and `protocol` alone.
///
/// Whether a token is sound is for the caller to see, who has the key.
pub fn decide(target: &Target, question: &Question<'_>) -> Outcome {
    let (null_sender, protocol) = (question.null_sender, question.protocol);
    let decided = match target {
        Target::Bounce(token) => Ok(Decision::Bounce(token.clone())),
        // Bounces may come here: Mailman's `-bounces` is an alias of it.
        Target::Owner => Ok(Decision::Request("owner")),
        Target::Check => {
            let text = "This address does not take bounces";
            refuse(protocol, "rehearsal", Reply::new(550, "5.7.1", text))
        }
        Target::Request(what) if null_sender => {
            let text = "This address does not take bounces";
            refuse(protocol, what, Reply::new(550, "5.7.1", text))
        }
        Target::Request(what) => Ok(Decision::Request(what)),
        Target::Answer("mod", token) => Ok(Decision::Moderate(token.clone())),
        // Those that are known never come here.
        Target::Answer(..) | Target::Echo(_) => {
            let text = "This address is not valid, or not any more";
            refuse(protocol, "unknown token", Reply::new(550, "5.1.1", text))
        }
        Target::Post => return order::walk(*question),
    };
    decided.into()
}

/// Whether the list's own fields are there already, or far too many trace fields.
pub fn has_looped(message: &Message, own_list_id: &str) -> bool {
    let fields = |name: &'static str| {
        message
            .headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    // RFC 2919 section 6: compared without regard to case.
    let own_id = |value: &str| in_brackets(value).any(|id| id.eq_ignore_ascii_case(own_list_id));
    let own_post = |value: &str| {
        let addresses = in_brackets(value).filter_map(|uri| {
            uri.split_at_checked("mailto:".len())
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("mailto:"))
                .map(|(_, address)| super::header::list_id(address))
        });
        let mut ids = addresses;
        ids.any(|id| id.eq_ignore_ascii_case(own_list_id))
    };
    fields("Received").count() > MAX_RECEIVED
        || fields("List-Id").any(own_id)
        || fields("List-Post").any(own_post)
}

/// What stands in `<>`, each.
fn in_brackets(value: &str) -> impl Iterator<Item = &str> {
    let pieces = value.split('<').skip(1);
    pieces.filter_map(|piece| piece.split_once('>').map(|(inner, _)| inner.trim()))
}

/// Behind another mail server a refusal becomes its bounce to a sender who may be forged.
fn refuse(protocol: Protocol, what: &'static str, reply: Reply) -> Result<Decision, Reply> {
    match protocol {
        Protocol::Smtp => Err(reply),
        Protocol::Lmtp => Ok(Decision::Drop(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::order::{Known, Spam};
    use crate::list::settings::{Moderation, Policy};
    use crate::verdict::Verdict;
    use Protocol::{Lmtp, Smtp};

    #[track_caller]
    fn check_target(target: &Target, mail: &str, null: bool, protocol: Protocol, expected: &str) {
        let message = crate::mail::parse(mail.as_bytes());
        let question = Question {
            message: &message,
            size: mail.len(),
            null_sender: null,
            protocol,
            verdict: &Verdict::default(),
            policy: &Policy::default().moderated(Moderation::None),
            list_id: "dev.x.org",
            help_url: "https://x.org",
            known: &Known::default(),
            spam: &Spam::Unknown,
        };
        let decided = decide(target, &question).decision;
        let got = match decided {
            Ok(decision) => format!("{decision:?}"),
            Err(reply) => format!("{} {}", reply.code, reply.enhanced),
        };
        assert_eq!(got, expected, "{target:?} {mail}");
    }

    #[track_caller]
    fn check(mail: &str, null: bool, protocol: Protocol, expected: &str) {
        check_target(&Target::Post, mail, null, protocol, expected);
    }

    const PLAIN: &str = "From: a@b.c\n\ntext\n";

    #[test]
    fn a_list_takes_text_and_says_why_not_html() {
        let html = "From: a@b.c\nContent-Type: text/html\n\n<p>x\n";
        let both = "From: a@b.c\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: text/html\n\n<p>x\n--b--\n";
        check(PLAIN, false, Smtp, "Accept");
        check(both, false, Smtp, "Accept");
        check(html, false, Smtp, "550 5.6.1");
        check(html, false, Lmtp, "Drop(\"only HTML\")");
    }

    #[test]
    fn broken_from_fields_are_archived_all_the_same() {
        check("Subject: x\n\ntext\n", false, Smtp, "Accept");
        check("From: a@b.c, d@e.f\n\ntext\n", false, Smtp, "Accept");
    }

    #[test]
    fn text_without_any_header_is_no_mail() {
        check("hello\n", false, Smtp, "550 5.6.0");
        check("", false, Smtp, "550 5.6.0");
        check("hello\n", false, Lmtp, "Drop(\"no header\")");
    }

    #[test]
    fn a_bounce_is_no_posting() {
        check(PLAIN, true, Smtp, "550 5.7.1");
        check(PLAIN, true, Lmtp, "Drop(\"bounce to the list\")");
    }

    #[test]
    fn loops_end_here() {
        check("List-Id: Dev <dev.x.org>\n\nx", false, Smtp, "554 5.4.6");
        check("List-ID: <DEV.X.org>\n\nx", false, Smtp, "554 5.4.6");
        check("List-Id: <dev.x.org>\n\nx", false, Lmtp, "Drop(\"loop\")");
        check("List-Id: <dev.x.org>\n\nx", true, Smtp, "554 5.4.6");
        check(
            "List-Post: <MAILTO:Dev@x.org>\n\nx",
            false,
            Smtp,
            "554 5.4.6",
        );
        check("List-Id: Dev <dev.y.org>\n\nx", false, Smtp, "Accept");
        check(
            "List-Id: dev.x.org <other.y.org>\n\nx",
            false,
            Smtp,
            "Accept",
        );
        check("List-Post: <mailto:dev@y.org>\n\nx", false, Smtp, "Accept");
        check("List-Post: NO\n\nx", false, Smtp, "Accept");
        let hops = |count| format!("{}\nx", "Received: by x\n".repeat(count));
        check(&hops(50), false, Smtp, "Accept");
        check(&hops(51), false, Smtp, "554 5.4.6");
    }

    #[test]
    fn each_address_takes_what_it_is_for() {
        let bounce = Target::Bounce("t".to_owned());
        check_target(&bounce, PLAIN, true, Smtp, "Bounce(\"t\")");
        check_target(&bounce, PLAIN, false, Lmtp, "Bounce(\"t\")");
        check_target(&Target::Owner, PLAIN, false, Smtp, "Request(\"owner\")");
        check_target(&Target::Owner, PLAIN, true, Smtp, "Request(\"owner\")");
        let help = Target::Request("help");
        check_target(&help, PLAIN, false, Smtp, "Request(\"help\")");
        check_target(&help, PLAIN, true, Smtp, "550 5.7.1");
        check_target(&help, PLAIN, true, Lmtp, "Drop(\"help\")");
        let answer = Target::Answer("mod", "t".to_owned());
        check_target(&answer, PLAIN, false, Smtp, "Moderate(\"t\")");
        let answer = Target::Answer("confirm", "t".to_owned());
        check_target(&answer, PLAIN, false, Smtp, "550 5.1.1");
        check_target(&answer, PLAIN, false, Lmtp, "Drop(\"unknown token\")");
        check_target(&Target::Check, PLAIN, true, Smtp, "550 5.7.1");
        check_target(&Target::Check, PLAIN, true, Lmtp, "Drop(\"rehearsal\")");
    }
}
