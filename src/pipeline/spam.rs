//! Whether a filter calls a mail spam. Its word holds a mail and never refuses one.

use super::Ctx;
use super::screen::NewMail;
use crate::list::address::Target;
use crate::list::order::Spam;
use crate::mail::Message;
use crate::net::Scan;
use crate::session::Protocol;
use crate::types::Address;

impl Ctx {
    /// Asks the filter about a mail to a list, given as it came over the wire.
    pub(super) async fn ask_filter(&self, new: &NewMail, wire: &[u8]) -> Spam {
        let Some(rspamd) = self.checks.as_ref().and_then(|c| c.rspamd.as_ref()) else {
            return Spam::Unknown;
        };
        // What comes for a command, a bounce or an answer is looked at by other rules.
        if !self.is_for_a_list(new).await {
            return Spam::Unknown;
        }
        let scan = Scan {
            ip: new.ip,
            helo: new.helo.clone(),
            sender: new
                .sender
                .as_ref()
                .map_or_else(String::new, Address::to_string),
            recipients: new.recipients.iter().map(Address::to_string).collect(),
        };
        rspamd.ask(wire, &scan).await
    }

    /// Whether any recipient is a list itself, however it is spelled. Trouble says yes: it is no way past the filter.
    async fn is_for_a_list(&self, new: &NewMail) -> bool {
        for recipient in &new.recipients {
            match self.find_target(recipient).await {
                Ok(None) => {}
                Ok(Some((_, target))) if target != Target::Post => {}
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        false
    }

    /// The word of the mail server in front, where it gives one, else the filter's.
    pub(super) fn spam_word(&self, message: &Message, protocol: Protocol, asked: Spam) -> Spam {
        let header = self.checks.as_ref().map_or("", |c| c.spam_header.as_str());
        match marked(message, header, protocol) {
            Some(value) => Spam::Yes(format!("the mail server in front says {header}: {value}")),
            None => asked,
        }
    }
}

/// What the field says that marks spam, if it does. Any of its name counts: who writes one himself harms only his own mail, and "no" helps nobody.
/// By SMTP comes whoever likes: only what the server in front hands over carries its word.
fn marked(message: &Message, header: &str, protocol: Protocol) -> Option<String> {
    if header.is_empty() || protocol != Protocol::Lmtp {
        return None;
    }
    let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(header);
    let mut values = message
        .headers
        .iter()
        .filter(named)
        .map(|(_, value)| value.trim());
    let yes = |v: &&str| {
        v.get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case("yes"))
    };
    let value = values.find(yes)?;
    Some(crate::list::notice::one_line(value, 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &str, protocol: Protocol, expected: Option<&str>) {
        let message = crate::mail::parse(format!("{fields}From: a@b.c\n\nx\n").as_bytes());
        let got = marked(&message, "X-Spam", protocol);
        assert_eq!(got.as_deref(), expected, "{fields}");
    }

    #[test]
    fn the_word_of_the_server_in_front_counts() {
        check("X-Spam: Yes\n", Protocol::Lmtp, Some("Yes"));
        check(
            "X-SPAM: YES, score=9\n",
            Protocol::Lmtp,
            Some("YES, score=9"),
        );
        check("X-Spam: No\nX-Spam: Yes\n", Protocol::Lmtp, Some("Yes"));
        check("X-Spam: No\n", Protocol::Lmtp, None);
        check("X-Spam-Flag: YES\n", Protocol::Lmtp, None);
        check("X-Spam: Yes\n", Protocol::Smtp, None);
        check("X-Spam: \u{e9}\n", Protocol::Lmtp, None);
    }
}
