use super::*;

fn show(spans: &[Span]) -> String {
    let one = |s: &Span| match &s.href {
        Some(href) if *href == s.text => format!("<{}>", s.text),
        Some(href) => format!("<{}|{href}>", s.text),
        None => s.text.replace('\n', "|"),
    };
    spans.iter().map(one).collect()
}

fn show_remarks(all: &[Remark]) -> String {
    all.iter().map(|r| r.author.as_str()).collect()
}

fn render(text: &str) -> String {
    render_blocks(&blocks(text))
}

fn render_blocks(blocks: &[Block]) -> String {
    let quoted = |q: &Quoted| format!("{}:{}", q.level, show(&q.spans));
    let block = |b: &Block| match b {
        Block::Prose(spans) => format!("prose[{}]", show(spans)),
        Block::Quote { hidden, shown, .. } => {
            format!(
                "quote{hidden}[{}]",
                shown.iter().map(quoted).collect::<Vec<_>>().join(" ")
            )
        }
        Block::Diff(files) => format!(
            "diff[{}]",
            files
                .iter()
                .map(|f| f.path.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        ),
        Block::Signature(spans) => format!("sig[{}]", show(spans)),
        Block::Remarks(all) => format!("remarks[{}]", show_remarks(all)),
    };
    blocks.iter().map(block).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(render(text), expected, "text: {text}");
}

#[test]
fn prose_quotes_and_signatures_are_told_apart() {
    check(
        "> old\nnew\n-- \nAna",
        "quote0[1:> old|] prose[new|] sig[-- |Ana|]",
    );
    check("a\n--\nb", "prose[a|--|b|]");
    check("", "");
}

#[test]
fn quotes_keep_their_levels_and_long_ones_fold_but_for_the_end() {
    check(
        "> a\n>> b\n> > c\n> d",
        "quote0[1:> a| 2:>> b|> > c| 1:> d|]",
    );
    let long: String = (1..=9).map(|n| format!("> {n}\n")).collect();
    check(&long, "quote6[1:> 7|> 8|> 9|]");
    check(&"> x\n".repeat(6), "quote0[1:> x|> x|> x|> x|> x|> x|]");
}

#[test]
fn a_diff_ends_where_its_counts_do() {
    check(
        "Fix\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n c\ndiff --git a/y b/y\nold mode 100644\nnew mode 100755\n-- \n2.40",
        "prose[Fix||] diff[x y] sig[-- |2.40|]",
    );
}

#[test]
fn a_patch_below_a_signature_line_is_still_a_patch() {
    check(
        "-- \nAna\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b",
        "sig[-- |Ana||] diff[x]",
    );
}

#[test]
fn only_web_addresses_become_links() {
    check(
        "see https://x.org/a. and http",
        "prose[see <https://x.org/a>. and http|]",
    );
    check(
        "(https://x.org/a_(b)) <http://y.org>",
        "prose[(<https://x.org/a_(b)>) <<http://y.org>>|]",
    );
    check(
        "javascript:x http:x https://",
        "prose[javascript:x http:x https://|]",
    );
    check("https://\"onclick=x", "prose[https://\"onclick=x|]");
}

#[test]
fn message_ids_become_links_where_a_header_names_them() {
    check(
        "In-Reply-To: <a/b@x>",
        "prose[In-Reply-To: <<a/b@x|/r/a%2Fb@x/>>|]",
    );
    check("From: Ana <a@x.org>", "prose[From: Ana <a@x.org>|]");
}

#[test]
fn nothing_turns_a_line_around_or_hides_a_part() {
    check("a\u{202e}b\u{7}c\td", "prose[a\u{fffd}b\u{fffd}c\td|]");
}

#[test]
fn subjects_split_into_tag_and_title() {
    let check = |subject: &str, tag: &str, title: &str| {
        assert_eq!(split_subject(subject), (tag.to_owned(), title.to_owned()));
    };
    check("[PATCH v3 1/5] fix", "[PATCH v3 1/5]", "fix");
    check("[a] [PATCH] fix [b]", "[a] [PATCH]", "fix [b]");
    check("[PATCH]fix", "[PATCH]", "fix");
    check("Re: [PATCH] fix", "Re: [PATCH]", "fix");
    check("RE: Re: fix", "RE: Re:", "fix");
    check("Re:", "", "Re:");
    check("Reé", "", "Reé");
    check("[only]", "", "[only]");
    check("[open", "", "[open");
}

#[test]
fn snippets_show_the_words_and_prefer_what_the_author_wrote() {
    let check = |text: &str, words: &[&str], expected: &str| {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        let piece = |p: &Piece| match p.marked {
            true => format!("[{}]", p.text),
            false => p.text.clone(),
        };
        let shown: String = snippet(text, &words).iter().map(piece).collect();
        assert_eq!(shown, expected, "{text:?} {words:?}");
    };
    let text = "> leak\nHello\n\nthere is a Leak in core";
    check(text, &["leak"], "there is a [Leak] in core");
    check(text, &[], "Hello there is a Leak in core");
    check("> a leak\nyes", &["leak"], "> a [leak] yes");
    check("> only", &["x"], "");
    check("core core", &["core", "cor"], "[core] [core]");
    check("İx leak", &["x"], "İ[x] leak");
    let far = "word ".repeat(30) + "leak" + &" tail".repeat(80);
    let words = ["leak".to_owned()];
    let pieces = snippet(&far, &words);
    assert!(pieces[0].text.starts_with("…word ") && pieces[1].marked);
    assert!(pieces[2].text.ends_with('…'));
    let long = snippet(&"é".repeat(500), &[]);
    assert!(long[0].text.ends_with("é…") && long[0].text.chars().count() == 201);
}

#[test]
fn tiles_are_two_letters_and_a_lasting_colour() {
    assert_eq!(tile("Ana Lima", "Ana@x").1, tile("A.", "ana@X").1);
    assert_eq!(tile("Ana Lima", "a@x").0, "AL");
    assert_eq!(tile("", "jo.ode@x").0, "JO");
    assert_eq!(tile("", "").0, "?");
    assert_eq!(tile("ß ß", "x").0, "SS");
}

/// Remarks by `a`, `b` … below these lines; rows of diffs that have some are shown as `sign line: who`.
#[track_caller]
fn check_remarks(text: &str, lines: &[usize], expected: &str) {
    let note = crate::patchset::Note {
        mail: crate::types::MailId(1),
        number: 1,
        text: "Why?".to_owned(),
        cut: false,
        mark: None,
        depth: 0,
        about: String::new(),
    };
    let remark = |name: &str| {
        let source = crate::view::remark::Source {
            number: 1,
            href: String::new(),
            author: (name, ""),
            verdict: String::new(),
            date: crate::types::Timestamp(0),
            version: None,
        };
        Remark::new(&note, &source)
    };
    let placed = lines.iter().zip(["a", "b", "c", "d", "e"]);
    let by_line = placed.map(|(line, name)| (*line, vec![remark(name)]));
    let found = blocks_with(text, by_line.collect());
    let mut out = render_blocks(&found);
    for block in &found {
        if let Block::Diff(files) = block {
            for file in files.iter() {
                let header = file.remarks.iter();
                out.extend(header.map(|r| format!(" {}: {}", file.path, r.author)));
                for row in file.rows.iter().filter(|r| !r.remarks.is_empty()) {
                    out.push_str(&format!(
                        " {}: {}",
                        row.pieces.concat(),
                        show_remarks(&row.remarks)
                    ));
                }
            }
        }
    }
    assert_eq!(out, expected, "{text}\n{lines:?}");
    let all: usize = found.iter().map(|b| b.remarks().len()).sum();
    assert_eq!(all, lines.len(), "none is lost");
}

#[test]
fn remarks_stand_below_their_lines() {
    let diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n c\ndiff --git a/y b/y\nindex 1..2\nGIT binary patch\nliteral 3\nKcmZQzWMT#Y01f~L\n\n";
    let text = format!("one\ntwo\nthree\n---\n{diff}-- \n2.40\n");
    check_remarks(
        &text,
        &[],
        "prose[one|two|three|---|] diff[x y] prose[|] sig[-- |2.40|]",
    );
    check_remarks(
        &text,
        &[1, 3, 9],
        "prose[one|two|] remarks[a] prose[three|---|] remarks[b] diff[x y] prose[|] sig[-- |2.40|] +b: c",
    );
    // On lines that are not shown by themselves: a header, binary data, the signature.
    check_remarks(
        &text,
        &[6, 7, 14, 17],
        "prose[one|two|three|---|] diff[x y] prose[|] sig[-- |2.40|] remarks[d] x: a @@ -1,2 +1,2 @@: b y: c",
    );
    check_remarks(
        "> a\n> b\n",
        &[0],
        "quote0[1:> a|] remarks[a] quote0[1:> b|]",
    );
    check_remarks("a\n", &[99], "prose[a|] remarks[a]");
}
