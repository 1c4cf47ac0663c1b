//! Forgeries, each beside what it imitates: what the true sender made stays as it was.

use super::assemble_tests::{Mail, inputs, mail_at};
use super::*;
use crate::types::MailId;
use crate::verdict::Level;

const EVE: &str = "eve@example.net";

/// Two signed versions of a series of two with cover.
fn story() -> Vec<Mail> {
    vec![
        mail_at("c1@x", "[PATCH 0/2] t", "", 0).signed(),
        mail_at("p1@x", "[PATCH 1/2] a", "c1@x", 0).signed(),
        mail_at("q1@x", "[PATCH 2/2] b", "c1@x", 0).signed(),
        mail_at("c2@x", "[PATCH v2 0/2] t", "c1@x", 60).signed(),
        mail_at("p2@x", "[PATCH v2 1/2] a", "c2@x", 60).signed(),
        mail_at("q2@x", "[PATCH v2 2/2] b", "c2@x", 60).signed(),
    ]
}

/// Versions as `label state number…`, claims of others behind a question mark.
fn told(sets: &[Patchset], anchor: MailId) -> String {
    let own = sets
        .iter()
        .find(|s| s.anchor == anchor)
        .expect("as written above");
    let one = |s: &Series| {
        let mails: Vec<String> = s.patches.iter().map(|p| p.mail.to_string()).collect();
        let state = if s.superseded { "old" } else { "new" };
        format!(
            "{} {state} {}/{} {}",
            s.label,
            s.patches.len(),
            s.total,
            mails.join("+")
        )
    };
    let mut told: Vec<String> = own.series.iter().map(one).collect();
    let anchors: Vec<MailId> = own.series.iter().map(|s| s.anchor).collect();
    let claims = sets.iter().flat_map(|s| &s.series);
    told.extend(
        claims
            .filter(|s| s.claims.is_some_and(|c| anchors.contains(&c)))
            .map(|s| format!("? v{} by {}", s.version, s.submitter)),
    );
    told.join(", ")
}

const UNTOUCHED: &str = "1 old 2/2 2+3, 2 new 2/2 5+6";

/// Adds forged mails to the story, before and after it, and looks at what became of the true patchset.
#[track_caller]
fn check(forged: &[Mail], claims: &str) {
    for early in [false, true] {
        let mut mails = story();
        mails.extend(forged.iter().cloned().map(|mut mail| {
            if early {
                mail.minutes = -10;
            }
            mail
        }));
        let sets = assemble(&inputs(&mails));
        let expected = match claims {
            "" => UNTOUCHED.to_owned(),
            claims => format!("{UNTOUCHED}, {claims}"),
        };
        assert_eq!(told(&sets, MailId(1)), expected, "early: {early}");
    }
}

#[test]
fn nothing_forged_leaves_the_story_alone() {
    check(&[], "");
}

#[test]
fn a_forged_newer_version_stands_beside() {
    let mail = mail_at("f", "[PATCH v9 1/1] t", "c1@x", 100);
    check(&[mail.clone().unsigned()], "? v9 by ana@example.org");
    let mut unknown = mail.clone();
    unknown.standing.level = Level::Unknown;
    check(&[unknown], "? v9 by ana@example.org");
    check(&[mail.from(EVE).signed()], "? v9 by eve@example.net");
    let same_title = mail_at("f", "[PATCH v9 0/2] t", "", 100).unsigned();
    check(&[same_title], "? v9 by ana@example.org");
}

#[test]
fn a_stranger_who_takes_the_title_over_stands_beside() {
    let mail = mail_at("f", "[PATCH v3 0/2] t", "c2@x", 100);
    check(&[mail.from(EVE).signed()], "? v3 by eve@example.net");
}

#[test]
fn a_forged_supersedes_supersedes_nothing() {
    let mail = mail_at("f", "[PATCH] other", "", 100).says("Supersedes: <c2@x>");
    check(&[mail.clone().unsigned()], "? v1 by ana@example.org");
    check(&[mail.from(EVE).signed()], "? v1 by eve@example.net");
}

#[test]
fn a_forged_partial_reroll_takes_nothing_over() {
    let mail = mail_at("f", "[PATCH v3 2/2] b", "q2@x", 100);
    check(&[mail.unsigned()], "? v3 by ana@example.org");
}

#[test]
fn a_forged_patch_fills_no_gap() {
    let mut mails = story();
    mails.truncate(2);
    let forged = mail_at("f", "[PATCH 2/2] b", "c1@x", 1).unsigned();
    mails.push(forged);
    let sets = assemble(&inputs(&mails));
    assert_eq!(
        told(&sets, MailId(1)),
        "1 new 1/2 2, ? v1 by ana@example.org"
    );
}

