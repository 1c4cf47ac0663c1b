//! A mail's text as blocks of lines: prose, quotes that fold, diffs, signature. Everything is data; nothing is markup.

/// A run of text, maybe a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// As written.
    pub text: String,
    /// `http` or `https` only.
    pub href: Option<String>,
}

/// A line with its class in the style sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `add`, `del`, `hunk`, `file`, `meta`, `ctx`, or empty.
    pub class: &'static str,
    /// The line without its end.
    pub spans: Vec<Span>,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of the author.
    Prose,
    /// Quoted text.
    Quote,
    /// A diff.
    Diff,
    /// Behind `-- `.
    Signature,
}

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Shown folded, with this many lines said.
    pub folded: Option<usize>,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Block {
    /// Its class in the style sheet.
    pub fn class(&self) -> &'static str {
        match self.kind {
            Kind::Prose => "prose",
            Kind::Quote => "quote",
            Kind::Diff => "diff",
            Kind::Signature => "sig",
        }
    }
}

/// More quoted lines than this fold.
const FOLD: usize = 6;
/// More lines than this are not laid out; the mail can be had raw.
const MAX_LINES: usize = 50_000;

/// Cuts a text into blocks.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::new();
    let mut diff = Diff::default();
    let mut signature = false;
    for line in text.lines().take(MAX_LINES) {
        let class = diff.classify(line);
        signature |= class.is_none() && (line == "-- " || line == "--");
        let kind = match class {
            Some(_) => Kind::Diff,
            None if signature => Kind::Signature,
            None if line.starts_with('>') => Kind::Quote,
            None => Kind::Prose,
        };
        let spans = if kind == Kind::Diff {
            vec![Span {
                text: visible(line),
                href: None,
            }]
        } else {
            spans(line)
        };
        let line = Line {
            class: class.unwrap_or_default(),
            spans,
        };
        match out.last_mut() {
            Some(block) if block.kind == kind => block.lines.push(line),
            _ => out.push(Block {
                kind,
                folded: None,
                lines: vec![line],
            }),
        }
    }
    for block in &mut out {
        if block.kind == Kind::Quote && block.lines.len() > FOLD {
            block.folded = Some(block.lines.len());
        }
    }
    out
}

/// Follows a diff line by line by the counts of its hunks.
#[derive(Default)]
struct Diff {
    left: (u64, u64),
    header: bool,
}

impl Diff {
    fn classify(&mut self, line: &str) -> Option<&'static str> {
        if self.left != (0, 0) {
            return match line.as_bytes().first() {
                Some(b'+') => self.used(0, 1, "add"),
                Some(b'-') => self.used(1, 0, "del"),
                Some(b' ') | None => self.used(1, 1, "ctx"),
                Some(b'\\') => Some("meta"),
                _ => {
                    self.left = (0, 0);
                    None
                }
            };
        }
        if line.starts_with("diff --git ") {
            self.header = true;
            return Some("file");
        }
        if let Some(counts) = line.strip_prefix("@@ -").and_then(hunk) {
            self.left = counts;
            self.header = true;
            return Some("hunk");
        }
        let meta = [
            "--- a/",
            "+++ b/",
            "--- /dev/null",
            "+++ /dev/null",
            "index ",
            "new file mode ",
            "deleted file mode ",
            "old mode ",
            "new mode ",
            "similarity index ",
            "rename ",
            "copy ",
            "GIT binary patch",
            "\\ No newline",
        ];
        if self.header && meta.iter().any(|m| line.starts_with(m)) {
            return Some("meta");
        }
        self.header = false;
        (line.starts_with("--- a/") || line.starts_with("+++ b/")).then_some("meta")
    }

    fn used(&mut self, old: u64, new: u64, class: &'static str) -> Option<&'static str> {
        self.left = (
            self.left.0.saturating_sub(old),
            self.left.1.saturating_sub(new),
        );
        Some(class)
    }
}

fn hunk(rest: &str) -> Option<(u64, u64)> {
    let (ranges, _) = rest.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let size = |range: &str| {
        range
            .split_once(',')
            .map_or(Some(1), |(_, n)| n.parse().ok())
    };
    Some((size(old)?, size(new)?))
}

