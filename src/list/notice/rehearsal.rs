//! The text of the answer to a rehearsal. It holds its reader's own words: he alone gets it, and his mail was authenticated.

use askama::Template;

/// `templates/mail/rehearsal.txt`; all lines are wrapped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Template)]
#[template(path = "mail/rehearsal.txt", escape = "none")]
pub struct Rehearsal {
    /// Whether it can be sent as it is.
    pub verdict: Vec<String>,
    /// What is to be done next.
    pub end: String,
    /// Posting address.
    pub list: String,
    /// Of how many mails it is.
    pub count: usize,
    /// Subjects of the mails that it is about.
    pub mails: Vec<String>,
    /// What the list would do.
    pub decision: Vec<String>,
    /// What each step of the policy found.
    pub steps: Vec<String>,
    /// How they would be grouped.
    pub series: Vec<String>,
    /// Whether and on what the series applies; empty: it is no series.
    pub applies: Vec<String>,
    /// What a mail program broke.
    pub damage: Vec<String>,
    /// Trailers by patch.
    pub trailers: Vec<String>,
}

/// `templates/mail/untried.txt`: trouble of ours kept mails from being tried.
#[derive(Debug, Clone, Template)]
#[template(path = "mail/untried.txt", escape = "none")]
pub struct Untried<'a> {
    /// Posting address.
    pub list: &'a str,
    /// How many mails.
    pub count: usize,
}

/// Lines of at most `width` characters, of the words of a text.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = usize::MAX;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if used.saturating_add(1 + length) <= width => {
                line.push(' ');
                line.push_str(word);
                used += 1 + length;
            }
            _ => {
                lines.push(word.to_owned());
                used = length;
            }
        }
    }
    lines
}

/// A name, and a text beside it that is wrapped there.
pub fn beside(name: &str, text: &str) -> Vec<String> {
    const COLUMN: usize = 12;
    let lines = wrap(text, 72 - COLUMN);
    let first = |at: usize| if at == 0 { name } else { "" };
    let line = |(at, text): (usize, &String)| format!("{:<COLUMN$}{text}", first(at));
    lines.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use askama::Template;
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_rehearsal_as_it_leaves() {
        let lines = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
        let text = Rehearsal {
            verdict: lines(&["This can be sent as it is."]),
            end: "To post it, send the same mails to dev@x.org.".to_owned(),
            list: "dev@x.org".to_owned(),
            count: 2,
            mails: lines(&["[PATCH 1/2] one", "[PATCH 2/2] two"]),
            decision: lines(&["It would be accepted."]),
            steps: beside("loop", "it did not go through this list before"),
            series: lines(&["\"one\", v1 of 2 patches."]),
            applies: lines(&["On tool at 123456789abc (the tip of main): it applies."]),
            damage: lines(&["Nothing that can be seen."]),
            trailers: lines(&["1/2 Signed-off-by: Ana <ana@example.org>"]),
        };
        expect![[r#"
            Hello,

            This can be sent as it is.

            This is what would become of your 2 mails at dev@x.org.
            Nothing was archived, and nothing was sent to anybody but you.

                [PATCH 1/2] one
                [PATCH 2/2] two

            Series

                "one", v1 of 2 patches.

            Does it apply?

                On tool at 123456789abc (the tip of main): it applies.

            What mail programs break

                Nothing that can be seen.

            Trailers

                1/2 Signed-off-by: Ana <ana@example.org>

            The list

                It would be accepted.

                loop        it did not go through this list before

            To post it, send the same mails to dev@x.org."#]]
        .assert_eq(&text.render().expect("it renders"));
        let alone = Rehearsal {
            count: 1,
            mails: lines(&["a question"]),
            applies: Vec::new(),
            trailers: Vec::new(),
            ..text
        };
        expect![[r#"
            Hello,

            This can be sent as it is.

            This is what would become of your mail at dev@x.org.
            Nothing was archived, and nothing was sent to anybody but you.

                a question

            Series

                "one", v1 of 2 patches.

            What mail programs break

                Nothing that can be seen.

            The list

                It would be accepted.

                loop        it did not go through this list before

            To post it, send the same mails to dev@x.org."#]]
        .assert_eq(&alone.render().expect("it renders"));
    }

    #[test]
    fn words_are_wrapped_beside_their_name() {
        assert_eq!(wrap("", 10), Vec::<String>::new());
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrap("longer-than-that a", 5), ["longer-than-that", "a"]);
        let text = "word ".repeat(20);
        let lines = beside("name", &text);
        assert!(
            lines[0].starts_with("name        word") && lines[1].starts_with("            word")
        );
        assert!(lines.iter().all(|l| l.len() <= 72));
    }
}
