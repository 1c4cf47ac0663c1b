//! What the author of an answer wrote himself: web mailers put the mail that is answered below without marking its lines. Pure.

use super::tag::{normalise_title, parse_tag};

/// Lines that are looked at for where a quoted mail begins.
const MAX_LINES: usize = 5_000;
/// Lines of the head that programs write above a quoted mail.
const MAX_HEAD: usize = 10;
/// Lines that "On Monday, Ana Lima wrote:" is wrapped into.
const MAX_ATTRIBUTION: usize = 3;
/// A rule of so many underscores stands above a quoted mail, or above the footer of a list.
const RULE: usize = 20;

/// `From:` as programs of many languages name it above a quoted mail, in lower case.
const FROM: [&str; 22] = [
    "from",
    "von",
    "de",
    "da",
    "van",
    "fra",
    "från",
    "od",
    "lähettäjä",
    "feladó",
    "από",
    "gönderen",
    "kimden",
    "от",
    "від",
    "expéditeur",
    "mittente",
    "发件人",
    "寄件者",
    "差出人",
    "送信者",
    "보낸 사람",
];
/// `wrote` in the line above a quoted mail.
const WROTE: [&str; 14] = [
    "wrote",
    "writes",
    "schrieb",
    "écrit",
    "said",
    "escribió",
    "escreveu",
    "scritto",
    "schreef",
    "skrev",
    "napisał",
    "пишет",
    "написал",
    "写道",
];

/// The beginning of the text of an answer with this subject, up to where a whole mail is quoted without `>`: below `-----Original Message-----`
/// and its like, a rule of underscores, a head of that mail (`From:`, `Sent:`, `Subject:`, in whichever language), or, below words of the
/// author's own, `Ana <ana@x.org> wrote:`. All of it where there is no such thing.
pub(super) fn own_words<'a>(text: &'a str, subject: &str) -> &'a str {
    let title = title_of(subject);
    let mut starts = Vec::new();
    let mut at = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n').take(MAX_LINES) {
        starts.push(at);
        lines.push(line.trim());
        at += line.len();
    }
    let begins = |n: &usize| {
        is_separator(lines[*n]) || is_head(&lines[*n..], &title) || is_attribution(&lines, *n)
    };
    match (0..lines.len()).find(begins) {
        Some(n) => &text[..starts[n]],
        None => text,
    }
}

fn title_of(subject: &str) -> String {
    normalise_title(&parse_tag(subject).title)
}

/// `-----Original Message-----`, `---------- Forwarded message ---------`, `______________`. What `git mailinfo` cuts at (`-- >8 --`) is none.
fn is_separator(line: &str) -> bool {
    if line.len() >= RULE && line.bytes().all(|b| b == b'_') {
        return true;
    }
    let word = line.trim_matches('-');
    let dashes = line.len() - word.len();
    let scissors = ["8<", ">8", "%<", ">%", "✂"];
    let on_both_sides = line.starts_with("--") && line.ends_with("--") && dashes >= 8;
    on_both_sides
        && word.contains(char::is_alphabetic)
        && !scissors.iter().any(|s| word.contains(s))
}

/// `From: Ana <ana@x.org>`, as `*From:* Ana` too: the label in lower case, and the value.
fn labelled(line: &str) -> Option<(String, &str)> {
    let (label, value) = line.split_once([':', '：'])?;
    let label = label.trim_matches(['*', ' ', '\u{a0}']).to_lowercase();
    let plain = |c: char| c.is_alphabetic() || c == ' ';
    let short = (1..=3).contains(&label.split(' ').count()) && label.chars().count() <= 20;
    let value = value.trim_matches(['*', ' ', '\u{a0}']);
    (short && label.chars().all(plain)).then_some((label, value))
}

/// Whether the head of a mail begins there: who wrote it, and at least two lines more.
fn is_head(lines: &[&str], title: &str) -> bool {
    let Some((first, who)) = lines.first().and_then(|l| labelled(l)) else {
        return false;
    };
    let head = lines.iter().take(MAX_HEAD).take_while(|l| !l.is_empty());
    let all: Vec<(String, &str)> = head.filter_map(|l| labelled(l)).collect();
    let names_it = |(_, value): &(String, &str)| !title.is_empty() && title_of(value) == title;
    let known = FROM.contains(&first.as_str());
    all.len() >= 3 && !who.is_empty() && (known || all.iter().any(names_it))
}

