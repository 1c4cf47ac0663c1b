//! `format=flowed` (RFC 3676): a paragraph that its author's program cut into lines is one line again, as wide as who reads it likes.

use super::diff;
use crate::mail::flowed::{self, Flow, Quotes};

/// The text with its paragraphs whole; `None` if it holds a diff, whose lines are what they are.
pub fn unflow(text: &str, delsp: bool) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    if (0..lines.len()).any(|at| diff::starts(&lines[at..])) {
        return None;
    }
    let quotes = Quotes::Marks;
    let whole = flowed::unflow(text.as_bytes(), Flow { delsp, quotes });
    // Lines are cut at ASCII only.
    Some(String::from_utf8_lossy(&whole).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, delsp: bool, expected: &str) {
        assert_eq!(unflow(text, delsp).as_deref(), Some(expected), "{text:?}");
    }

    #[test]
    fn paragraphs_are_whole_again() {
        check(
            "It goes \non and \non.\nNext\n",
            false,
            "It goes on and on.\nNext\n",
        );
        check("It go \nes on.\n", true, "It goes on.\n");
        // What begins with a blank, or a mark, was given a blank more.
        check("  indented\n >no quote\n", false, " indented\n>no quote\n");
        check("ends open ", false, "ends open \n");
        check("> +a\n>  \n> +b\n", false, "> +a\n>  \n> +b\n");
    }

    #[test]
    fn quotes_keep_their_depth() {
        check(
            "> He said \n> that.\n>> Deeper \n> Not the same.\nNo.\n",
            false,
            "> He said that.\n>> Deeper \n> Not the same.\nNo.\n",
        );
        check("> open \nmine\n", false, "> open \nmine\n");
    }

    #[test]
    fn a_signature_is_no_paragraph() {
        check("Bye \n-- \nAna \nLima\n", false, "Bye \n-- \nAna Lima\n");
        check("> -- \n> Ben\n", false, "> -- \n> Ben\n");
    }

    #[test]
    fn a_diff_is_left_as_it_is() {
        let diff = "Words \nand.\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(unflow(diff, false), None);
    }
}
