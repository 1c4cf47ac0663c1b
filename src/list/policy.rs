//! What a list does with a mail that was addressed to it.

use super::address::Target;
use crate::mail::{Flaw, Message};
use crate::session::{Protocol, Reply};

/// What becomes of a mail. A refusal is a [`Reply`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is archived and sent to the members.
    Accept,
    /// It is noted for the people who run the list.
    Request(&'static str),
    /// A copy came back.
    Bounce(String),
    /// Not wanted; it is noted and goes no further, as a refusal would bother an innocent third party.
    Drop(&'static str),
}

/// More trace fields than this are a loop (Postfix and chasquid count to 50).
const MAX_RECEIVED: usize = 50;

/// Decides for one recipient. `own_ids` are the List-Ids of this site's lists; `help_url` ends without a slash.
pub fn decide(
    target: &Target,
    message: &Message,
    null_sender: bool,
    protocol: Protocol,
    own_list_id: &str,
    help_url: &str,
) -> Result<Decision, Reply> {
    match target {
        Target::Bounce(token) => return Ok(Decision::Bounce(token.clone())),
        Target::Request(what) if null_sender => {
            return refuse(
                protocol,
                what,
                Reply::new(550, "5.7.1", "This address does not take bounces"),
            );
        }
        Target::Request(what) => return Ok(Decision::Request(what)),
        Target::Post => {}
    }
    let fields = |name: &'static str| {
        message
            .headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    };
    if fields("Received").count() > MAX_RECEIVED
        || fields("List-Id").any(|v| v.contains(&format!("<{own_list_id}>")))
    {
        return refuse(
            protocol,
            "loop",
            Reply::new(
                554,
                "5.4.6",
                "Mail loop: this list has sent this mail already",
            ),
        );
    }
    if null_sender {
        return refuse(
            protocol,
            "bounce to the list",
            Reply::new(550, "5.7.1", "A list does not take bounces"),
        );
    }
    if message.flaws.contains(&Flaw::HtmlOnly) {
        let text = format!(
            "This list takes plain text; your mail had only HTML. {help_url}/help/plain-text"
        );
        return refuse(protocol, "only HTML", Reply::new(550, "5.6.1", text));
    }
    Ok(Decision::Accept)
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

    #[track_caller]
    fn check(mail: &str, null: bool, protocol: Protocol, expected: &str) {
        let message = crate::mail::parse(mail.as_bytes());
        let decided = decide(
            &Target::Post,
            &message,
            null,
            protocol,
            "dev.x.org",
            "https://x.org",
        );
        let got = match decided {
            Ok(decision) => format!("{decision:?}"),
            Err(reply) => format!("{} {}", reply.code, reply.enhanced),
        };
        assert_eq!(got, expected, "{mail}");
    }

    #[test]
    fn what_a_list_takes_and_what_not() {
        let plain = "From: a@b.c\n\ntext\n";
        let html = "From: a@b.c\nContent-Type: text/html\n\n<p>x\n";
        check(plain, false, Protocol::Smtp, "Accept");
        check(html, false, Protocol::Smtp, "550 5.6.1");
        check(html, false, Protocol::Lmtp, "Drop(\"only HTML\")");
        check(plain, true, Protocol::Smtp, "550 5.7.1");
        check(
            "List-Id: Dev <dev.x.org>\n\nx",
            false,
            Protocol::Smtp,
            "554 5.4.6",
        );
        check(
            "List-Id: Dev <dev.y.org>\n\nx",
            false,
            Protocol::Smtp,
            "Accept",
        );
        check(
            &format!("{}\nx", "Received: by x\n".repeat(51)),
            false,
            Protocol::Smtp,
            "554 5.4.6",
        );
    }
}
