//! What stands unquoted in a reply and is no remark: who wrote, greetings, thanks, marks of what was cut, bare trailers.

use crate::patchset::trailer::parse_trailers;

/// Lines that "On Monday, Ana Lima wrote:" is wrapped into.
const MAX_ATTRIBUTION: usize = 3;

/// A run without its last paragraph, if that says who wrote what is quoted below.
pub(super) fn cut_attribution<'a, 'l>(run: &'a [&'l str]) -> &'a [&'l str] {
    let start = run.iter().rposition(|l| l.trim().is_empty());
    let start = start.map_or(0, |at| at + 1);
    let last = &run[start..];
    let text = last.join(" ");
    let words = ["wrote", "writes", "schrieb", "écrit", "said"];
    // A date, an address or such a word: "See below:" is a remark.
    let told = text.contains(|c: char| c.is_ascii_digit() || c == '@')
        || words.iter().any(|w| text.contains(w));
    let ends = text.trim_end().ends_with([':', '：']);
    if last.len() > MAX_ATTRIBUTION || !told || !ends {
        return run;
    }
    let kept = run[..start].iter().rposition(|l| !l.trim().is_empty());
    &run[..kept.map_or(0, |at| at + 1)]
}

/// `Hi Ana,`
pub(super) fn is_salutation(run: &[&str]) -> bool {
    matches!(run, [one] if one.trim_end().ends_with(',') && one.split_whitespace().count() <= 5)
}

/// `Thanks,` and a name, at the end of a mail that says more.
pub(super) fn is_courtesy(run: &[&str]) -> bool {
    let words = [
        "thanks",
        "thank you",
        "many thanks",
        "thanks again",
        "thx",
        "cheers",
        "best",
        "regards",
        "best regards",
        "kind regards",
        "br",
    ];
    let first = run.first().map(|l| l.trim().to_lowercase());
    let first = first
        .as_deref()
        .map(|l| l.trim_end_matches([',', '.', '!']));
    let short = run.len() <= 3 && run[1.min(run.len())..].iter().all(|l| is_name(l));
    short && first.is_some_and(|l| words.contains(&l))
}

fn is_name(line: &str) -> bool {
    let words = line.split_whitespace().count();
    words <= 3 && !line.contains(['?', '(', ';', ':'])
}

/// `/state rejected`, which is for the list's server.
pub(super) fn is_command(line: &str) -> bool {
    let word = line.split([' ', '\t']).next().unwrap_or_default();
    ["/state", "/delegate"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// `[...]`, `<snip>`, `…`
pub(super) fn is_cut_mark(line: &str) -> bool {
    let trimmed = line.trim();
    let bare = trimmed.trim_matches(|c: char| "[](){}<>-=~_*.…".contains(c));
    let words = [
        "snip", "snipped", "cut", "trimmed", "deleted", "skip", "skipped",
    ];
    let marked = bare.len() < trimmed.len();
    let bare = bare.trim();
    marked && (bare.is_empty() || words.contains(&bare.to_lowercase().as_str()))
}

/// Nothing but `Reviewed-by: …` and the like.
pub(super) fn is_only_trailers(run: &[&str]) -> bool {
    let said = run.iter().filter(|l| !l.trim().is_empty()).count();
    said > 0 && parse_trailers(&run.join("\n")).len() == said
}
