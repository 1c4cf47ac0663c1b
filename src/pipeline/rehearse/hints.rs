//! What mail programs did to a mail, and what helps against it, as the answer to a rehearsal and reports say it. Pure.

use crate::diff::mailinfo::unflow;
use crate::mail::{Flaw, Message};
use crate::patchset::{self, Kind, Place, Recognised};

/// What is said of one mail.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Hints {
    /// In sentences.
    pub said: Vec<String>,
    /// Why it cannot be used as it is, in a few words, if it may be so.
    pub broken: Option<&'static str>,
    /// It has no tab where there may have been some.
    pub lost_tabs: bool,
    /// The lines of its patch end in CRLF.
    pub crlf: bool,
    /// It looks as if it were meant as a patch, and no patch can be read in it.
    pub unread: bool,
    /// It holds a second patch, which becomes no commit.
    pub second: bool,
    /// Text stands right under its diff, which may be the rest of a wrapped line; that, quoted in a sentence.
    pub goes_on: Option<String>,
    /// A file that holds a patch that is not taken, and why.
    pub untaken: Option<String>,
}

/// How sentences about what makes a patch useless begin, and the same in a few words.
const BROKEN: [(&str, &str); 4] = [
    (
        "Long lines were wrapped",
        "lines of the patch were wrapped by your mail program",
    ),
    (
        "A part of the patch is missing",
        "a part of the patch is missing",
    ),
    (
        "Blanks became no-break spaces",
        "blanks of the patch became no-break spaces",
    ),
    ("It has only HTML", "it has only HTML"),
];
/// What works for all whose program does that.
const WAY: &str = "Web mailers do that to what is pasted into them. One way works there: attach the one file that `git format-patch` made, and \
     nothing else; an attached patch is taken.";

/// Of an answer that holds a patch.
const ANSWER: &str = "It is an answer (Re:), so the patch in it is shown as a suggestion. A new version is a mail with [PATCH v2] and without Re: in \
     its subject, or an answer with the file attached that `git format-patch -v2` made.";
/// Of what looks as if it were meant as a patch.
const UNREAD: &str = "It looks as if it were meant as a patch, and no patch can be read in it. What is taken is the text, or one attached file that \
     ends in .patch or .diff, as `git format-patch` makes it; no archive, and no lines that were doubled or joined.";
/// Of a mail with two patches.
const SECOND: &str = "It holds more than one patch: the first is taken, the others become no commit. Send each as a new mail of its own, not as an answer, all of \
     them within 20 minutes: their numbers ([PATCH 1/2]) then make them one series.";

/// What is to be said of a mail.
pub(in crate::pipeline) fn hints(mut message: Message, recognised: &Recognised) -> Hints {
    let kind = message.header("Content-Type").unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    if kind.contains("format=flowed") {
        // As it is read when it is applied.
        let text = unflow(message.text.as_bytes(), kind.contains("delsp=yes"));
        message.text = String::from_utf8_lossy(&text).into_owned();
    }
    let all = patchset::damage(&message, recognised);
    let is_of = |sentence: &str| BROKEN.iter().find(|(start, _)| sentence.starts_with(start));
    let broken = all.iter().find_map(|said| is_of(said)).map(|found| found.1);
    let attached = matches!(recognised.diff, Some(Place::Part(_)));
    let is_patch = recognised.diff.is_some();
    let meant = is_patch || message.subject.contains("PATCH");
    let answer = recognised.kind == Kind::Comment && is_patch;
    let goes_on = patchset::patch_text(&message).and_then(patchset::goes_on);
    let goes_on = goes_on
        .filter(|_| broken.is_none() && !answer)
        .map(patchset::goes_on_words);
    let untaken = patchset::untaken(&message, recognised).map(|u| u.words());
    let mut said: Vec<String> = Vec::new();
    for sentence in all {
        if sentence.starts_with("The patch is an attachment") {
            // Of an answer it is said below what becomes of it.
            said.extend((!answer).then(|| "The patch is an attachment: that is taken. Nobody can quote its lines in an answer; git send-email makes them the text.".to_owned()));
        } else if message.flaws.contains(&Flaw::HtmlOnly) || is_patch {
            said.push(sentence);
        }
    }
    said.extend(goes_on.clone());
    if (broken.is_some() || goes_on.is_some()) && meant && !attached {
        said.push(WAY.to_owned());
    }
    let (unread, second) = (
        broken.is_none() && untaken.is_none() && is_unread(&message, recognised),
        patchset::has_second_patch(&message),
    );
    let answer = answer && untaken.is_none();
    let more = [(unread, UNREAD), (answer, ANSWER), (second, SECOND)];
    let more = more.iter().filter(|(is_so, _)| *is_so);
    said.extend(more.map(|(_, words)| (*words).to_owned()));
    Hints {
        unread,
        second,
        crlf: patchset::has_crlf(&message),
        lost_tabs: patchset::may_have_lost_tabs(&message),
        said,
        broken,
        goes_on,
        untaken,
    }
}

