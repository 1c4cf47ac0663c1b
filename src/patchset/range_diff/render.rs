//! A comparison as the text that `git range-diff --no-color` prints.

use super::{Pair, Sign};

/// Renders the pairs; ids as given, dashes of the same width where there is none.
pub fn render(pairs: &[Pair]) -> String {
    let count = |side: fn(&Pair) -> Option<usize>| pairs.iter().filter_map(side).max().unwrap_or(0);
    // Git makes room for one patch more than there is.
    let width = (count(|p| p.old).max(count(|p| p.new)) + 1)
        .to_string()
        .len();
    let ids = pairs.iter().flat_map(|p| &p.ids).flatten();
    let dashes = "-".repeat(ids.map(String::len).next().unwrap_or(7));
    let mut out = String::new();
    for pair in pairs {
        let side = |number: Option<usize>, id: &Option<String>| {
            let number = number.map_or("-".to_owned(), |n| n.to_string());
            format!("{number:>width$}:  {}", id.as_deref().unwrap_or(&dashes))
        };
        let (old, new) = (side(pair.old, &pair.ids[0]), side(pair.new, &pair.ids[1]));
        out += &format!("{old} {} {new} {}\n", pair.fate.sign(), pair.title);
        for hunk in &pair.hunks {
            out += "    @@";
            if !hunk.heading.is_empty() {
                out.push(' ');
                out += &hunk.heading;
            }
            out.push('\n');
            for row in &hunk.rows {
                out += match row.0 {
                    Sign::Old => "    -",
                    Sign::New => "    +",
                    Sign::Both => "     ",
                };
                out += &row.1;
                out.push('\n');
            }
        }
    }
    out
}