/// The text with control characters shown: nobody may turn a line around or hide a part of it.
pub fn visible(line: &str) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
            || (c.is_control() && c != '\t')
    };
    if !line.contains(hidden) {
        return line.to_owned();
    }
    line.chars()
        .map(|c| if hidden(c) { '\u{fffd}' } else { c })
        .collect()
}

/// A line with its web addresses as links.
fn spans(line: &str) -> Vec<Span> {
    let line = visible(line);
    let mut out = Vec::new();
    let mut rest = line.as_str();
    while let Some(at) = rest.find("http") {
        let candidate = &rest[at..];
        let end = candidate
            .find(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`'))
            .unwrap_or(candidate.len());
        let url = candidate[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '\'']);
        let safe = (url.starts_with("http://") || url.starts_with("https://")) && url.len() > 8;
        let used = if safe { url.len() } else { 4 };
        if safe {
            if at > 0 {
                out.push(Span {
                    text: rest[..at].to_owned(),
                    href: None,
                });
            }
            out.push(Span {
                text: url.to_owned(),
                href: Some(url.to_owned()),
            });
            rest = &rest[at + used..];
        } else {
            out.push(Span {
                text: rest[..at + used].to_owned(),
                href: None,
            });
            rest = &rest[at + used..];
        }
    }
    if !rest.is_empty() || out.is_empty() {
        out.push(Span {
            text: rest.to_owned(),
            href: None,
        });
    }
    out
}

/// Two letters and one of eight colours that tell voices apart.
pub fn tile(name: &str, address: &str) -> (String, u8) {
    let source = if name.trim().is_empty() {
        address
    } else {
        name
    };
    let letters: String = source
        .split(|c: char| !c.is_alphanumeric())
        .filter_map(|w| w.chars().next())
        .take(2)
        .flat_map(char::to_uppercase)
        .collect();
    let sum = address.to_lowercase().bytes().fold(17u32, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u32::from(b))
    });
    (
        if letters.is_empty() {
            "?".to_owned()
        } else {
            letters
        },
        (sum % 8) as u8,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> String {
        let show = |b: &Block| {
            let lines: Vec<String> = b
                .lines
                .iter()
                .map(|l| {
                    let spans: Vec<String> = l
                        .spans
                        .iter()
                        .map(|s| {
                            if s.href.is_some() {
                                format!("<{}>", s.text)
                            } else {
                                s.text.clone()
                            }
                        })
                        .collect();
                    format!(
                        "{}{}",
                        if l.class.is_empty() {
                            String::new()
                        } else {
                            format!("{}:", l.class)
                        },
                        spans.concat()
                    )
                })
                .collect();
            format!(
                "{}[{}]{}",
                b.class(),
                lines.join("|"),
                if b.folded.is_some() { " folded" } else { "" }
            )
        };
        blocks(text).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn prose_quotes_and_signatures_are_told_apart() {
        assert_eq!(
            render("> old\nnew\n-- \nAna"),
            "quote[> old] prose[new] sig[-- |Ana]"
        );
        assert!(render(&"> q\n".repeat(7)).ends_with("folded"));
    }

    #[test]
    fn a_diff_is_followed_by_its_counts_and_the_mail_signature_is_not_part_of_it() {
        let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n c\n-- \n2.40";
        assert_eq!(
            render(text),
            "diff[file:diff --git a/x b/x|meta:--- a/x|meta:+++ b/x|hunk:@@ -1,2 +1,2 @@|del:-a|add:+b|ctx: c] sig[-- |2.40]"
        );
    }

    #[test]
    fn only_web_addresses_become_links_and_nothing_turns_the_line_around() {
        assert_eq!(
            render("see https://x.org/a. and http"),
            "prose[see <https://x.org/a>. and http]"
        );
        assert_eq!(render("javascript:x http:x"), "prose[javascript:x http:x]");
        assert_eq!(render("a\u{202e}b"), "prose[a\u{fffd}b]");
    }
}
