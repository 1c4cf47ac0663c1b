use super::acks::{MAX_ACKS, MAX_OF_ONE};
use super::*;
use crate::mail;
use crate::types::{MailId, MessageId, Timestamp};
use crate::verdict::Level;

fn answer(mail: i64, target: i64, from: (&str, &str), lines: &str) -> Answer {
    Answer {
        mail: MailId(mail),
        target: MailId(target),
        message_id: MessageId::parse("r@x").expect("an id"),
        name: from.0.to_owned(),
        address: from.1.to_owned(),
        level: Level::Unknown,
        trailers: parse_trailers(lines),
    }
}

const ANA: (&str, &str) = ("Ana Lima", "ana@example.org");
const EVE: (&str, &str) = ("Eve", "eve@example.net");

/// Patch 1 below cover 9; what stands in replies, as `Name: value (claim)`.
#[track_caller]
fn check(own: &str, answers: &[Answer], expected: &[&str]) {
    let given = acks_for(
        MailId(1),
        &[Level::Unknown],
        &parse_trailers(own),
        &[MailId(9)],
        answers,
    );
    let claim = |a: &Ack| if a.matches() { "" } else { " (claim)" };
    let found: Vec<String> = given
        .iter()
        .map(|a| format!("{}{}", a.trailer, claim(a)))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn who_may_give_what() {
    let ack = "Acked-by: Ana Lima <ana@example.org>";
    check("", &[answer(2, 1, ANA, ack)], &[ack]);
    check("", &[answer(2, 9, ANA, ack)], &[ack]);
    check("", &[answer(2, 7, ANA, ack)], &[]);
    check(ack, &[answer(2, 1, ANA, ack)], &[]);
    check(
        "",
        &[answer(2, 1, EVE, ack)],
        &["Acked-by: Ana Lima <ana@example.org> (claim)"],
    );
    // Her own word counts, whoever said it before.
    check(
        "",
        &[answer(2, 1, EVE, ack), answer(3, 9, ANA, ack)],
        &[ack],
    );
    check(
        "",
        &[answer(2, 1, ANA, ack), answer(3, 1, ANA, ack)],
        &[ack],
    );
    // Of one person once, with or without detail in the address; other names, kinds and people are others.
    let detailed = "Acked-by: ana lima <Ana+git@example.org>";
    let renamed = "Acked-by: Ana <ana@example.org>";
    check(
        "",
        &[answer(2, 1, ANA, ack), answer(3, 9, ANA, renamed)],
        &[ack, renamed],
    );
    check(
        "",
        &[answer(2, 1, ANA, ack), answer(3, 9, ANA, detailed)],
        &[ack],
    );
    check(detailed, &[answer(2, 1, ANA, ack)], &[]);
    let tested = "Tested-by: Ana Lima <ana@example.org>";
    check(
        "",
        &[answer(2, 1, ANA, ack), answer(3, 1, ANA, tested)],
        &[ack, tested],
    );
    let eves = "Acked-by: Eve <eve@example.net>";
    check(
        "",
        &[answer(2, 1, ANA, ack), answer(3, 1, EVE, eves)],
        &[ack, eves],
    );
    let other = "Acked-by: Ana Lima <ana@work.example>";
    check("", &[answer(2, 1, ANA, other)], &[other]);
    let turned = ("Lima, Ana", "ana@elsewhere.example");
    check("", &[answer(2, 1, turned, ack)], &[ack]);
    check(
        "",
        &[answer(2, 1, ("", "x@y.z"), "Acked-by: <ana@example.org>")],
        &["Acked-by: <ana@example.org> (claim)"],
    );
    // What names nobody may be given by anybody; fields of mails may not.
    check(
        "",
        &[answer(
            2,
            1,
            EVE,
            "Fixes: 0123456789ab (\"x\")\nCc: a@b.c\nChange-Id: x",
        )],
        &["Fixes: 0123456789ab (\"x\")"],
    );
    check(
        "",
        &[answer(2, 1, EVE, "> Acked-by: Eve <eve@example.net>")],
        &[],
    );
}

#[test]
fn replies_to_the_patch_come_before_those_to_the_cover() {
    let (ana, eve) = (
        "Tested-by: Ana <ana@example.org>",
        "Tested-by: Eve <eve@example.net>",
    );
    check(
        "",
        &[answer(2, 9, ANA, ana), answer(3, 1, EVE, eve)],
        &[eve, ana],
    );
}

/// Patch 1, signed; what is said of it, and by which mail.
fn given_to_a_signed_patch(answers: &[Answer]) -> Vec<(i64, bool)> {
    let given = acks_for(MailId(1), &[Level::Aligned], &[], &[], answers);
    let told = given.iter().map(|a| (a.mail.0, a.matches()));
    told.collect()
}

#[test]
fn a_forged_ack_takes_no_place_of_a_true_one() {
    let ack = "Reviewed-by: Ana Lima <ana@example.org>";
    let forged = answer(2, 1, ANA, ack);
    let signed = Answer {
        level: Level::Aligned,
        ..answer(3, 1, ANA, ack)
    };
    let check = |answers: &[Answer], expected: &[(i64, bool)]| {
        assert_eq!(given_to_a_signed_patch(answers), expected);
    };
    check(std::slice::from_ref(&forged), &[(2, false)]);
    check(&[forged.clone(), signed.clone()], &[(3, true)]);
    check(&[signed.clone(), forged.clone()], &[(3, true)]);
    // Nor do claims of other words about her.
    let bare = answer(4, 1, ANA, "Reviewed-by: <ana@example.org>");
    check(
        &[bare.clone(), forged.clone(), signed.clone()],
        &[(3, true)],
    );
    // Nor any number of them.
    let mut many: Vec<Answer> = Vec::new();
    for mail in 10..110 {
        let line = |n: i64| format!("Reviewed-by: <{mail}-{n}@example.net>\n");
        let lines: String = (0..200).map(line).collect();
        many.push(answer(
            mail,
            1,
            ("Eve", &format!("{mail}@example.net")),
            &lines,
        ));
    }
    many.push(signed);
    let found = given_to_a_signed_patch(&many);
    assert_eq!(found.len(), MAX_ACKS + 1);
    assert_eq!(found.last(), Some(&(3, true)));
}

/// Anybody writes any name beside an address of his own.
#[test]
fn where_addresses_are_proven_a_name_alone_is_a_claim() {
    let ack = "Reviewed-by: Ana Lima <ana@example.org>";
    let posing = ("Ana Lima", "kim@example.com");
    let signed = |mail, from| Answer {
        level: Level::Aligned,
        ..answer(mail, 1, from, ack)
    };
    let check = |answers: &[Answer], expected: &[(i64, bool)]| {
        assert_eq!(given_to_a_signed_patch(answers), expected);
    };
    check(&[signed(2, posing)], &[(2, false)]);
    check(&[signed(2, posing), signed(3, ANA)], &[(3, true)]);
    // Where nobody is known, the name is as good as the address.
    let found = acks_for(
        MailId(1),
        &[Level::Unknown],
        &[],
        &[],
        &[answer(2, 1, posing, ack)],
    );
    assert!(found[0].matches());
}

/// However the address of somebody else is written, it is his: on a signed patch and on one that nobody speaks for.
#[test]
fn whatever_names_somebody_else_is_a_claim() {
    let of_ana = [
        "Ana Lima <ana@example.org> (maintainer)",
        "Ana Lima <ana@example.org>.",
        "Ana Lima <ana@example.org> https://example.org/",
        "Ana Lima https://example.org/ana@example.org",
        "Ana Lima ana@example.org",
        "Ana Lima (ana@example.org)",
        "Ana Lima <ana@example.org",
        "Ana Lima <ana@example.org>, Eve <eve@example.net>",
        "ana@example.org <eve@example.net>",
        "Ana Lima",
    ];
    let kinds = [
        "Reviewed-by",
        "Signed-off-by",
        "Acked-and-tested-by",
        "Cc-by",
    ];
    for (value, kind) in of_ana.iter().flat_map(|v| kinds.map(|kind| (v, kind))) {
        let line = format!("{kind}: {value}");
        let eves = Answer {
            level: Level::Aligned,
            ..answer(2, 1, EVE, &line)
        };
        assert_eq!(given_to_a_signed_patch(&[eves]), [(2, false)], "{line}");
        check(
            "",
            &[answer(2, 1, EVE, &line)],
            &[&format!("{line} (claim)")],
        );
    }
    // What she says in her own name counts, with a remark behind it as well; and each of it once.
    let own = of_ana[..3].iter().map(|v| format!("Reviewed-by: {v}\n"));
    let hers = Answer {
        level: Level::Aligned,
        ..answer(2, 1, ANA, &own.collect::<String>())
    };
    assert_eq!(given_to_a_signed_patch(&[hers]), [(2, true)]);
}

/// Bounded, and each looked up rather than compared with all others.
#[test]
fn a_flood_of_trailers_is_cut() {
    let mut answers: Vec<Answer> = Vec::new();
    for mail in 10..110 {
        let line = |n: i64| format!("Link: https://example.net/{mail}/{n}\n");
        let lines: String = (0..200).map(line).collect();
        answers.push(answer(
            mail,
            1,
            ("Eve", &format!("{mail}@example.net")),
            &lines,
        ));
    }
    let given = |answers: &[Answer]| acks_for(MailId(1), &[Level::Unknown], &[], &[], answers);
    assert_eq!(
        given(&answers[..1]).len(),
        MAX_OF_ONE,
        "one sender takes few places"
    );
    let found = given(&answers);
    assert_eq!(found.len(), MAX_ACKS);
    assert!(found.iter().all(|a| a.matches()));
    let earlier = vec![Carried {
        label: "1".to_owned(),
        acks: given(&answers[50..]),
    }];
    assert_eq!(carry_acks(found, &[], earlier).len(), MAX_ACKS);
}

#[test]
fn an_unchanged_patch_keeps_what_earlier_versions_were_given() {
    let given =
        |answers: &[Answer]| acks_for(MailId(1), &[Level::Unknown], &[], &[MailId(9)], answers);
    let check =
        |own: &str, first: &[Answer], second: &[Answer], third: &[Answer], expected: &[&str]| {
            let carried = |label: &str, answers: &[Answer]| Carried {
                label: label.to_owned(),
                acks: given(answers),
            };
            let earlier = vec![carried("1", first), carried("2", second)];
            let found = carry_acks(given(third), &parse_trailers(own), earlier);
            let claim = |a: &Ack| if a.matches() { "" } else { " (claim)" };
            let on = |a: &Ack| {
                a.given_on
                    .as_ref()
                    .map_or(String::new(), |v| format!(" on v{v}"))
            };
            let found: Vec<String> = found
                .iter()
                .map(|a| format!("{}{}{}", a.trailer.name, claim(a), on(a)))
                .collect();
            assert_eq!(found, expected);
        };
    let ack = |mail: i64| answer(mail, 1, ANA, "Acked-by: Ana Lima <ana@example.org>");
    let forged = |mail: i64| answer(mail, 1, EVE, "Acked-by: Ana Lima <ana@example.org>");
    let tested = |mail: i64| answer(mail, 9, EVE, "Tested-by: Eve <eve@example.net>");
    check(
        "",
        &[ack(2)],
        &[tested(3)],
        &[],
        &["Tested-by on v2", "Acked-by on v1"],
    );
    check(
        "",
        &[ack(2)],
        &[],
        &[tested(3)],
        &["Tested-by", "Acked-by on v1"],
    );
    // Given again, or taken up by the author.
    check("", &[ack(2)], &[ack(3)], &[], &["Acked-by on v2"]);
    check("", &[ack(2)], &[ack(3)], &[ack(4)], &["Acked-by"]);
    check("Acked-by: <ana@example.org>", &[ack(2)], &[], &[], &[]);
    // A claim stays one, and gives way to the person's own word.
    check("", &[forged(2)], &[], &[], &["Acked-by (claim) on v1"]);
    check("", &[ack(2)], &[], &[forged(3)], &["Acked-by on v1"]);
    check(
        "",
        &[forged(2)],
        &[ack(3)],
        &[forged(4)],
        &["Acked-by on v2"],
    );
}

#[test]
fn addresses_of_one_person() {
    let check = |one: &str, other: &str, expected: bool| {
        assert_eq!(same_address(one, other), expected, "{one} {other}");
        assert_eq!(same_address(other, one), expected, "{other} {one}");
    };
    check("Ana@Example.org", "ana@example.org", true);
    check("ana+git@example.org", "ana@example.org", true);
    check("ana@linux.example.org", "ana@example.org", true);
    check("ana@a.b.example.org", "ana@example.org", false);
    check("ana@notexample.org", "ana@example.org", false);
    check("ana@example.org", "ana@org", false);
    check("ben@example.org", "ana@example.org", false);
    check("", "", false);
}

fn folded(subject: &str, from: &str, text: &str, acks: &[Ack], options: &FoldOptions) -> String {
    let mail = format!(
        "From: {from}\nSubject: {subject}\nMessage-ID: <m@x>\nTo: dev@lists.example.org\nDate: Mon, 01 Jan 2024 10:00:00 +0100\n\n{text}"
    );
    let message = mail::parse(mail.as_bytes());
    let moment = Timestamp::from_secs(0);
    let out =
        fold(mail.as_bytes(), &message, acks, None, moment, options).expect("it holds a patch");
    String::from_utf8(out).expect("text")
}

const DIFF: &str = "---\n a | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n";

#[test]
fn a_patch_becomes_a_mail_for_git_am() {
    let found = folded(
        "[foo PATCH RFC v2 1/3] a title",
        "\"Lima, Ana\" <ana@example.org>",
        &format!("Why.\n\nSigned-off-by: Ana Lima <ana@example.org>\n{DIFF}"),
        &acks_for(
            MailId(1),
            &[Level::Unknown],
            &[],
            &[],
            &[answer(2, 1, EVE, "Acked-by: Eve <eve@example.net>")],
        ),
        &FoldOptions {
            copy_cc: true,
            ..FoldOptions::default()
        },
    );
    let expected = format!(
        "From git@z Thu Jan  1 00:00:00 1970\nSubject: [PATCH RFC v2 1/3] a title\nFrom: \"Lima, Ana\" <ana@example.org>\n\
         Date: Mon, 01 Jan 2024 10:00:00 +0100\nMessage-Id: <m@x>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=\"utf-8\"\n\
         Content-Transfer-Encoding: 7bit\n\nWhy.\n\nSigned-off-by: Ana Lima <ana@example.org>\nAcked-by: Eve <eve@example.net>\n\
         Cc: dev@lists.example.org\n{DIFF}\n"
    );
    assert_eq!(found, expected);
}

/// A message cannot smuggle in a second mail or another author.
#[test]
fn what_looks_like_a_header_or_a_mail_stays_text() {
    let text = format!(
        "From eve@x Thu Jan  1 00:00:00 1970\nFrom: Eve <eve@example.net>\n\nWords.\n{DIFF}"
    );
    for trailers in [true, false] {
        let options = FoldOptions {
            trailers,
            ..FoldOptions::default()
        };
        let found = folded("[PATCH] x", "Ana <ana@example.org>", &text, &[], &options);
        assert_eq!(found.matches("\nFrom ").count(), 0, "{found}");
        let body = found.split_once("\n\n").expect("a body").1;
        assert!(
            body.starts_with("From: Ana <ana@example.org>\n\n"),
            "{found}"
        );
        let again = crate::diff::mailinfo::mailinfo(found.as_bytes()).expect("a patch");
        assert_eq!(
            (again.name.as_str(), again.email.as_str()),
            ("Ana", "ana@example.org")
        );
    }
}

#[test]
fn a_trailer_is_a_trailer() {
    let check = |line: &str, expected: Option<(&str, &str)>| {
        let found = Trailer::read(line);
        let found = found.as_ref().map(|t| (t.name.as_str(), t.value.as_str()));
        assert_eq!(found, expected, "{line}");
    };
    check("Acked-by: A <a@b.c>", Some(("Acked-by", "A <a@b.c>")));
    check("   Acked-by:\tA <a@b.c>", Some(("Acked-by", "A <a@b.c>")));
    check("Acked-by:A <a@b.c>", None);
    check("> Acked-by: A <a@b.c>", None);
    check("Acked by: A <a@b.c>", None);
    check("Fixes: the crash", None);
    check("Link: https://x/y  # z", Some(("Link", "https://x/y")));
    check("A: b", None);
    check(
        "Acked-by: A <a@b.c<mailto:a@b.c>>",
        Some(("Acked-by", "A <a@b.c>")),
    );
}
