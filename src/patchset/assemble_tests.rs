use super::*;
use crate::mail;
use crate::types::{ListId, MailId, Timestamp};
use crate::verdict::{Level, Standing};

const DIFF: &str = "\n---\n a | 2 +-\n\ndiff --git a/a b/a\nindex 1111111..2222222 100644\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n-- \n2.40\n";

/// A mail of a story: number 0 and plain subjects carry text, replies quote, the others carry a diff.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    pub(super) id: String,
    pub(super) subject: String,
    pub(super) parent: String,
    pub(super) from: String,
    pub(super) minutes: i64,
    pub(super) fields: String,
    pub(super) standing: Standing,
    pub(super) lists: Vec<i64>,
}

pub(super) fn mail_at(id: &str, subject: &str, parent: &str, minutes: i64) -> Mail {
    Mail {
        id: id.to_owned(),
        subject: subject.to_owned(),
        parent: parent.to_owned(),
        from: "ana@example.org".to_owned(),
        minutes,
        fields: String::new(),
        standing: Standing::default(),
        lists: vec![1],
    }
}

impl Mail {
    pub(super) fn from(mut self, from: &str) -> Mail {
        self.from = from.to_owned();
        self
    }

    /// From a sender whose domain speaks for it, by a signature of its own.
    pub(super) fn signed(mut self) -> Mail {
        let proofs = vec![format!("b of {}", self.id)];
        self.standing = Standing {
            level: Level::Aligned,
            proofs,
            direct: false,
        };
        self
    }

    /// Looked at, and nothing speaks for it.
    pub(super) fn unsigned(mut self) -> Mail {
        self.standing.level = Level::None;
        self
    }

    /// Posted to these lists.
    pub(super) fn to(mut self, lists: &[i64]) -> Mail {
        self.lists = lists.to_vec();
        self
    }

    /// With a line such as `change-id: x` in its message.
    pub(super) fn says(mut self, line: &str) -> Mail {
        self.fields.push_str(line);
        self.fields.push('\n');
        self
    }
}

pub(super) fn input(row: usize, m: &Mail) -> Input {
    let body = if m.subject.starts_with("Re:") {
        "> x\n> y\n\ntext\n"
    } else if m.subject.contains("0/") || !m.subject.contains('[') {
        "text\n"
    } else {
        DIFF
    };
    let parents: Vec<String> = m
        .parent
        .split_whitespace()
        .map(|p| format!("<{p}>"))
        .collect();
    let references = match parents.is_empty() {
        true => String::new(),
        false => format!("References: {}\n", parents.join(" ")),
    };
    let text = format!(
        "Message-ID: <{}>\nFrom: <{}>\nSubject: {}\n{references}\n{}\n{body}",
        m.id, m.from, m.subject, m.fields
    );
    let message = mail::parse(text.as_bytes());
    Input {
        mail: MailId(row as i64 + 1),
        identity: message.identity,
        message_id: message.message_id.clone(),
        parents: message.parents.clone(),
        arrived: Timestamp::from_secs(1_700_000_000 + m.minutes * 60),
        lists: m.lists.iter().copied().map(ListId).collect(),
        standing: m.standing.clone(),
        person: recognise(&message).submitter,
        recognised: recognise(&message),
    }
}

pub(super) fn inputs(mails: &[Mail]) -> Vec<Input> {
    mails.iter().enumerate().map(|(i, m)| input(i, m)).collect()
}

pub(super) fn render(patchsets: &[Patchset]) -> String {
    let line = |s: &Series| {
        let number = |p: &Slot| format!("{}{}", p.number, if p.taken_over { "*" } else { "" });
        let numbers: Vec<String> = s.patches.iter().map(number).collect();
        let cover = if s.cover.is_some() { "+0" } else { "" };
        let mut out = format!("v{} {}{cover} of {}", s.label, numbers.join(","), s.total);
        let words = [
            (!s.comments.is_empty(), format!(" c{}", s.comments.len())),
            (!s.complete, " incomplete".to_owned()),
            (s.superseded, " superseded".to_owned()),
            (s.ambiguous, " ambiguous".to_owned()),
        ];
        out.extend(
            words
                .into_iter()
                .filter(|(set, _)| *set)
                .map(|(_, word)| word),
        );
        out
    };
    let set = |set: &Patchset| set.series.iter().map(line).collect::<Vec<_>>().join("\n");
    patchsets.iter().map(set).collect::<Vec<_>>().join("\n--\n")
}