/// The true author's first version was never here, or came otherwise: no forged lower version stands in its place.
#[test]
fn a_forged_lower_version_moves_nothing() {
    let only = |forged: Mail, expected: &str| {
        let v2 = mail_at("b@x", "[PATCH v2] x", "", 60)
            .signed()
            .says("change-id: 1-x");
        let sets = assemble(&inputs(&[v2, forged]));
        assert_eq!(told(&sets, MailId(1)), expected);
    };
    let claim = "2 new 1/1 1, ? v1 by ana@example.org";
    let forged = |subject: &str, parent: &str| mail_at("f", subject, parent, 100).unsigned();
    only(forged("[PATCH] other", "").says("Supersedes: <b@x>"), claim);
    only(forged("[PATCH] x", "b@x"), claim);
    only(forged("[PATCH] other", "b@x"), claim);
    only(forged("[PATCH] x", ""), claim);
    only(forged("[PATCH] y", "").says("change-id: 1-x"), claim);
    // Before it, too, unless the true one names it.
    let mut early = forged("[PATCH] other", "").says("Supersedes: <b@x>");
    early.minutes = 0;
    only(early, claim);
}

/// What is forged comes between no two versions that are linked by title, or by a slug of b4.
#[test]
fn a_forged_lower_version_parts_nothing() {
    for minutes in [30, 70] {
        let forged = mail_at("f", "[PATCH] x", "", minutes).unsigned();
        let mails = [
            mail_at("a", "[PATCH] x", "", 0).signed(),
            mail_at("b", "[PATCH v2] x", "", 60).signed(),
            forged,
        ];
        let sets = assemble(&inputs(&mails));
        let expected = "1 old 1/1 1, 2 new 1/1 2, ? v1 by ana@example.org";
        assert_eq!(told(&sets, MailId(1)), expected, "{minutes}");
    }
    let slug = |v: u32, title: &str, minutes| {
        let id = format!("20240101-slug-v{v}-1-{minutes:012x}@example.org");
        let version = if v == 1 {
            String::new()
        } else {
            format!(" v{v}")
        };
        mail_at(&id, &format!("[PATCH{version}] {title}"), "", minutes)
    };
    for (v, minutes) in [(1, 30), (5, 30), (1, 70), (5, 70)] {
        for signed in [true, false] {
            let first = slug(1, "one", 0);
            let mails = [
                if signed {
                    first.signed()
                } else {
                    first.unsigned()
                },
                slug(2, "two", 60).signed(),
                slug(v, "three", minutes).unsigned(),
            ];
            let sets = assemble(&inputs(&mails));
            let told = told(&sets, MailId(1));
            let both = told.contains("old 1/1 1, ") && told.contains("2 new 1/1 2");
            assert!(both, "v{v} at {minutes}, signed: {signed}: {told}");
        }
    }
}

#[test]
fn a_strangers_change_id_makes_no_version_of_a_branch() {
    let mails = [
        mail_at("a", "[PATCH v5.10] x", "", 0)
            .signed()
            .says("change-id: 1-x"),
        mail_at("f", "[PATCH v5] y", "", 10)
            .from(EVE)
            .signed()
            .says("change-id: 1-x"),
        mail_at("g", "[PATCH v5] y", "", 20)
            .unsigned()
            .says("change-id: 1-x"),
    ];
    let sets = assemble(&inputs(&mails));
    assert_eq!(sets[0].series[0].label, "1", "{sets:?}");
}

#[test]
fn a_shared_change_id_gives_no_rights() {
    let mut mails = vec![
        mail_at("a", "[PATCH] x", "", 0)
            .signed()
            .says("change-id: 1-x"),
        mail_at("b@x", "[PATCH] y", "", 1)
            .signed()
            .says("change-id: 1-y"),
    ];
    let forged = mail_at("f", "[PATCH v4] z", "", 2).unsigned();
    mails.push(forged.says("change-id: 1-x").says("Supersedes: <b@x>"));
    let sets = assemble(&inputs(&mails));
    assert_eq!(sets.len(), 3, "a claim joins nothing");
    assert_eq!(
        told(&sets, MailId(1)),
        "1 new 1/1 1, ? v4 by ana@example.org"
    );
    assert_eq!(told(&sets, MailId(2)), "1 new 1/1 2");
}

