//! What mail programs break in patches, as far as the mail alone shows it. Pure.

use super::recognise::{Place, Recognised, patch_text, place};
use crate::mail::{Flaw, Message};

/// In plain words, a sentence each; empty if nothing is seen.
pub fn damage(message: &Message, recognised: &Recognised) -> Vec<String> {
    let mut found: Vec<&str> = Vec::new();
    let content_type = message.header("Content-Type").unwrap_or_default();
    if content_type.to_ascii_lowercase().contains("format=flowed") {
        found.push(
            "It is sent as format=flowed: programs on the way and at the reader's may join and split its lines. Turn that off.",
        );
    }
    if message.flaws.contains(&Flaw::HtmlOnly) {
        found.push("It has only HTML: what a patch is made of is lost in that. Send plain text.");
    }
    if message.flaws.contains(&Flaw::Charset) {
        found.push("Its text does not fit the charset that it declares.");
    }
    if matches!(recognised.diff, Some(Place::Part(_))) {
        found.push(
            "The patch is an attachment: it is taken, but nobody can quote its lines in an answer. Send it as the text.",
        );
    }
    let mut found: Vec<String> = found.into_iter().map(str::to_owned).collect();
    found.extend(patch_text(message).map(broken_lines).unwrap_or_default());
    found
}

/// The line that stands right under a hunk that has all its lines, if it looks as if it were the rest of its last one: git leaves it
/// away without a word. `text` is what the diff stands in, paragraphs undone.
pub fn goes_on(text: &str) -> Option<&str> {
    let (mut old, mut new) = (0u64, 0u64);
    let mut ended = false;
    for line in text.lines() {
        if old == 0 && new == 0 {
            if std::mem::take(&mut ended) && is_rest(line) {
                return Some(line);
            }
            (old, new) = hunk(line).unwrap_or_default();
            continue;
        }
        match line.bytes().next() {
            None | Some(b' ') => (old, new) = (old.saturating_sub(1), new.saturating_sub(1)),
            Some(b'-') => old = old.saturating_sub(1),
            Some(b'+') => new = new.saturating_sub(1),
            Some(b'\\') => {}
            // Broken before its end: that is said elsewhere.
            Some(_) => (old, new) = hunk(line).unwrap_or_default(),
        }
        ended = old == 0 && new == 0;
    }
    None
}

/// [`goes_on`] of the patch that a mail carries as it came; a text whose paragraphs were cut is not looked at.
pub fn text_goes_on(message: &Message) -> Option<&str> {
    let cut = matches!(place(message), Some(Place::Text))
        && message.parts.iter().any(|p| p.flowed.is_some());
    patch_text(message).filter(|_| !cut).and_then(goes_on)
}

/// What is said of [`goes_on`].
pub fn goes_on_words(rest: &str) -> String {
    let quoted: String = rest.chars().take(50).collect();
    format!(
        "The text goes on right under the last line of a diff: \"{quoted}\". Perhaps that line was wrapped: then its end is no part of the commit. If these are \
         words of yours, leave a line empty above them."
    )
}

/// How a line begins that follows a hunk and is no piece of it: the next file or hunk, a patch behind it, the commit that a log names.
const NEXT: [&str; 8] = [
    "@@", "diff ", "Index:", "index ", "From ", "commit ", "Only in ", "Binary ",
];

fn is_rest(line: &str) -> bool {
    // Two marks are a ruler: that of a signature, of a footer, of what was forwarded.
    let mut marks = line.chars().take(2);
    let is_ruler = marks
        .next()
        .is_some_and(|c| c.is_ascii_punctuation() && marks.next() == Some(c));
    let is_quote = line.starts_with(['>', '\\']);
    !(line.trim().is_empty()
        || is_ruler
        || is_quote
        || NEXT.iter().any(|start| line.starts_with(start)))
}

/// Whether no line of a patch's hunks has a tab, while some begin with eight blanks: mail programs make blanks of tabs.
pub fn may_have_lost_tabs(message: &Message) -> bool {
    let Some(text) = patch_text(message) else {
        return false;
    };
    let in_hunks = |l: &&str| l.starts_with([' ', '+', '-']);
    let mut lines = text.lines().filter(in_hunks);
    let blanks = text
        .lines()
        .filter(in_hunks)
        .any(|l| l[1..].starts_with("        "));
    blanks && !lines.any(|l| l.contains('\t'))
}

/// Of a patch that does not fit and [`has_crlf`].
pub const CRLF: &str = "Its line ends are CRLF, as Windows has them: such a line fits no file whose lines end in LF. Attach the file as git format-patch made it.";

