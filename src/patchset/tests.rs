use super::*;
use crate::mail;
use crate::types::{MailId, Timestamp};
use proptest::prelude::*;

#[track_caller]
fn check(subject: &str, expected: &str) {
    let tag = parse_tag(subject);
    let mut words = Vec::new();
    words.extend(tag.reply.then(|| "reply".to_owned()));
    words.extend(tag.forward.then(|| "forward".to_owned()));
    words.extend((!tag.tagged).then(|| "untagged".to_owned()));
    words.extend(tag.version.map(|v| {
        if v.minor == 0 {
            format!("v{}", v.major)
        } else {
            format!("v{}.{}", v.major, v.minor)
        }
    }));
    words.extend(tag.number.zip(tag.total).map(|(n, t)| format!("{n}/{t}")));
    for (set, name) in [(tag.rfc, "rfc"), (tag.resend, "resend"), (tag.wip, "wip")] {
        words.extend(set.then(|| name.to_owned()));
    }
    words.extend((!tag.prefixes.is_empty()).then(|| format!("({})", tag.prefixes.join(" "))));
    words.push(tag.title);
    assert_eq!(words.join(" "), expected, "subject: {subject}");
}

#[test]
fn tags_are_read_in_every_spelling_people_use() {
    check("[PATCH] fix leak", "fix leak");
    check("[PATCH foo v3 02/10] a", "v3 2/10 (foo) a");
    check("[RFC PATCH v2 0/3] a", "v2 0/3 rfc a");
    check("[PATCH RFC v2 1/2] a", "v2 1/2 rfc a");
    check("[PATCH RESEND v2 1/3] a", "v2 1/3 resend a");
    check("[PATCH v2 RESEND 1/3] a", "v2 1/3 resend a");
    check("[PATCHv2 1/3] a", "v2 1/3 a");
    check("[foo PATCH v2 1/3] a", "v2 1/3 (foo) a");
    check("[patch v2] a", "v2 a");
    check("[PATCH 1/2]a", "1/2 a");
    check("[RFC] a", "rfc a");
    check("[PATCH V2 1/3] a", "v2 1/3 a");
    check("[PATCH net-next,v2,1/3] a", "v2 1/3 (net-next) a");
    check("[net,v2,1/2] a", "v2 1/2 (net) a");
    check("[PATCH foo 1/3 v2] a", "v2 1/3 (foo) a");
    check("[PATCH  v2  1/2] a", "v2 1/2 a");
    check("[PATCH v5.1 2/2] a", "v5.1 2/2 a");
    check("[PATCH 1 of 3] a", "1/3 a");
    check("[v2PATCH12/15] a", "v2 12/15 a");
    check("[PATCH] a (v2)", "v2 a (v2)");
    check("PATCH v9: i", "v9 i");
    check("[list] [PATCH 3/4] a", "3/4 (list) a");
    check("[list] Re: [PATCH 3/4] a", "reply 3/4 (list) a");
}

#[test]
fn replies_and_forwards_are_told_apart_in_every_language() {
    check("Re: [PATCH] a", "reply a");
    check("AW: [PATCH] a", "reply a");
    check("Antw: Re: [PATCH] a", "reply a");
    check("Re[2]: [PATCH] a", "reply a");
    check("回复: [PATCH] a", "reply a");
    check("Fwd: [PATCH] a", "forward a");
    check("reverse: the order", "untagged reverse: the order");
}

#[test]
fn nonsense_numbers_are_no_marker() {
    check("[PATCH 3/n] a", "(3/n) a");
    check("[PATCH 0/0] a", "(0/0) a");
    check("[PATCH 70000/70001] a", "(70000/70001) a");
    check("[PATCH v99999999999] a", "a");
    check("[PATCH 3/2] a", "3/2 a");
    check("no tag at all", "untagged no tag at all");
}

const DIFF: &str = "\n---\n a | 2 +-\n\ndiff --git a/a b/a\nindex 1111111..2222222 100644\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n-- \n2.40\n";

struct Mail {
    id: &'static str,
    subject: &'static str,
    parent: &'static str,
    from: &'static str,
    minutes: i64,
}

fn mail_at(id: &'static str, subject: &'static str, parent: &'static str, minutes: i64) -> Mail {
    Mail {
        id,
        subject,
        parent,
        from: "ana@example.org",
        minutes,
    }
}

