//! The table in words: as a page of the manual, and whom each mail is for.

use super::{Cap, Event, RULES};

/// Whom an automatic mail is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Whoever reads, writes or joins.
    Person,
    /// Moderators.
    Moderator,
    /// The operator.
    Operator,
}

/// Whom the mail about an event is for.
pub fn audience(event: Event) -> Audience {
    match event {
        Event::Held
        | Event::Waiting
        | Event::Reminder
        | Event::Moderated
        | Event::RemovalWished => Audience::Moderator,
        Event::Trouble | Event::Storm => Audience::Operator,
        _ => Audience::Person,
    }
}

/// The manual's page about automatic mail.
pub fn manual() -> String {
    let mut out = MANUAL.to_owned();
    out.push_str("| Mail | When | Who gets it | Default | One address and list, a day | One address, a day | One network, an hour |\n");
    out.push_str("|---|---|---|---|---|---|---|\n");
    for rule in RULES {
        let number = |n: i64| match n {
            i64::MAX => "–".to_owned(),
            n => n.to_string(),
        };
        let Cap {
            per_list,
            per_address,
            per_source,
            ..
        } = rule.cap;
        let row = [
            rule.purpose,
            rule.when,
            rule.who,
            rule.default,
            &number(per_list),
            &number(per_address),
            &number(per_source),
        ];
        out.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    out
}

/// What stands above the table.
const MANUAL: &str = "# Automatic mail

This is all that patchpost sends by itself, beside the copies of what was posted. The table is made from the program.

- It goes to people who are known to have written (their mail is authenticated), or it asks an address to confirm
  something. What it says is fixed text: nothing that a stranger wrote stands in it, so nobody can use it to send words
  to others. Only moderators read what strangers wrote: the beginning of the mail that they decide about. The answer to a
  rehearsal, and what an author hears of his patches and of his held mail, hold words of the mail that they answer, and go to its authenticated author alone.
- It carries `Auto-Submitted` (RFC 3834) and the null return path, so that no machine answers it; a probe has a return path of its own, which takes bounces only.
- It never answers a mail with the null sender, an `Auto-Submitted` other than `no`, `Precedence: bulk`, `junk` or `list`, any
  `List-` field, `X-Auto-Response-Suppress`, a sender such as `mailer-daemon` or `…-bounces`, an address of a list here, or a mail that
  fails DMARC where the domain asks for `reject` or `quarantine`. Such a mail carries out no command either, but
  one to leave by the token of a copy.
- Addresses are counted without what stands behind a plus sign, and Gmail's without dots: one mailbox is one address. What is
  above a limit is not sent; who asked is not told so.
- Which mail comes about one's own patches is chosen on `/me/`, once signed in. Lists whose copies go over TLS only send none, and old mail
  that is imported causes none.
- Networks are IPv4 /24 and IPv6 /64. A proxy or mail server on this machine speaks for many and is not counted.

";