#[track_caller]
fn check(mails: &[Mail], expected: &[&str]) {
    check_corrected(mails, &[], expected);
}

#[track_caller]
pub(super) fn check_corrected(mails: &[Mail], corrections: &[Correction], expected: &[&str]) {
    let inputs = inputs(mails);
    let found = assemble_corrected(&inputs, corrections);
    assert_eq!(render(&found), expected.join("\n"));
    let mut back = inputs.clone();
    back.reverse();
    assert_eq!(
        assemble_corrected(&back, corrections),
        found,
        "the order of processing does not matter"
    );
}

pub(super) fn series(version: &str, id: &str, parent: &str, minutes: i64) -> Vec<Mail> {
    let tag = |n: u32| {
        format!(
            "[PATCH{version} {n}/2] {}",
            ["topic", "one", "two"][n as usize]
        )
    };
    let cover = format!("{id}0");
    vec![
        mail_at(&cover, &tag(0), parent, minutes),
        mail_at(
            &format!("{id}1"),
            &tag(1),
            &format!("{parent} {cover}"),
            minutes,
        ),
        mail_at(
            &format!("{id}2"),
            &tag(2),
            &format!("{parent} {cover}"),
            minutes,
        ),
    ]
}

#[test]
fn a_series_with_cover_and_comments() {
    let mut m = series("", "a", "", 0);
    m.push(mail_at("r", "Re: [PATCH 1/2] one", "a0 a1", 3));
    m.push(mail_at("s", "Re: [PATCH 1/2] one", "a0 a1 r", 4));
    check(&m, &["v1 1,2+0 of 2 c2"]);
}

#[test]
fn v2_in_reply_to_v1_is_a_series_of_its_own_and_supersedes() {
    let mut m = series("", "a", "", 0);
    m.extend(series(" v2", "b", "a0", 100));
    check(&m, &["v1 1,2+0 of 2 superseded", "v2 1,2+0 of 2"]);
    // A comment on v2 belongs to v2, though the thread began with v1.
    m.push(mail_at("r", "Re: [PATCH v2 0/2] topic", "a0 b0", 103));
    check(&m, &["v1 1,2+0 of 2 superseded", "v2 1,2+0 of 2 c1"]);
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
    check(
        &m,
        &["v1 1,2+0 of 3 incomplete superseded", "v2 1,2,3 of 3"],
    );
}

#[test]
fn a_missing_version_is_that_of_the_cover_and_of_the_patches() {
    let m = [
        mail_at("c", "[PATCH v3 0/2] t", "", 0),
        mail_at("1", "[PATCH 1/2] a", "c", 1),
        mail_at("2", "[PATCH 2/2] b", "c", 2),
    ];
    check(&m, &["v3 1,2+0 of 2"]);
    let m = [
        mail_at("c", "[PATCH 0/2] t", "", 0),
        mail_at("1", "[PATCH v3 1/2] a", "c", 1),
        mail_at("2", "[PATCH v3 2/2] b", "c", 2),
    ];
    check(&m, &["v3 1,2+0 of 2"]);
}

#[test]
fn a_late_cover_and_late_patches_join() {
    let mut m = series("", "a", "", 0);
    m[0].minutes = 3_000;
    m[1].minutes = 5_000;
    check(&m, &["v1 1,2+0 of 2"]);
    // Patches below a cover that never came.
    check(&m[1..], &["v1 1,2 of 2"]);
}

#[test]
fn a_number_that_is_taken_starts_another_series() {
    let mut m = series("", "a", "", 0);
    m.extend(series("", "b", "a0", 10));
    check(&m, &["v1 1,2+0 of 2", "v1-2 1,2+0 of 2"]);
    let m = [
        mail_at("1", "[PATCH v2 1/4] a", "", 0),
        mail_at("2", "[PATCH v2 1/4] a", "", 1),
    ];
    check(&m, &["v2 1 of 4 incomplete", "--", "v2 1 of 4 incomplete"]);
}