fn input(row: usize, m: &Mail) -> Input {
    let reply = m.subject.starts_with("Re:") || m.subject.contains("0/");
    let body = if reply { "\n> x\n\ntext\n" } else { DIFF };
    let parent = if m.parent.is_empty() {
        String::new()
    } else {
        format!("In-Reply-To: <{}>\n", m.parent)
    };
    let text = format!(
        "Message-ID: <{}>\nFrom: <{}>\nSubject: {}\n{parent}\n{body}",
        m.id, m.from, m.subject
    );
    let message = mail::parse(text.as_bytes());
    Input {
        mail: MailId(row as i64 + 1),
        identity: message.identity,
        message_id: message.message_id.clone(),
        parents: message.parents.clone(),
        arrived: Timestamp::from_secs(1_700_000_000 + m.minutes * 60),
        recognised: recognise(&message),
    }
}

fn render(patchsets: &[Patchset]) -> String {
    let mut lines = Vec::new();
    for set in patchsets {
        for s in &set.series {
            let numbers: Vec<String> = s
                .patches
                .iter()
                .map(|p| format!("{}{}", p.number, if p.taken_over { "*" } else { "" }))
                .collect();
            let state = format!(
                "{}{}",
                if s.complete { "" } else { " incomplete" },
                if s.superseded { " superseded" } else { "" }
            );
            let cover = if s.cover.is_some() { "+0" } else { "" };
            lines.push(format!(
                "v{} {}{cover} of {} c{}{state}",
                s.label,
                numbers.join(","),
                s.total,
                s.comments.len()
            ));
        }
        lines.push("--".to_owned());
    }
    lines.pop();
    lines.join("\n")
}

#[track_caller]
fn check_mails(mails: &[Mail], expected: &[&str]) {
    let inputs: Vec<Input> = mails.iter().enumerate().map(|(i, m)| input(i, m)).collect();
    assert_eq!(render(&assemble(&inputs)), expected.join("\n"));
    let mut back = inputs.clone();
    back.reverse();
    assert_eq!(
        assemble(&back),
        assemble(&inputs),
        "the order of processing does not matter"
    );
}

#[test]
fn a_series_with_cover_and_comments() {
    let m = [
        mail_at("c", "[PATCH 0/2] t", "", 0),
        mail_at("1", "[PATCH 1/2] a", "c", 1),
        mail_at("2", "[PATCH 2/2] b", "c", 2),
        mail_at("r", "Re: [PATCH 1/2] a", "1", 3),
    ];
    check_mails(&m, &["v1 1,2+0 of 2 c1"]);
}

#[test]
fn v2_in_reply_to_v1_is_a_series_of_its_own_and_supersedes() {
    let m = [
        mail_at("c", "[PATCH 0/2] t", "", 0),
        mail_at("1", "[PATCH 1/2] a", "c", 1),
        mail_at("2", "[PATCH 2/2] b", "c", 2),
        mail_at("c2", "[PATCH v2 0/2] t", "c", 100),
        mail_at("v1", "[PATCH v2 1/2] a", "c2", 101),
        mail_at("v2", "[PATCH v2 2/2] b", "c2", 102),
    ];
    check_mails(&m, &["v1 1,2+0 of 2 c0 superseded", "v2 1,2+0 of 2 c0"]);
}

#[test]
fn versions_never_mix_even_if_v1_lacks_a_patch() {
    let m = [
        mail_at("c", "[PATCH 0/3] t", "", 0),
        mail_at("1", "[PATCH 1/3] a", "c", 1),
        mail_at("2", "[PATCH 2/3] b", "c", 2),
        mail_at("x1", "[PATCH v2 1/3] a", "c", 100),
        mail_at("x2", "[PATCH v2 2/3] b", "c", 101),
        mail_at("x3", "[PATCH v2 3/3] d", "c", 102),
    ];
    check_mails(
        &m,
        &["v1 1,2+0 of 3 c0 incomplete superseded", "v2 1,2,3 of 3 c0"],
    );
}

#[test]
fn a_partial_reroll_takes_the_others_over() {
    let m = [
        mail_at("1", "[PATCH 1/2] a", "", 0),
        mail_at("2", "[PATCH 2/2] b", "1", 1),
        mail_at("n", "[PATCH v2 2/2] b", "2", 100),
    ];
    check_mails(&m, &["v1 1,2 of 2 c0 superseded", "v1-r1 1*,2 of 2 c0"]);
}

