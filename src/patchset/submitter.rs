//! Who sent a mail, also where a list rewrote From to keep DMARC from refusing it.

use crate::mail::{Mailbox, Message};

/// Who sent a mail.
pub(super) struct Submitter {
    /// Lower-case address. Never trusted: it only groups.
    pub address: String,
    /// Display name.
    pub name: String,
    /// The address is not that of From: what speaks for From's domain says nothing about this person.
    pub rewritten: bool,
}

/// Where From is the list's own (`Ana via dev <dev@lists.example.org>`), the author stands in X-Original-From,
/// Reply-To or Cc.
pub(super) fn submitter(message: &Message) -> Submitter {
    let (address, name) = find(message);
    let rewritten = !message.author().address.eq_ignore_ascii_case(&address);
    Submitter {
        address,
        name,
        rewritten,
    }
}

fn find(message: &Message) -> (String, String) {
    let author = message.author();
    let name = plain_name(&author.name);
    let own = name.split_once(" via ").map(|(own, _)| plain_name(own));
    if own.is_none() && !is_list(message, &author.address) {
        return (author.address.to_lowercase(), name.to_owned());
    }
    let own = own.unwrap_or(name);
    let differs =
        |m: &Mailbox| m.address.contains('@') && !m.address.eq_ignore_ascii_case(&author.address);
    let original = ["X-Original-From", "X-Original-Sender"]
        .iter()
        .filter_map(|field| message.header(field))
        .flat_map(mailboxes)
        .find(differs);
    let named = |m: &Mailbox| differs(m) && (m.name.is_empty() || m.name == own);
    let found = original
        .or_else(|| {
            let reply_to = message.header("Reply-To").unwrap_or_default();
            mailboxes(reply_to).into_iter().find(named)
        })
        .or_else(|| {
            let mut cc = message.cc.iter();
            cc.find(|m| m.name == own && differs(m)).cloned()
        });
    match found {
        Some(found) if found.name.is_empty() => (found.address.to_lowercase(), own.to_owned()),
        Some(found) => (found.address.to_lowercase(), found.name),
        None => (author.address.to_lowercase(), name.to_owned()),
    }
}

fn plain_name(name: &str) -> &str {
    name.trim().trim_matches(['"', '\'']).trim()
}

/// Whether the address is that of the list which the mail came by.
fn is_list(message: &Message, address: &str) -> bool {
    let post = message.header("List-Post").unwrap_or_default();
    let id = message.header("List-Id").unwrap_or_default();
    let lower = address.to_lowercase();
    let by_id = || {
        let name = id.rsplit_once('<').map_or(id, |(_, name)| name);
        let name = name.trim_end_matches('>').trim().to_lowercase();
        !name.is_empty() && name == lower.replacen('@', ".", 1)
    };
    !lower.is_empty() && (post.to_lowercase().contains(&format!("mailto:{lower}>")) || by_id())
}

/// A short address list of a header field; commas in quoted names do not occur in what lists write here.
fn mailboxes(value: &str) -> Vec<Mailbox> {
    let one = |piece: &str| {
        let (name, rest) = piece.split_once('<').unwrap_or(("", piece));
        Mailbox {
            name: plain_name(name).to_owned(),
            address: rest.trim().trim_end_matches('>').trim().to_owned(),
        }
    };
    value.split(',').take(20).map(one).collect()
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(header: &str, expected: (&str, &str, bool)) {
        let message = crate::mail::parse(format!("{header}\n\nx\n").as_bytes());
        let found = super::submitter(&message);
        let found = (found.address.as_str(), found.name.as_str(), found.rewritten);
        assert_eq!(found, expected, "{header}");
    }

    #[test]
    fn who_stands_behind_a_lists_address_is_found_and_known_not_to_be_from() {
        check(
            "From: Ana Lima <ANA@x.org>",
            ("ana@x.org", "Ana Lima", false),
        );
        check(
            "From: Ana Lima via dev <dev@l.org>\nX-Original-From: Ana Lima <ana@x.org>",
            ("ana@x.org", "Ana Lima", true),
        );
        check(
            "From: \"Ana Lima via dev\" <dev@l.org>\nReply-To: Ana Lima <ana@x.org>",
            ("ana@x.org", "Ana Lima", true),
        );
        check(
            "From: Ana Lima via dev <dev@l.org>\nCc: Ben <ben@x.org>, Ana Lima <ana@x.org>",
            ("ana@x.org", "Ana Lima", true),
        );
        // Nobody is named: then it is who From says.
        check(
            "From: Ana via dev <dev@l.org>",
            ("dev@l.org", "Ana via dev", false),
        );
        check(
            "From: Ana <dev@l.org>\nList-Id: <dev.l.org>\nReply-To: Ana <ana@x.org>",
            ("ana@x.org", "Ana", true),
        );
    }
}