/// Whether a paragraph begins there that says who wrote what stands below without marks.
fn is_attribution(lines: &[&str], at: usize) -> bool {
    let said = lines[..at].iter().any(|l| !l.is_empty());
    let starts = at > 0 && lines[at - 1].is_empty() && !lines[at].is_empty();
    if !said || !starts {
        return false;
    }
    let paragraph = lines[at..].iter().take_while(|l| !l.is_empty());
    let text: Vec<&str> = paragraph.take(MAX_ATTRIBUTION + 1).copied().collect();
    // The line that ends it, as the quoted mail may begin right below.
    let Some(end) = text.iter().position(|l| l.ends_with([':', '：'])) else {
        return false;
    };
    let sentence = text[..=end].join(" ");
    let who = sentence.contains('@') || sentence.contains(|c: char| c.is_ascii_digit());
    let wrote = WROTE
        .iter()
        .any(|word| sentence.to_lowercase().contains(word));
    let below = lines[at + end + 1..].iter().find(|l| !l.is_empty());
    let marked = below.is_none_or(|l| l.starts_with('>'));
    end < MAX_ATTRIBUTION && who && wrote && !marked
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "Re: [PATCH v2] README: tell the unit";

    /// The words, and below them what is quoted.
    #[track_caller]
    fn check(words: &str, quoted: &str) {
        let text = format!("{words}{quoted}");
        assert_eq!(own_words(&text, SUBJECT), words, "{quoted}");
    }

    #[test]
    fn a_mail_that_is_quoted_whole_ends_the_words() {
        let below = "\n/state accepted\n";
        for line in [
            "-----Original Message-----",
            "----- Original Message -----",
            "-----Ursprüngliche Nachricht-----",
            "---------- Forwarded message ---------",
            "-------- Weitergeleitete Nachricht --------",
            "________________________________",
        ] {
            check("On Monday.\n\n", &format!("{line}\n{below}"));
            check("", &format!("{line}\n{below}"));
        }
    }

    #[test]
    fn the_head_of_a_mail_ends_the_words_in_any_language() {
        for head in [
            "From: Ana <ana@x.org>\nSent: Friday\nTo: dev@x.org\nSubject: Hm\n",
            "*From:* Ana <ana@x.org>\n*Sent:* Friday\n*To:* dev@x.org\n",
            "Von: Ana <ana@x.org>\nGesendet: Freitag\nAn: dev@x.org\nBetreff: x\n",
            "De : Ana <ana@x.org>\nEnvoyé : vendredi\nÀ : dev@x.org\nObjet : x\n",
            "发件人：Ana <ana@x.org>\n发送时间：星期五\n收件人：dev@x.org\n",
            // Whose language is not known, by the title.
            "Sendandi: Ana <ana@x.org>\nSent á: föstudag\nEfni: RE: [PATCH v2] README: tell the unit\n",
        ] {
            check(
                "No.\n\n",
                &format!("{head}\nReviewed-by: Ben <ben@x.org>\n"),
            );
        }
    }

    #[test]
    fn who_wrote_ends_the_words_if_nothing_is_marked_below() {
        let line = "On Fri, Nov 27, 2026 at 12:04 AM Ana Lima <ana@x.org> wrote:\n";
        check("Hm.\n\n", &format!("{line}\n/state deferred\n"));
        check("Hm.\n\n", &format!("{line}/state deferred\n"));
        let wrapped = "Am Fr., 27. Nov. 2026 um 00:04 Uhr schrieb Ana Lima\n<ana@x.org>:\n";
        check("Hm.\n\n", &format!("{wrapped}\nHello\n"));
        // Marked lines, nothing below, or nothing of one's own above: who trims all that he answers leaves that line.
        check(
            &format!("Hm.\n\n{line}> text\n\nReviewed-by: B <b@x>\n"),
            "",
        );
        check(&format!("Hm.\n\n{line}\n> text\n\nYes.\n"), "");
        check(&format!("Hm.\n\n{line}\n"), "");
        check(&format!("{line}\nReviewed-by: B <b@x.org>\n"), "");
        check("Hm.\n\nAs I wrote:\n\nYes.\n", "");
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for text in [
            "Good.\n\nReviewed-by: Ben <ben@x.org>\nTested-by: Ben <ben@x.org>\nAcked-by: Kim <kim@x.org>\n",
            "Fixes: 12345678 (\"x\")\nLink: https://x.org/\nCc: kim@x.org\nReviewed-by: Ben <ben@x.org>\n",
            "Cc: kim@x.org\nLink: https://x.org/\nFixes: 12345678 (\"x\")\n",
            "From: Ana <ana@x.org>\n\nA patch's own head.\n",
            "-- >8 --\nWords.\n",
            "------- 8< ------- cut here ------- >8 -------\nWords.\n",
            "A table:\n\n| a |\n----------\n| b |\n",
            "Note: this\nAlso: that\nThen: more\n",
            "__init__\n",
        ] {
            check(text, "");
        }
    }
}
