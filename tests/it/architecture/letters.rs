//! Every text of automatic mail stands in a snapshot, word for word: whoever changes one sees what leaves.

use std::fs;

use super::{assert_none, files};

/// Shorter pieces of a template say nothing.
const SHORT: usize = 8;

#[test]
fn every_text_of_automatic_mail_has_a_snapshot() {
    let all = files("src").into_iter();
    let rust = all.filter(|f| f.extension().is_some_and(|e| e == "rs"));
    let sources: Vec<String> = rust
        .map(|f| fs::read_to_string(f).expect("a source file"))
        .collect();
    let templates = files("templates/mail");
    assert!(templates.len() >= 20, "{templates:?}");
    let mut found = Vec::new();
    for file in templates {
        let name = file.file_name().expect("a name").to_string_lossy();
        let text = fs::read_to_string(&file).expect("a template");
        found.extend(missing(&name, &text, &sources));
    }
    assert_none(&found);
}

/// What no test shows of a template, in words.
fn missing(name: &str, template: &str, sources: &[String]) -> Vec<String> {
    let Some(made) = sources.iter().find_map(|s| maker(s, name)) else {
        return vec![format!("templates/mail/{name}: no mail is made of it")];
    };
    let shown: Vec<&str> = sources.iter().flat_map(|s| snapshots(s, made)).collect();
    if shown.is_empty() {
        return vec![format!(
            "templates/mail/{name}: no test shows {made} as it leaves"
        )];
    }
    pieces(template)
        .into_iter()
        .filter(|piece| !shown.iter().any(|s| s.contains(piece.as_str())))
        .map(|piece| format!("templates/mail/{name}: no snapshot of {made} has {piece:?}"))
        .collect()
}

/// The type that is rendered with a template.
fn maker<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let (_, behind) = source.split_once(&format!("path = \"mail/{name}\""))?;
    let (_, named) = behind.split_once("pub struct ")?;
    named.split(|c: char| !c.is_alphanumeric()).next()
}

/// The snapshots of those tests that make such a mail, themselves or by what stands before the tests of their module.
fn snapshots<'a>(source: &'a str, made: &str) -> Vec<&'a str> {
    let starts = [format!(" {made} {{"), format!("({made} {{")];
    let makes = |text: &str| starts.iter().any(|start| text.contains(start));
    let before = source.split("#[test]").next().unwrap_or_default();
    let shared = before
        .split_once("mod tests {")
        .is_some_and(|(_, rest)| makes(rest));
    let tests = source.split("#[test]").skip(1);
    tests
        .filter(|test| shared || makes(test))
        .flat_map(|test| test.split("expect![[r#\"").skip(1))
        .filter_map(|rest| rest.split("\"#]]").next())
        .collect()
}

/// What a template says itself, line by line, without what is filled in.
fn pieces(template: &str) -> Vec<String> {
    let mut text = template.to_owned();
    for (open, close) in [("{{", "}}"), ("{%", "%}")] {
        while let Some(from) = text.find(open) {
            let length = text[from..].find(close).map_or(2, |at| at + 2);
            text.replace_range(from..from + length, "\n");
        }
    }
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|l| l.len() >= SHORT);
    lines.map(str::to_owned).collect()
}

#[test]
fn a_text_without_a_snapshot_is_found() {
    let template = "Hello,\n{% if a %}this is told{% else %}and this{% endif %} to {{ who }}.\n";
    let source = |shown: &str| {
        let text = format!(
            "#[template(path = \"mail/new.txt\")]\npub struct New<'a> {{}}\n\
             #[test] fn t() {{ let x = New {{}}; expect![[r#\"{shown}\"#]].assert_eq(x); }}"
        );
        vec![text]
    };
    let check = |sources: &[String]| missing("new.txt", template, sources);
    let whole = source("Hello,\nthis is told to ana.\nand this to ben.");
    assert_eq!(check(&whole), Vec::<String>::new());
    let half = check(&source("Hello,\nthis is told to ana."));
    assert!(
        half.len() == 1 && half[0].contains("\"and this\""),
        "{half:?}"
    );
    assert_eq!(check(&[]).len(), 1);
    let unseen = check(&[whole[0].replace("expect!", "assert!")]);
    assert!(unseen[0].contains("no test shows New"), "{unseen:?}");
}