#[test]
fn a_signature_counts_once() {
    // Signed without its Message-ID: sent again under another one.
    let mut replay = mail_at("r", "[PATCH v2 0/2] t", "c1@x", 200).signed();
    replay.standing.proofs = vec!["b of c2@x".to_owned()];
    let mut mails = story();
    mails.push(replay);
    let sets = assemble(&inputs(&mails));
    assert_eq!(
        told(&sets, MailId(1)),
        format!("{UNTOUCHED}, ? v2 by ana@example.org")
    );
}

/// A copy of the story's first cover letter, with its signature.
fn copied_cover() -> Mail {
    let mut copy = mail_at("r", "[PATCH 0/2] t", "", 200).signed();
    copy.standing.proofs = vec!["b of c1@x".to_owned()];
    copy
}

#[test]
fn a_copy_of_a_first_version_is_a_claim() {
    // Also where it was faster: the true patches say which cover letter is theirs.
    check(&[copied_cover()], "? v1 by ana@example.org");
    // Without the signature.
    let stripped = mail_at("r", "[PATCH 0/2] t", "", 200).unsigned();
    check(&[stripped], "? v1 by ana@example.org");
    check(&[mail_at("r", "[PATCH foo 0/2] t", "", 200).unsigned()], "");
    check(&[mail_at("r", "[PATCH 0/2] t", "", 200).from(EVE)], "");
}

#[test]
fn a_copy_of_a_single_patch_is_a_claim() {
    let first = mail_at("a", "[PATCH] x", "", 0).signed();
    let mut copy = mail_at("r", "[PATCH] x", "", 200).signed();
    copy.standing.proofs = first.standing.proofs.clone();
    let told_of = |mails: &[Mail], anchor| {
        let sets = assemble(&inputs(mails));
        let claims = sets.iter().flat_map(|s| &s.series);
        let claims: Vec<&Series> = claims.filter(|s| s.claims.is_some()).collect();
        let why = "It is a copy of what v1 of another patchset holds";
        assert!(claims.iter().all(|s| s.reason.contains(why)), "{claims:?}");
        told(&sets, MailId(anchor))
    };
    let expected = "1 new 1/1 1, ? v1 by ana@example.org";
    assert_eq!(told_of(&[first.clone(), copy.clone()], 1), expected);
    let mut stripped = copy.clone().unsigned();
    stripped.standing.proofs.clear();
    assert_eq!(told_of(&[first.clone(), stripped.clone()], 1), expected);
    stripped.minutes = -10;
    assert_eq!(told_of(&[first.clone(), stripped], 1), expected, "early");
    // What only has the title is another patch.
    let other = mail_at("o", "[PATCH 1/3] x", "", 5).unsigned();
    assert_eq!(told_of(&[first.clone(), other], 1), "1 new 1/1 1");
    // Which of two is the true one is known where it came from the domain's own server.
    copy.minutes = -10;
    let mut direct = first.clone();
    direct.standing.direct = true;
    assert_eq!(told_of(&[direct, copy.clone()], 1), expected);
    // Else nothing tells them apart but which came first: the other is the claim, and both hold the same.
    let turned = "1 new 1/1 2, ? v1 by ana@example.org";
    assert_eq!(told_of(&[first.clone(), copy.clone()], 2), turned);
    // Who answers a copy with the next version has not said that it is his.
    copy.minutes = 10;
    let second = mail_at("b", "[PATCH v2] x", "r", 20).signed();
    let sets = assemble(&inputs(&[first, copy, second]));
    let expected = "1 old 1/1 1, 2 new 1/1 3, ? v1 by ana@example.org";
    assert_eq!(told(&sets, MailId(1)), expected);
}