/// Whether lines of a patch end in CRLF once its encoding is undone: `git am` keeps that, and so do we. Those of git's own lines count, which
/// end so only where a program changed the whole file.
pub fn has_crlf(message: &Message) -> bool {
    let parts = match place(message) {
        Some(Place::Part(at)) => message.parts.get(at..=at),
        Some(Place::Text) => Some(&message.parts[..]),
        None => None,
    };
    let is_so = |line: &[u8]| line.starts_with(b"@@ -") && line.ends_with(b"\r");
    let mut parts = parts.unwrap_or_default().iter();
    parts.any(|p| p.bytes.split(|b| *b == b'\n').any(is_so))
}

/// Lines of the signature that git writes at the end, at most.
const SIGNATURE: usize = 4;

/// Lines of hunks that begin as no line of a hunk does, and hunks that end early.
fn broken_lines(text: &str) -> Vec<String> {
    let mut found = Broken::default();
    let (mut old, mut new) = (0u64, 0u64);
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().copied().enumerate() {
        let number = at + 1;
        // git's signature, not a line that is taken away.
        if line == "-- " && at + SIGNATURE >= lines.len() {
            break;
        }
        if let Some((of_old, of_new)) = hunk(line) {
            found.ends(old, new);
            (old, new) = (of_old, of_new);
            continue;
        }
        if old == 0 && new == 0 {
            continue;
        }
        if line.starts_with("diff --git ") {
            found.ends(old, new);
            (old, new) = (0, 0);
            continue;
        }
        match line.chars().next() {
            None | Some(' ') => (old, new) = (old.saturating_sub(1), new.saturating_sub(1)),
            Some('-') => old = old.saturating_sub(1),
            Some('+') => new = new.saturating_sub(1),
            Some('\\') => {}
            Some('\u{a0}') => {
                found.no_break.get_or_insert(number);
                (old, new) = (old.saturating_sub(1), new.saturating_sub(1));
            }
            Some(_) => {
                found.wrapped.get_or_insert((number, line.to_owned()));
                found.count += 1;
            }
        }
    }
    found.ends(old, new);
    found.words()
}

#[derive(Default)]
struct Broken {
    wrapped: Option<(usize, String)>,
    count: u64,
    no_break: Option<usize>,
    short: u64,
}

/// A hunk that lacks fewer lines than this may have lost empty ones at its end, which git forgives.
const FORGIVEN: u64 = 1;

impl Broken {
    fn ends(&mut self, old: u64, new: u64) {
        if old.max(new) > FORGIVEN {
            self.short += 1;
        }
    }

    fn words(self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some((number, line)) = self.wrapped {
            let line: String = line.chars().take(50).collect();
            let more = match self.count {
                1 => String::new(),
                n => format!(" ({} lines are so)", n),
            };
            words.push(format!(
                "Long lines were wrapped: line {number} of the text, \"{line}\", begins with neither blank, + nor -{more}. Turn wrapping off, use \
                 git send-email, or attach the file that git format-patch made."
            ));
        }
        if let Some(number) = self.no_break {
            words.push(format!(
                "Blanks became no-break spaces (U+00A0), first in line {number} of the text: it was pasted out of an HTML view."
            ));
        }
        if self.short > 0 {
            words.push("A part of the patch is missing: hunks end before they have as many lines as they say.".to_owned());
        }
        words
    }
}