#[test]
fn another_series_below_the_first_cover_is_another_patchset() {
    let mut m = series("", "a", "", 0);
    for n in 1..=4 {
        let (id, subject) = (format!("b{n}"), format!("[PATCH {n}/4] second {n}"));
        m.push(mail_at(&id, &subject, "a0", 1_000 + n));
    }
    check(&m, &["v1 1,2+0 of 2", "--", "v1 1,2,3,4 of 4"]);
}

/// Where numbers alone would mix them, git's Message-IDs tell which mails were sent together.
#[test]
fn a_resend_is_kept_together_by_its_message_ids() {
    let run = |run: u32, n: u32| format!("2024031517310{run}.63674-{n}-ana@example.org");
    let m = [
        mail_at("c", "[PATCH 0/2] t", "", 0),
        mail_at(&run(1, 1), "[PATCH 1/2] a", "c", 1),
        // 2/2 of the first run was lost.
        mail_at(&run(2, 2), "[PATCH 2/2] b", "c", 50),
        mail_at(&run(2, 1), "[PATCH 1/2] a", "c", 51),
    ];
    check(&m, &["v1 1+0 of 2 incomplete", "v1-2 1,2 of 2"]);
}

#[test]
fn a_partial_reroll_takes_the_others_over() {
    let mut m = series("", "a", "", 0);
    m.push(mail_at("n", "[PATCH v2 2/2] two", "a0 a2", 100));
    check(&m, &["v1 1,2+0 of 2 superseded", "v2-r1 1*,2 of 2"]);
    // A later one builds on it; what was assembled stays.
    m.push(mail_at("o", "[PATCH v2 1/2] one", "a0 a1", 200));
    check(
        &m,
        &[
            "v1 1,2+0 of 2 superseded",
            "v2-r1 1*,2 of 2 superseded",
            "v2-r2 1,2* of 2",
        ],
    );
    let mut m = series(" v5", "a", "", 0);
    m.push(mail_at("n", "[PATCH v5.1 2/2] two", "a0 a2", 100));
    check(&m, &["v5 1,2+0 of 2 superseded", "v5.1 1*,2 of 2"]);
}

#[test]
fn one_patch_rerolled_without_its_number_is_a_partial_reroll() {
    let mut m = series("", "a", "", 0);
    m.push(mail_at("n", "[PATCH v2] two", "a0 a2", 100));
    check(&m, &["v1 1,2+0 of 2 superseded", "v2-r1 1*,2 of 2"]);
    // The others went elsewhere: there is nothing to take over.
    let lone = [
        mail_at("a", "[PATCH 1/2] one", "", 0),
        mail_at("b", "[PATCH v2] one", "a", 9),
    ];
    check(&lone, &["v1 1 of 2 incomplete superseded", "v2 1 of 1"]);
}

#[test]
fn a_branch_like_v5_10_is_no_version_but_v5_1_beside_v5_is() {
    check(&[mail_at("1", "[PATCH v5.10] a", "", 0)], &["v1 1 of 1"]);
    let m = [
        mail_at("1", "[PATCH v5] a", "", 0),
        mail_at("2", "[PATCH v5.1] a", "1", 9),
    ];
    check(&m, &["v5 1 of 1 superseded", "v5.1 1 of 1"]);
    // The same fix for two branches: two patchsets.
    let m = [
        mail_at("1", "[PATCH v5.10] a", "", 0),
        mail_at("2", "[PATCH v5.15] a", "", 9),
    ];
    check(&m, &["v1 1 of 1", "--", "v1 1 of 1"]);
    assert_eq!(assemble(&inputs(&m))[1].prefixes, ["v5.15"]);
}

