//! Archives as streams of values. Pure: what is opened is given by the caller.

use std::io::{self, Write};

use crate::mail::{Flaw, Message};
use crate::types::Timestamp;

/// A mail as one commit of a public-inbox epoch.
#[derive(Debug, Clone)]
pub struct EpochCommit {
    author: (String, String),
    written: Timestamp,
    arrived: Timestamp,
    subject: String,
    bytes: Vec<u8>,
}

impl EpochCommit {
    /// A commit for a mail; one without Message-ID gets its derived one in the header, as an epoch needs it.
    pub fn new(message: Message, bytes: Vec<u8>, arrived: Timestamp) -> EpochCommit {
        let author = message.author();
        let bytes = if message.flaws.contains(&Flaw::NoMessageId) {
            [
                format!("Message-ID: <{}>\n", message.message_id).as_bytes(),
                &bytes,
            ]
            .concat()
        } else {
            bytes
        };
        EpochCommit {
            author: (author.name, author.address),
            written: message.date.unwrap_or(arrived),
            arrived,
            subject: message.subject,
            bytes,
        }
    }
}

/// Writes one commit of a `git fast-import` stream: tree with the single entry `m`, linear on `master`.
pub fn write_commit(
    out: &mut dyn Write,
    commit: &EpochCommit,
    list: &str,
    address: &str,
) -> io::Result<()> {
    let (name, email) = (plain(&commit.author.0), plain(&commit.author.1));
    let name = if name.is_empty() { email.clone() } else { name };
    let subject = if commit.subject.trim().is_empty() {
        "(no subject)"
    } else {
        commit.subject.trim()
    };
    writeln!(out, "commit refs/heads/master")?;
    writeln!(
        out,
        "author {name} <{email}> {} +0000",
        commit.written.secs().max(0)
    )?;
    writeln!(
        out,
        "committer {} <{}> {} +0000",
        plain(list),
        plain(address),
        commit.arrived.secs().max(0)
    )?;
    // Lengths are counted, so that no subject can end its own data.
    write!(out, "data {}\n{subject}\n", subject.len())?;
    write!(out, "M 100644 inline m\ndata {}\n", commit.bytes.len())?;
    out.write_all(&commit.bytes)?;
    out.write_all(b"\n")
}

/// A name or address without what an identity line is made of.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, '<' | '>') && !c.is_control())
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_and_subjects_stay_inside_their_fields() {
        let mail = b"From: \"a <x>\n b\" <evil@x>\nSubject: one\n two\n\nbody\n";
        let commit = EpochCommit::new(
            crate::mail::parse(mail),
            mail.to_vec(),
            Timestamp::from_secs(7),
        );
        let mut out = Vec::new();
        write_commit(&mut out, &commit, "dev", "dev@x").expect("a vector takes all");
        let text = String::from_utf8(out).expect("text");
        assert!(
            text.contains("committer dev <dev@x> 7 +0000\ndata 7\none two\nM 100644 inline m\n"),
            "{text}"
        );
        assert_eq!(text.matches("\nauthor ").count(), 1);
        assert!(
            text.contains("data 0\n") || text.contains("Message-ID: <"),
            "{text}"
        );
    }
}