/// Lines before and after of `@@ -1,7 +1,8 @@`.
fn hunk(line: &str) -> Option<(u64, u64)> {
    let (old, new) = line.strip_prefix("@@ -")?.split_once(" +")?;
    let (new, _) = new.split_once(" @@")?;
    let count = |range: &str| match range.split_once(',') {
        Some((_, count)) => count.parse().ok(),
        None => range.parse::<u64>().ok().map(|_| 1),
    };
    Some((count(old)?, count(new)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "Text.\n---\n a | 2 +-\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n-- \n2.40\n";

    #[track_caller]
    fn check(fields: &str, text: &str, words: &[&str]) {
        let mail = format!("From: a@b.c\nSubject: [PATCH] x\n{fields}\n{text}");
        let message = crate::mail::parse(mail.as_bytes());
        let found = damage(&message, &super::super::recognise(&message));
        assert_eq!(found.len(), words.len(), "{found:?}");
        for (found, words) in found.iter().zip(words) {
            assert!(found.contains(words), "{found}");
        }
    }

    #[test]
    fn what_git_sends_is_whole() {
        check("", PATCH, &[]);
        let empty_context = PATCH.replace(" three\n", "\n");
        check("", &empty_context, &[]);
        let ends = PATCH.replace(" three\n", " three\n\\ No newline at end of file\n");
        check("", &ends, &[]);
    }

    #[test]
    fn what_mail_programs_do_is_said() {
        let flowed = "Content-Type: text/plain; charset=utf-8; Format=Flowed\n";
        check(flowed, PATCH, &["format=flowed"]);
        let wrapped = PATCH.replace("+2\n", "+2 is a long line that\nwas wrapped\n");
        check("", &wrapped, &["line 12 of the text, \"was wrapped\""]);
        let pasted = PATCH.replace(" one", "\u{a0}one");
        check("", &pasted, &["U+00A0"]);
        let cut = PATCH.replace("@@ -1,3 +1,3 @@", "@@ -1,30 +1,30 @@");
        check("", &cut, &["hunks end before"]);
        let both = "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n";
        let body = format!(
            "--b\nContent-Type: text/plain\n\n{PATCH}\n--b\nContent-Type: text/html\n\n<p>x\n--b--\n"
        );
        check(both, &body, &[]);
        check("Content-Type: text/html\n", "<p>diff", &["only HTML"]);
        let mixed = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n";
        let body = format!(
            "--b\nContent-Type: text/plain\n\nsee there\n--b\nContent-Type: text/x-patch\nContent-Disposition: attachment; filename=a.patch\n\n\
             {PATCH}\n--b--\n"
        );
        check(mixed, &body, &["attachment"]);
    }

    #[test]
    fn words_right_under_the_last_line_are_perhaps_its_rest() {
        let check = |new: &str, expected: Option<&str>| {
            let text = PATCH.replace("-- \n2.40\n", new);
            let mail = format!("From: a@b.c\nSubject: [PATCH] x\n\n{text}");
            let message = crate::mail::parse(mail.as_bytes());
            assert_eq!(text_goes_on(&message), expected, "{new}");
            assert_eq!(goes_on(&text), expected, "{new}");
        };
        let rest = "Celsius and 100 if it is not said.";
        check(&format!("{rest}\n-- \n2.40\n"), Some(rest));
        check("Celsius", Some("Celsius"));
        let more = PATCH[PATCH.find("diff").expect("a diff")..].to_owned();
        check(&format!("{rest}\n{more}"), Some(rest));
        for whole in [
            "-- \n2.40\n",
            "--\n2.40\n",
            "",
            "\nCelsius\n",
            " \nCelsius\n",
            "_____\ndev list\n",
            "\\ No newline at end of file\n",
            &more,
            "-----BEGIN PGP SIGNATURE-----\n",
            "> quoted\n",
            "Index: b\n====\n",
            "From 0123 Mon Sep 17\n",
            "@@ -9,1 +9,1 @@\n-a\n+b\n",
        ] {
            check(whole, None);
        }
        let flowed = "From: a@b.c\nSubject: [PATCH] x\nContent-Type: text/plain; format=flowed\n\n";
        let mail = format!("{flowed}{}", PATCH.replace("-- \n", "Celsius\n"));
        assert_eq!(text_goes_on(&crate::mail::parse(mail.as_bytes())), None);
    }

    #[test]
    fn a_file_with_line_ends_of_windows_is_told_from_files_that_have_them() {
        let check = |patch: &str, expected: bool| {
            let encoded = data_encoding::BASE64.encode(patch.as_bytes());
            let fields = "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n";
            for (kind, subject) in [("text/plain", "[PATCH] x"), ("text/x-patch", "x")] {
                let mail = format!(
                    "From: a@b.c\nSubject: {subject}\n{fields}Content-Type: {kind}\n\n{encoded}\n"
                );
                let message = crate::mail::parse(mail.as_bytes());
                assert_eq!(has_crlf(&message), expected, "{kind}: {patch}");
            }
        };
        check(PATCH, false);
        check(&PATCH.replace('\n', "\r\n"), true);
        check(&PATCH.replace("two\n", "two\r\n"), false);
        check("Words.\r\n", false);
    }

    #[test]
    fn tabs_that_became_blanks_are_suspected() {
        let blanks = PATCH.replace("one", "        one");
        let tabs = PATCH.replace("one", "\tone");
        for (text, expected) in [
            (PATCH, false),
            (blanks.as_str(), true),
            (tabs.as_str(), false),
        ] {
            let mail = format!("From: a@b.c\nSubject: [PATCH] x\n\n{text}");
            let message = crate::mail::parse(mail.as_bytes());
            assert_eq!(may_have_lost_tabs(&message), expected, "{text}");
        }
    }
}