#[test]
fn a_branch_like_v5_10_is_no_version_but_v5_1_beside_v5_is() {
    check_mails(&[mail_at("1", "[PATCH v5.10] a", "", 0)], &["v1 1 of 1 c0"]);
    let m = [
        mail_at("1", "[PATCH v5] a", "", 0),
        mail_at("2", "[PATCH v5.1] a", "1", 9),
    ];
    check_mails(&m, &["v5 1 of 1 c0 superseded", "v5.1 1 of 1 c0"]);
}

#[test]
fn unthreaded_mails_join_by_time_and_different_senders_do_not() {
    let m = [
        mail_at("1", "[PATCH 1/2] a", "", 0),
        mail_at("2", "[PATCH 2/2] b", "", 15),
    ];
    check_mails(&m, &["v1 1,2 of 2 c0"]);
    let mut m = [
        mail_at("1", "[PATCH 1/2] a", "", 0),
        mail_at("2", "[PATCH 2/2] b", "", 15),
    ];
    m[1].from = "ben@example.org";
    check_mails(
        &m,
        &["v1 1 of 2 c0 incomplete", "--", "v1 2 of 2 c0 incomplete"],
    );
}

#[test]
fn a_retitled_v2_and_a_v2_without_thread_are_still_versions() {
    check_mails(
        &[
            mail_at("1", "[PATCH] a", "", 0),
            mail_at("2", "[PATCH v2] other", "1", 9),
        ],
        &["v1 1 of 1 c0 superseded", "v2 1 of 1 c0"],
    );
    check_mails(
        &[
            mail_at("1", "[PATCH] a b", "", 0),
            mail_at("2", "[PATCH v2]  A b.", "", 9),
        ],
        &["v1 1 of 1 c0 superseded", "v2 1 of 1 c0"],
    );
    check_mails(
        &[
            mail_at("1", "[PATCH] a", "", 0),
            mail_at("2", "[PATCH] a", "", 9),
        ],
        &["v1 1 of 1 c0", "--", "v1 1 of 1 c0"],
    );
}

#[test]
fn a_resend_in_reply_to_the_first_cover_keeps_both_covers() {
    let m = [
        mail_at("c", "[PATCH 0/2] t", "", 0),
        mail_at("1", "[PATCH 1/2] a", "c", 1),
        mail_at("2", "[PATCH 2/2] b", "c", 2),
        mail_at("d", "[PATCH 0/2] t", "c", 10),
        mail_at("3", "[PATCH 1/2] a", "d", 11),
        mail_at("4", "[PATCH 2/2] b", "d", 12),
    ];
    check_mails(&m, &["v1 1,2+0 of 2 c0", "v1-2 1,2+0 of 2 c0"]);
}

const SUBJECTS: [&str; 8] = [
    "[PATCH 0/2] t",
    "[PATCH 1/2] a",
    "[PATCH 2/2] b",
    "[PATCH v2 0/2] t",
    "[PATCH v2 1/2] a",
    "[PATCH v2 2/2] b",
    "Re: [PATCH 1/2] a",
    "[PATCH] single",
];
const IDS: [&str; 8] = ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7"];

proptest! {
    /// Any mails in any thread give the same outcome in any order, and mails without a link do not matter.
    #[test]
    fn order_and_strangers_change_nothing(
        shape in proptest::collection::vec((0usize..8, 0usize..9, 0i64..40), 1..8),
        order in proptest::collection::vec(any::<u32>(), 8),
    ) {
        let mails: Vec<Mail> = shape.iter().enumerate().map(|(i, (subject, parent, minutes))| {
            let parent = if *parent == 8 { "" } else { IDS[*parent] };
            mail_at(IDS[i], SUBJECTS[*subject], parent, *minutes)
        }).collect();
        let inputs: Vec<Input> = mails.iter().enumerate().map(|(i, m)| input(i, m)).collect();
        let expected = assemble(&inputs);
        let mut shuffled: Vec<(u32, Input)> = order.iter().copied().zip(inputs.clone()).collect();
        shuffled.sort_by_key(|(k, _)| *k);
        let shuffled: Vec<Input> = shuffled.into_iter().map(|(_, i)| i).collect();
        prop_assert_eq!(&assemble(&shuffled), &expected);
        let mut stranger = mail_at("z1", "[PATCH 1/2] other", "", 5);
        stranger.from = "ben@example.org";
        let mut more = inputs.clone();
        more.push(input(20, &stranger));
        let with: Vec<Patchset> = assemble(&more).into_iter().filter(|p| p.anchor != MailId(21)).collect();
        prop_assert_eq!(with, expected);
    }

    #[test]
    fn any_subject_is_read(subject in "\\PC{0,60}") {
        parse_tag(&subject);
    }
}
