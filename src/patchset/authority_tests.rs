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
    replay.standing.proof = "b of c2@x".to_owned();
    let mut mails = story();
    mails.push(replay);
    let sets = assemble(&inputs(&mails));
    assert_eq!(
        told(&sets, MailId(1)),
        format!("{UNTOUCHED}, ? v2 by ana@example.org")
    );
}

#[test]
fn a_squatted_message_id_belongs_to_the_best_authenticated() {
    for minutes in [-10, 100] {
        let mut mails = story();
        mails.push(mail_at("c2@x", "[PATCH v2 0/2] t", "elsewhere", minutes).unsigned());
        let mut words = mail_at("q2@x", "Re: words", "", minutes).from(EVE).signed();
        words.standing.proof = "of her own".to_owned();
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