impl Hints {
    /// What may be the reason why a patch does not fit, though all of it is there.
    pub(in crate::pipeline) fn unfit(&self) -> Vec<String> {
        let tabs = "It has no tab: if the files have, your mail program made blanks of them.";
        let all = [(self.lost_tabs, tabs), (self.crlf, patchset::CRLF)];
        let all = all.into_iter().filter(|(is_so, _)| *is_so);
        all.map(|(_, words)| words.to_owned()).collect()
    }
}

/// Files that people attach where they mean a patch.
const FILES: [&str; 4] = [".patch", ".diff", ".zip", ".gz"];

/// Whether a mail in which no diff was found was meant as a patch: by its subject, a file or a piece of a diff.
fn is_unread(message: &Message, recognised: &Recognised) -> bool {
    if recognised.kind.is_tracked() || recognised.diff.is_some() || recognised.tag.reply {
        return false;
    }
    let is_file = |name: &str| FILES.iter().any(|end| name.to_lowercase().ends_with(end));
    let mut files = message.parts.iter().filter_map(|p| p.filename.as_deref());
    let is_piece = |line: &str| line.starts_with("diff --git ") || line.starts_with("@@ -");
    recognised.tag.tagged || files.any(is_file) || message.text.lines().any(is_piece)
}

/// A cover letter's own trailers: what is indented is of a range-diff or quoted.
pub(super) fn keep_own_trailers(message: &Message, recognised: &mut Recognised) {
    if recognised.tag.number != Some(0) {
        return;
    }
    let lines: Vec<&str> = message.text.lines().collect();
    recognised.trailers.retain(|trailer| {
        let begins = |line: &&str| {
            let name = line.get(..trailer.name.len());
            name.is_some_and(|name| name.eq_ignore_ascii_case(&trailer.name))
                && line.contains(&trailer.value)
        };
        lines.iter().any(begins)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "Text.\n---\n a | 2 +-\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1,3 +1,3 @@\n one\n-two\n+2 words\n three\n-- \n2.40\n";

    #[track_caller]
    fn check(fields: &str, text: &str, words: &[&str], broken: Option<&str>) {
        let mail = format!("From: a@b.c\n{fields}\n\n{text}");
        let message = crate::mail::parse(mail.as_bytes());
        let recognised = patchset::recognise(&message);
        let found = hints(message, &recognised);
        assert_eq!(found.said.len(), words.len(), "{:?}", found.said);
        for (said, words) in found.said.iter().zip(words) {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(found.broken, broken);
    }

    #[test]
    fn flowed_lines_are_looked_at_as_they_are_applied() {
        let subject = "Subject: [PATCH] x";
        let flowed = format!("{subject}\nContent-Type: text/plain; format=flowed");
        // Blanks are put before lines that begin with one, and long lines are cut behind one.
        let stuffed = PATCH
            .replace("\n ", "\n  ")
            .replace("+2 words", "+2 \nwords");
        check(&flowed, &stuffed, &["format=flowed"], None);
        let wrapped = PATCH.replace("+2 words", "+2\nwords");
        let why = Some("lines of the patch were wrapped by your mail program");
        check(subject, &wrapped, &["were wrapped", "One way works"], why);
    }

    #[test]
    fn one_way_is_named_and_plain_questions_hear_nothing() {
        let both = "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b";
        let body = |text: &str| {
            format!(
                "--b\nContent-Type: text/plain\n\n{text}\n--b\nContent-Type: text/html\n\n<p>x\n--b--\n"
            )
        };
        check(
            &format!("Subject: [PATCH] x\n{both}"),
            &body(PATCH),
            &[],
            None,
        );
        check(&format!("Subject: hello\n{both}"), &body("text"), &[], None);
        check(
            "Subject: hello\nContent-Type: text/plain; format=flowed",
            "text\n",
            &[],
            None,
        );
        let html = "Content-Type: text/html";
        let why = Some("it has only HTML");
        check(
            &format!("Subject: hello\n{html}"),
            "<p>x",
            &["only HTML"],
            why,
        );
        let words = ["only HTML", "attach the one file"];
        check(
            &format!("Subject: [PATCH] x\n{html}"),
            "<p>diff",
            &words,
            why,
        );
        let mixed =
            "Subject: [PATCH] x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b";
        let body = format!(
            "--b\nContent-Type: text/plain\n\nsee there\n--b\nContent-Type: text/x-patch\nContent-Disposition: attachment; filename=a.patch\n\n{PATCH}\n--b--\n"
        );
        check(mixed, &body, &["that is taken"], None);
        let twice = body.replace(
            "--b--",
            &format!("--b\nContent-Type: text/x-diff\n\n{PATCH}--b--"),
        );
        check(mixed, &twice, &["that is taken", "more than one"], None);
    }

    #[test]
    fn what_was_meant_as_a_patch_and_is_none_is_said() {
        let doubled = PATCH.replace('\n', "\n\n");
        check(
            "Subject: [PATCH] x",
            &doubled,
            &["no patch can be read"],
            None,
        );
        check("Subject: x", &doubled, &["no patch can be read"], None);
        let zip = "Subject: x\nMIME-Version: 1.0\nContent-Type: application/zip\nContent-Disposition: attachment; filename=a.Patch.ZIP";
        check(zip, "PK", &["no patch can be read"], None);
        check("Subject: Re: [PATCH] x", "> a\n\nGood.\n", &[], None);
        let answer = "Subject: Re: [PATCH] x\nIn-Reply-To: <a@b.c>";
        check(answer, PATCH, &["It is an answer"], None);
    }

    #[test]
    fn what_stands_under_the_diff_and_files_that_are_not_taken_are_said() {
        let wrapped = PATCH.replace("-- \n", "and the rest\n-- \n");
        let words = [
            "right under the last line of a diff: \"and the rest\"",
            "One way works",
        ];
        check("Subject: [PATCH] x", &wrapped, &words, None);
        let flowed = "Subject: [PATCH] x\nContent-Type: text/plain; format=flowed";
        let joined = PATCH
            .replace("\n ", "\n  ")
            .replace(" three\n", " three \nand more\n");
        check(flowed, &joined, &["format=flowed"], None);
        let file = |subject: &str, kind: &str| {
            let of_git = format!(
                "From {} Mon Sep 17 00:00:00 2001\nFrom: a@b.c\nSubject: [PATCH] x\n\n{PATCH}",
                "0a".repeat(20)
            );
            let text = format!(
                "From: a@b.c\nSubject: {subject}\nContent-Type: {kind}\nContent-Disposition: attachment; filename=fix.bin\n\n{of_git}"
            );
            let message = crate::mail::parse(text.as_bytes());
            let recognised = patchset::recognise(&message);
            hints(message, &recognised)
        };
        let untaken = file("[PATCH] x", "application/octet-stream");
        assert!(!untaken.unread, "{untaken:?}");
        let said = untaken.untaken.unwrap_or_default();
        assert!(
            said.contains("the file \"fix.bin\" holds a patch, but it is not taken"),
            "{said}"
        );
        // It is either taken or not.
        let answer = file("Re: [PATCH] x", "text/x-patch");
        assert!(
            !answer.said.iter().any(|s| s.contains("taken")),
            "{answer:?}"
        );
        assert!(
            answer
                .untaken
                .unwrap_or_default()
                .contains("the mail is an answer")
        );
    }

    #[test]
    fn a_range_diff_in_a_cover_letter_has_no_trailers_of_its_own() {
        let text = "Words.\n\nReviewed-by: Ben <b@b.c>\n\nRange-diff against v1:\n1:  1234567 ! 1:  2345678 x\n     @@ Commit message\n      +Signed-off-by: Ana <a@b.c>\n           Signed-off-by: Ana <a@b.c>\n\n-- \n2.40\n";
        let mail = format!("From: a@b.c\nSubject: [PATCH v2 0/1] x\n\n{text}");
        let message = crate::mail::parse(mail.as_bytes());
        let mut recognised = patchset::recognise(&message);
        keep_own_trailers(&message, &mut recognised);
        let names: Vec<&str> = recognised
            .trailers
            .iter()
            .map(|t| t.name.as_str())
            .collect();
        assert!(!names.contains(&"Signed-off-by"), "{names:?}");
    }
}
