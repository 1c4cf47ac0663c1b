use super::*;

/// 2026-03-15 12:00 UTC.
const NOW: Timestamp = Timestamp::from_secs(1_773_576_000);

fn show(words: &Words) -> String {
    let join = |all: &[Words], with: &str| {
        format!("({})", all.iter().map(show).collect::<Vec<_>>().join(with))
    };
    match words {
        Words::Text {
            field,
            text,
            prefix,
        } => {
            let star = if *prefix { "^" } else { "" };
            let field = match field {
                Field::Any => String::new(),
                other => format!("{other:?}:").to_lowercase(),
            };
            format!("{field}<{text}>{star}")
        }
        Words::And(all) => join(all, " & "),
        Words::Or(all) => join(all, " | "),
        Words::Not(yes, no) => format!("({} - {})", show(yes), show(no)),
    }
}

fn render(text: &str) -> String {
    let query = match parse(text, NOW) {
        Ok(query) => query,
        Err(error) => return format!("error: {error}"),
    };
    let mut out: Vec<String> = query.words.iter().map(show).collect();
    let end =
        |t: Option<Timestamp>| t.map_or("*".to_owned(), |t| t.rfc3339().replace("T00:00:00Z", ""));
    for (name, range) in [("sent", query.sent), ("arrived", query.arrived)] {
        if range != Range::default() {
            out.push(format!(
                "{name} {} to {}",
                end(range.from),
                end(range.until)
            ));
        }
    }
    out.extend(query.id.map(|id| format!("id {id}")));
    out.join(", ")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(render(text), expected, "query: {text}");
}

#[test]
fn words_must_all_stand_there() {
    check("leak", "<leak>");
    check("memory leak", "(<memory> & <leak>)");
    check("memory AND leak", "(<memory> & <leak>)");
    check("\"use after free\" core", "(<use after free> & <core>)");
    check("leak*", "<leak*>^");
    check("selinux: fix", "(<selinux:> & <fix>)");
    check("\"open", "<open>");
}

#[test]
fn or_not_and_parentheses() {
    check("a OR b c", "(<a> | (<b> & <c>))");
    check("(a OR b) c", "((<a> | <b>) & <c>)");
    check("a NOT b", "((<a>) - (<b>))");
    check("a -b +c", "((<a> & <c>) - (<b>))");
    check("x-y or", "(<x-y> & <or>)");
    check("ORDER NOTE", "(<ORDER> & <NOTE>)");
    check("s:(a OR b)", "(subject:<a> | subject:<b>)");
}

#[test]
fn prefixes_say_where() {
    check(
        "s:\"a b\" f:ana b:x bs:y dfn:core.c",
        "(subject:<a b> & sender:<ana> & body:<x> & subjectbody:<y> & files:<core.c>)",
    );
    check("dfpost:4f2a91c", "(after:<4f2a91c>^)");
    check(
        "dfblob:4F2A91C09",
        "(blob:<4f2a91c> | blob:<4f2a91c0> | blob:<4f2a91c09>^)",
    );
    check(
        "dfpre:core",
        "error: dfpre: takes an id in hexadecimal, 7 digits of it or more",
    );
    check(
        "t:ana c:b@x tc:c a:d l:dev.x.org",
        "(to:<ana> & cc:<b@x> & recipients:<c> & people:<d> & list:<dev.x.org>)",
    );
    check("m:<a@x>", "id a@x");
}

#[test]
fn a_prefix_that_is_none_is_a_word_and_is_noted() {
    check("foo:bar", "<foo:bar>");
    let unknown = |text: &str| parse(text, NOW).expect("fine").unknown;
    assert_eq!(unknown("foo:bar (sub:x OR foo:y) s:z"), ["foo", "sub"]);
    assert!(unknown("selinux: fix https://x.org/y").is_empty());
}

#[test]
fn what_b4_and_lei_ask() {
    check(
        "(nq:\"change-id: X-1\" OR (s:\"fix\" AND f:\"a@x\")) AND d:20260304..",
        "((body:<change-id: X-1> | (subject:<fix> & sender:<a@x>))), sent 2026-03-04 to *",
    );
    check(
        "(leak) AND dt:20260301103000..",
        "(<leak>), sent 2026-03-01T10:30:00Z to *",
    );
    check("rt:1773576000..", "arrived 2026-03-15T12:00:00Z to *");
    check(
        "patchid:4f2a91c0 OR patchid:4F2A91C1",
        "(patch:<4f2a91c0>^ | patch:<4f2a91c1>^)",
    );
    check("thread:x", "error: thread: cannot be searched for here yet");
}

#[test]
fn days_include_both_ends() {
    check("d:20260101..20260131", "sent 2026-01-01 to 2026-02-01");
    check("d:2026-01-01", "sent 2026-01-01 to 2026-01-02");
    check("d:..20260309", "sent * to 2026-03-10");
    check("d:2.weeks.ago.. x", "(<x>), sent 2026-03-01 to *");
    check("d:last.month..yesterday", "sent 2026-02-15 to 2026-03-15");
    check(
        "d:20260101.. d:..20260201 d:20251201..",
        "sent 2026-01-01 to 2026-02-02",
    );
    check(
        "d:20261301",
        "error: \"20261301\" is not a date; write 20260131, 20260131235959 or 2.weeks.ago",
    );
    check(
        "d:x OR y",
        "error: \"x\" is not a date; write 20260131, 20260131235959 or 2.weeks.ago",
    );
}

#[test]
fn what_cannot_be_answered_is_said() {
    check("", "error: a search needs a word: letters or digits");
    check(
        "*** \"\" ()",
        "error: a search needs a word: letters or digits",
    );
    check(
        "NOT a",
        "error: a search needs a word that is wanted, not only unwanted ones",
    );
    check("(a", "error: a parenthesis is not closed");
    check("a)", "error: a closing parenthesis has no opening one");
    check(
        "a OR d:20260101",
        "error: dates and m: narrow the whole search: write them outside of OR and NOT",
    );
    check(
        &"(".repeat(5000),
        "error: the search has too many parentheses",
    );
    let too_many = "error: a search takes up to 40 words, 5 of them with a *";
    check(&"a ".repeat(41), too_many);
    check(&"abc* ".repeat(6), too_many);
    check(
        "s:core.c*",
        "error: core.c* stands for too many words: a beginning has 3 letters or more",
    );
    let ids = |count| "patchid:0123456789 OR ".repeat(count) + "x";
    assert!(parse(&ids(199), NOW).is_ok());
    check(&ids(201), "error: a search takes up to 200 words");
    check(&"a".repeat(9000), "error: the search is too long");
}

#[test]
fn a_range_whose_numbers_do_not_fit_is_refused_quietly() {
    check(
        "d:99999999999999",
        "error: \"99999999999999\" is not a date; write 20260131, 20260131235959 or 2.weeks.ago",
    );
    check(
        "d:4294967295.years.ago..",
        "error: \"4294967295.years.ago\" is not a date; write 20260131, 20260131235959 or 2.weeks.ago",
    );
    check(
        "d:é..",
        "error: \"é\" is not a date; write 20260131, 20260131235959 or 2.weeks.ago",
    );
}

#[test]
fn unwanted_words_are_not_looked_for_in_what_was_found() {
    let query = parse("Leak NOT core", NOW).expect("fine");
    assert_eq!(query.shown_words(), ["leak"]);
}