#[test]
fn each_signature_of_a_mail_counts_once() {
    // Directly from the domain's own server, with two signatures; then as whoever has it sends it, with one of them or with
    // both and one more.
    let mut true_mail = mail_at("a", "[PATCH v2] x", "", 0).signed();
    true_mail.standing.proofs = vec!["first".to_owned(), "second".to_owned()];
    let later = mail_at("b", "[PATCH v3] x", "a", 60).signed();
    for proofs in [&["second"][..], &["first"], &["other", "second", "first"]] {
        let mut replay = mail_at("r", "[PATCH v2] x", "", 200).signed();
        replay.standing.proofs = proofs.iter().map(|p| (*p).to_owned()).collect();
        let sets = assemble(&inputs(&[true_mail.clone(), later.clone(), replay.clone()]));
        let expected = "2 old 1/1 1, 3 new 1/1 2, ? v2 by ana@example.org";
        assert_eq!(told(&sets, MailId(1)), expected, "{proofs:?}");
        let keys = [&true_mail, &replay].map(|m| link_keys(&inputs(std::slice::from_ref(m))[0]));
        let signed = |key: &&String| key.starts_with("d:") && keys[1].contains(key);
        assert!(keys[0].iter().any(|key| signed(&key)), "{keys:?}");
    }
    // Sent on at once, before it came itself: the copy is another mail, and takes nothing away.
    let mut replay = mail_at("r", "[PATCH v2] x", "", -1).signed();
    replay.standing.proofs = vec!["second".to_owned()];
    true_mail.standing.direct = true;
    let first = mail_at("0", "[PATCH] x", "", -60).signed();
    let v2 = Mail {
        parent: "0".to_owned(),
        ..true_mail.clone()
    };
    let sets = assemble(&inputs(&[first, v2, later.clone(), replay]));
    assert_eq!(
        told(&sets, MailId(1)),
        "1 old 1/1 1, 2 old 1/1 2, 3 new 1/1 3, ? v2 by ana@example.org"
    );
    // One that stands in a mail twice is no copy of another mail.
    let mut twice = mail_at("a", "[PATCH v2] x", "", 0).signed();
    twice.standing.proofs = vec!["same".to_owned(), "same".to_owned()];
    let forged = mail_at("f", "[PATCH v3] x", "a", 10).unsigned();
    let sets = assemble(&inputs(&[twice, forged]));
    assert_eq!(
        told(&sets, MailId(1)),
        "2 new 1/1 1, ? v3 by ana@example.org"
    );
}

#[test]
fn a_taken_message_id_keeps_its_answers() {
    for level in [Level::Unchecked, Level::None] {
        let mut first = mail_at("a@x", "[PATCH] x", "", 0);
        first.standing.level = level;
        let mails = [
            first,
            mail_at("r@x", "Re: [PATCH] x", "a@x", 1).from("ben@example.org"),
            mail_at("a@x", "words", "", 2).from(EVE).signed(),
        ];
        let sets = assemble(&inputs(&mails));
        assert_eq!(sets[0].series[0].comments, [(MailId(2), MailId(1))]);
    }
}

#[test]
fn a_squatted_message_id_moves_nothing() {
    for minutes in [-10, 100] {
        let mut mails = story();
        mails.push(mail_at("c2@x", "[PATCH v2 0/2] t", "elsewhere", minutes).unsigned());
        let mut words = mail_at("q2@x", "Re: words", "", minutes).from(EVE).signed();
        words.standing.proofs = vec!["of her own".to_owned()];
        mails.push(words);
        let sets = assemble(&inputs(&mails));
        let expected = format!("{UNTOUCHED}, ? v2 by ana@example.org");
        assert_eq!(told(&sets, MailId(1)), expected, "at {minutes}");
    }
}

#[test]
fn signing_from_the_second_version_on_is_no_hindrance() {
    let mails = [
        mail_at("a", "[PATCH] x", "", 0).unsigned(),
        mail_at("b@x", "[PATCH v2] x", "a", 1).signed(),
        mail_at("c", "[PATCH v3] x", "b@x", 2).unsigned(),
    ];
    let sets = assemble(&inputs(&mails));
    assert_eq!(
        told(&sets, MailId(1)),
        "1 old 1/1 1, 2 new 1/1 2, ? v3 by ana@example.org"
    );
}

#[test]
fn where_nobody_is_authenticated_the_address_decides() {
    let mails = [
        mail_at("a", "[PATCH] x", "", 0).unsigned(),
        mail_at("b@x", "[PATCH v2] x", "a", 1).unsigned(),
        mail_at("c", "[PATCH v3] x", "b@x", 2).unsigned().from(EVE),
    ];
    let sets = assemble(&inputs(&mails));
    assert_eq!(
        told(&sets, MailId(1)),
        "1 old 1/1 1, 2 new 1/1 2, ? v3 by eve@example.net"
    );
}

#[test]
fn a_person_may_join_what_the_rules_keep_apart() {
    let mut mails = story();
    mails.push(mail_at("f", "[PATCH v3] t", "c2@x", 100).unsigned());
    let merge = Correction::Merge(MailId(4), MailId(7));
    let sets = assemble_corrected(&inputs(&mails), &[merge]);
    assert_eq!(
        told(&sets, MailId(1)),
        "1 old 2/2 2+3, 2 old 2/2 5+6, 3 new 1/1 7"
    );
}

#[test]
fn trailers_of_a_reply_count_if_it_is_as_sure_as_the_patch() {
    let (sure, not) = (Level::Aligned, Level::Unaligned);
    assert!(may_add_trailers(sure, sure) && may_add_trailers(sure, not));
    assert!(may_add_trailers(not, not) && !may_add_trailers(not, sure));
}
