//! Who sent a mail, also where a list rewrote From to keep DMARC from refusing it.

use crate::mail::{Mailbox, Message};

/// Lower-case address and display name of who sent it. Never trusted: it only groups.
///
/// Where From is the list's own (`Ana via dev <dev@lists.example.org>`), the author stands in X-Original-From,
/// Reply-To or Cc.
pub(super) fn submitter(message: &Message) -> (String, String) {
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
