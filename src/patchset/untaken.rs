//! Patches that a mail brings as a file and that are not taken, and why. Pure.

use super::alone;
use super::recognise::{Kind, Place, Recognised, part_text};
use super::scan;
use super::tag::parse_tag;
use crate::mail::{Message, Part};

/// An attached file that holds a patch which becomes no commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untaken {
    /// Its name, as the mail has it; may be empty.
    pub file: String,
    /// Why, and what to do: a part of a sentence.
    pub why: &'static str,
}

/// Of an answer with a file that git-format-patch(1) made.
const ANSWER: &str = "the mail is an answer, and the file says no higher version than what is answered. A new version is what `git format-patch -v2` \
     makes, attached; another patch of a series is a new mail of its own, without Re:. What is sent so is a suggestion";
/// Of what PowerShell's `>` writes.
const UTF_16: &str = "it is UTF-16, as `>` of PowerShell writes it. Let git write the file: `git format-patch -1` does";
/// Of a file whose name and type say nothing.
const NAME: &str = "neither its name nor its type says that it is one. Attach the file that `git format-patch` made, under the name that it has, which \
     ends in .patch";

/// The first such file, if the mail's patch is not that of its text.
pub fn untaken(message: &Message, recognised: &Recognised) -> Option<Untaken> {
    let found = |part: &Part, why| Untaken {
        file: part.filename.clone().unwrap_or_default(),
        why,
    };
    match recognised.diff {
        Some(Place::Part(at)) if recognised.kind == Kind::Comment => {
            let part = message.parts.get(at)?;
            let is_patch = alone::subject_of_file(part).is_some_and(|s| parse_tag(&s).tagged);
            is_patch.then(|| found(part, ANSWER))
        }
        Some(_) => None,
        None => message.parts.iter().find_map(|part| {
            if !part.attachment || part.content_type == "text/html" {
                return None;
            }
            if part_text(part).is_some_and(scan::has_diff) {
                return Some(found(part, NAME));
            }
            let is_so = utf_16(&part.bytes).is_some_and(|text| scan::has_diff(&text));
            is_so.then(|| found(part, UTF_16))
        }),
    }
}

impl Untaken {
    /// In a sentence, without its stop; the name is quoted.
    pub fn words(&self) -> String {
        let name = match self.file.is_empty() {
            true => "an attached file".to_owned(),
            false => format!("the file \"{}\"", self.file),
        };
        format!("{name} holds a patch, but it is not taken: {}", self.why)
    }
}

/// Text that begins with a mark of its byte order.
fn utf_16(bytes: &[u8]) -> Option<String> {
    let (mark, rest) = bytes.split_first_chunk::<2>()?;
    let read = match mark {
        [0xff, 0xfe] => u16::from_le_bytes,
        [0xfe, 0xff] => u16::from_be_bytes,
        _ => return None,
    };
    let (pairs, _) = rest.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| read(*pair)).collect();
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::super::recognise;
    use super::*;

    const DIFF: &str = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n-- \n2.40\n";

    fn of_git(subject: &str) -> String {
        format!(
            "From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\nFrom: Ana <a@b.c>\nSubject: {subject}\n\nWhy.\n---\n{DIFF}"
        )
    }

    /// What is made of a mail with one file, and why not.
    #[track_caller]
    fn check(
        subject: &str,
        kind: &str,
        name: &str,
        file: &[u8],
        expected: Kind,
        why: Option<&str>,
    ) {
        let file = data_encoding::BASE64.encode(file);
        let text = format!(
            "From: a@b.c\nMessage-ID: <m@x>\nSubject: {subject}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\
             Content-Type: text/plain\n\nHello.\n\n--b\nContent-Type: {kind}\nContent-Disposition: attachment; filename={name}\n\
             Content-Transfer-Encoding: base64\n\n{file}\n--b--\n"
        );
        let message = crate::mail::parse(text.as_bytes());
        let recognised = recognise(&message);
        assert_eq!(recognised.kind, expected, "{name}");
        let found = untaken(&message, &recognised);
        assert_eq!(found.is_some(), why.is_some(), "{name}: {found:?}");
        if let (Some(found), Some(why)) = (found, why) {
            assert_eq!(found.file, name);
            assert!(found.words().contains(why), "{found:?}");
        }
    }

    #[test]
    fn files_of_git_are_taken_whatever_a_web_mailer_calls_them() {
        let (file, bytes) = (of_git("[PATCH] b"), "application/octet-stream");
        for name in ["0001-x.patch.txt", "fix.TXT", "x.diff.txt", "x.patch"] {
            check("x", bytes, name, file.as_bytes(), Kind::Patch, None);
            check("x", "text/x-any", name, file.as_bytes(), Kind::Patch, None);
        }
        let next = of_git("[PATCH v2] b");
        check(
            "Re: [PATCH] b",
            bytes,
            "fix.txt",
            next.as_bytes(),
            Kind::Patch,
            None,
        );
        // A bare diff in such a file may be anything, and what is no text file is none.
        check(
            "x",
            bytes,
            "fix.txt",
            DIFF.as_bytes(),
            Kind::Plain,
            Some("neither its name"),
        );
        check(
            "x",
            bytes,
            "fix.bin",
            file.as_bytes(),
            Kind::Plain,
            Some("neither its name"),
        );
    }

    #[test]
    fn files_that_are_not_taken_say_why() {
        let file = of_git("[PATCH] b");
        let patch = "text/x-patch";
        check(
            "Re: [PATCH] b",
            patch,
            "b.patch",
            file.as_bytes(),
            Kind::Comment,
            Some("the mail is an answer"),
        );
        check(
            "Re: [PATCH] b",
            patch,
            "b.patch",
            DIFF.as_bytes(),
            Kind::Comment,
            None,
        );
        let units = |file: &str| file.encode_utf16().collect::<Vec<u16>>();
        let little: Vec<u8> = units(&file).iter().flat_map(|u| u.to_le_bytes()).collect();
        let big: Vec<u8> = units(&file).iter().flat_map(|u| u.to_be_bytes()).collect();
        let little = [&[0xff, 0xfe][..], &little].concat();
        let big = [&[0xfe, 0xff][..], &big].concat();
        check(
            "[PATCH] b",
            patch,
            "b.patch",
            &little,
            Kind::Plain,
            Some("UTF-16"),
        );
        check(
            "b",
            "application/octet-stream",
            "b.patch",
            &big,
            Kind::Plain,
            Some("UTF-16"),
        );
        check(
            "b",
            "application/octet-stream",
            "b.bin",
            b"\xff\xfeq",
            Kind::Plain,
            None,
        );
    }
}