#[test]
fn unthreaded_mails_join_by_time_and_different_senders_do_not() {
    let pair = |minutes| {
        [
            mail_at("1", "[PATCH 1/2] a", "", 0),
            mail_at("2", "[PATCH 2/2] b", "", minutes),
        ]
    };
    check(&pair(15), &["v1 1,2 of 2"]);
    check(&pair(25), &["v1 1,2 of 2"]);
    check(
        &pair(25 * 60),
        &["v1 1 of 2 incomplete", "--", "v1 2 of 2 incomplete"],
    );
    let [one, two] = pair(15);
    check(
        &[one, two.from("ben@example.org")],
        &["v1 1 of 2 incomplete", "--", "v1 2 of 2 incomplete"],
    );
}

#[test]
fn an_unthreaded_mail_joins_a_thread_that_lacks_it() {
    let mut m = series("", "a", "", 0);
    m[2].parent = String::new();
    check(&m, &["v1 1,2+0 of 2"]);
}

#[test]
fn after_hours_a_mail_joins_only_where_one_series_has_room() {
    let m = [
        mail_at("1", "[PATCH 1/3] a", "", 0),
        mail_at("2", "[PATCH 2/3] b", "", 60),
        mail_at("3", "[PATCH 3/3] c", "", 120),
    ];
    check(&m, &["v1 1,2,3 of 3"]);
    let m = [
        mail_at("1", "[PATCH 1/2] a", "", 0),
        mail_at("x", "[PATCH 1/2] other", "", 60),
        mail_at("2", "[PATCH 2/2] b", "", 300),
    ];
    check(
        &m,
        &[
            "v1 1 of 2 incomplete",
            "--",
            "v1 1 of 2 incomplete",
            "--",
            "v1 2 of 2 incomplete",
        ],
    );
}

#[test]
fn two_unthreaded_series_at_once_are_told_apart_and_a_guess_is_said() {
    let four = |times: [i64; 4]| {
        [
            mail_at("1", "[PATCH 1/2] a1", "", times[0]),
            mail_at("2", "[PATCH 2/2] a2", "", times[1]),
            mail_at("3", "[PATCH 1/2] b1", "", times[2]),
            mail_at("4", "[PATCH 2/2] b2", "", times[3]),
        ]
    };
    check(&four([0, 1, 10, 11]), &["v1 1,2 of 2", "--", "v1 1,2 of 2"]);
    let mixed = four([0, 2, 1, 3]);
    check(
        &mixed,
        &["v1 1,2 of 2 ambiguous", "--", "v1 1,2 of 2 ambiguous"],
    );
    let sets = assemble(&inputs(&mixed));
    assert_eq!(
        sets[0].series[0].patches[1].mail,
        MailId(2),
        "the first 1/2 goes with the first 2/2"
    );
    assert!(sets[0].series[0].reason.contains("may be mixed up"));
}

#[test]
fn runs_of_git_send_email_are_never_mixed() {
    let run = |run: u32, n: u32| format!("2024031517310{run}.63674-{n}-ana@example.org");
    let m = [
        mail_at(&run(1, 1), "[PATCH 1/2] a", "", 0),
        mail_at(&run(2, 2), "[PATCH 2/2] b", "", 1),
        mail_at(&run(1, 2), "[PATCH 2/2] c", "", 2_000),
    ];
    check(&m, &["v1 1,2 of 2", "--", "v1 2 of 2 incomplete"]);
}

#[test]
fn versions_without_a_thread_are_found_by_title() {
    let later = |subject: &str, minutes| {
        [
            mail_at("1", "[PATCH foo] A b", "", 0),
            mail_at("2", subject, "", minutes),
        ]
    };
    let linked = ["v1 1 of 1 superseded", "v2 1 of 1"];
    let apart = ["v1 1 of 1", "--", "v2 1 of 1"];
    check(&later("[PATCH foo v2]  a B.", 9), &linked);
    check(&later("[PATCH bar v2] A b", 9), &apart);
    check(&later("[PATCH foo v2] A c", 9), &apart);
    check(&later("[PATCH foo v2] A b", 179 * 24 * 60), &linked);
    check(&later("[PATCH foo v2] A b", 181 * 24 * 60), &apart);
    // The same version again is another patchset, unless it says RESEND.
    check(
        &later("[PATCH foo] A b", 9),
        &["v1 1 of 1", "--", "v1 1 of 1"],
    );
    check(
        &later("[PATCH foo RESEND] A b", 9),
        &["v1 1 of 1 superseded", "v1-2 1 of 1"],
    );
}

#[test]
fn a_retitled_version_is_found_by_thread_change_id_supersedes_or_b4() {
    let linked = ["v1 1 of 1 superseded", "v2 1 of 1"];
    let one = mail_at("1@x", "[PATCH] a", "", 0);
    let two = mail_at("2@x", "[PATCH v2] other", "", 9);
    check(
        &[one.clone(), mail_at("2@x", "[PATCH v2] other", "1@x", 9)],
        &linked,
    );
    check(
        &[
            one.clone().says("change-id: 20240101-x-1"),
            two.clone().says("change-id: 20240101-x-1"),
        ],
        &linked,
    );
    check(
        &[one.clone(), two.clone().says("Supersedes: <1@x>")],
        &linked,
    );
    let b4 = |v: u32| format!("2024010{v}-slug-v{v}-1-0123456789ab@example.org");
    check(
        &[
            mail_at(&b4(1), "[PATCH] a", "", 0),
            mail_at(&b4(2), "[PATCH v2] c", "", 9),
        ],
        &linked,
    );
    check(&[one, two], &["v1 1 of 1", "--", "v2 1 of 1"]);
}

#[test]
fn a_strangers_patch_in_reply_is_no_version() {
    let m = [
        mail_at("1", "[PATCH] a", "", 0),
        mail_at("2", "[PATCH v2] other", "1", 9).from("ben@example.org"),
    ];
    check(&m, &["v1 1 of 1", "--", "v2 1 of 1"]);
    let m = [
        mail_at("1", "[PATCH] a", "", 0),
        mail_at("2", "[PATCH] orphan", "1", 9),
    ];
    check(&m, &["v1 1 of 1", "--", "v1 1 of 1"]);
}

#[test]
fn a_plain_mail_that_began_the_thread_is_the_cover_of_its_sender() {
    let m = [
        mail_at("c", "do a thing", "", 0),
        mail_at("1", "[PATCH] the thing", "c", 1),
    ];
    check(&m, &["v1 1+0 of 1"]);
    let [bug, fix] = m;
    check(&[bug.from("ben@example.org"), fix], &["v1 1 of 1"]);
}

#[test]
fn reasons_are_said_in_words() {
    let mut m = series("", "a", "", 0);
    m.extend(series(" v2", "b", "", 100));
    let sets = assemble(&inputs(&m));
    assert_eq!(
        sets[0].series[0].reason,
        "One thread: the same sender, version and count. No version is said: it is the first."
    );
    assert_eq!(
        sets[0].series[1].reason,
        "One thread: the same sender, version and count. Its mails say v2. \
         The same change as v1: the same person sent it under the same title."
    );
}

#[test]
fn answers_in_a_ring_and_to_oneself_do_no_harm() {
    let m = [
        mail_at("1", "[PATCH 1/2] a", "2 1", 0),
        mail_at("2", "[PATCH 2/2] b", "1", 1),
        mail_at("r", "Re: x", "s", 2),
        mail_at("s", "Re: x", "r", 3),
    ];
    check(&m, &["v1 1,2 of 2"]);
}

#[test]
fn no_two_series_of_a_patchset_have_one_label() {
    let mut mails = vec![
        mail_at("p", "[PATCH v5 1/2] a", "", 0),
        mail_at("q", "[PATCH v5 2/2] b", "p", 0),
        mail_at("r", "[PATCH v5.1] b", "q", 60),
        mail_at("s", "[PATCH v5.1 1/2] a", "p", 90),
        mail_at("t", "[PATCH v5.1 2/2] b", "s", 90),
    ];
    let labels = |mails: &[Mail]| {
        let sets = assemble(&inputs(mails));
        let all = sets[0].series.iter().map(|s| s.label.clone());
        (sets.len(), all.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(labels(&mails), (1, "5 5.1 5.1-2".to_owned()));
    mails[2].minutes = 120;
    assert_eq!(labels(&mails), (1, "5 5.1 5.1-r2".to_owned()));
}
