use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(subject: &str, expected: &str) {
    let tag = parse_tag(subject);
    let mut words = Vec::new();
    words.extend(tag.reply.then(|| "reply".to_owned()));
    words.extend(tag.forward.then(|| "forward".to_owned()));
    words.extend((!tag.tagged).then(|| "untagged".to_owned()));
    words.extend(tag.version.map(|v| format!("v{v}")));
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
    check("[PATCHv2] fix leak", "v2 fix leak");
    check("[foo PATCH v2 1/3] a", "v2 1/3 (foo) a");
    check("[PATCH net-next,v3,2/5] a", "v3 2/5 (net-next) a");
    check("[net,v2,1/2] a", "v2 1/2 (net) a");
    check("[RFC PATCH] a", "rfc a");
    check("[PATCH RESEND v2] a", "v2 resend a");
    check("[PATCH v5.1] a", "v5.1 a");
    check("[PATCH] a (v2)", "v2 a (v2)");
    check("[PATCH 1/2]a", "1/2 a");
    check("[PATCH WIP v2 1/2] a", "v2 1/2 wip a");
}

/// The table that lists.sr.ht reads wrongly.
#[test]
fn what_sourcehut_misreads_is_read() {
    check("[PATCH foo v3 02/10] a", "v3 2/10 (foo) a");
    check("[RFC PATCH v2 0/3] a", "v2 0/3 rfc a");
    check("[PATCH RFC v2 1/2] a", "v2 1/2 rfc a");
    check("[PATCH RESEND v2 1/3] a", "v2 1/3 resend a");
    check("[PATCH v2 RESEND 1/3] a", "v2 1/3 resend a");
    check("[PATCHv2 1/3] a", "v2 1/3 a");
    check("[foo PATCH 1/3] a", "1/3 (foo) a");
    check("[patch v2] a", "v2 a");
    check("[RFC] a", "rfc a");
    check("[PATCH V2 1/3] a", "v2 1/3 a");
    check("[PATCH net-next,v2,1/3] a", "v2 1/3 (net-next) a");
    check("[PATCH foo 1/3 v2] a", "v2 1/3 (foo) a");
    check("[PATCH  v2  1/2] a", "v2 1/2 a");
    check("[PATCH foo v2.1 1/2] a", "v2.1 1/2 (foo) a");
    // `ipv6` and `nfsv4` end like that, too: a glued version is part of the name.
    check("[PATCH foov2 1/2] a", "1/2 (foov2) a");
    check("[PATCH nfsv4 1/2] a", "1/2 (nfsv4) a");
}

/// Patchwork's rules and traps.
#[test]
fn what_patchwork_reads_or_misreads_is_read() {
    check("[PATCH 0 of 2] a", "0/2 a");
    check("[PATCH 1 of 2 STABLE] a", "1/2 (STABLE) a");
    check("[PATCH1/8] a", "1/8 a");
    check("[v2PATCH12/15] a", "v2 12/15 a");
    check("[foo-1/2] z", "1/2 (foo) z");
    check("[foo] [2/3] x", "2/3 (foo) x");
    check("y (2/3)", "untagged y (2/3)");
    check("[PATCH 3/n] a", "(3/n) a");
    check("[PATCH 0/0] a", "(0/0) a");
    check("[PATCH 5/2] a", "5/2 a");
    check("[v3] b", "untagged v3 b");
    check("[PATCH,v5] d", "v5 d");
    check("[RFC v2.1] f", "v2.1 rfc f");
    check("PATCH v9: i", "untagged PATCH v9: i");
    check("[Patch 2/2]: a", "2/2 a");
}

#[test]
fn words_that_begin_like_a_keyword_are_names() {
    check("[PATCH patchwork 1/2] a", "1/2 (patchwork) a");
    check("[PATCH wipe] a", "(wipe) a");
    check("[PATCH rfc1234-fix] a", "(rfc1234-fix) a");
    check("[PATCH-foo v2] a", "v2 (foo) a");
    check("[RFC/PATCH v2] a", "v2 rfc a");
    check("[RFCv3 1/2] a", "v3 1/2 rfc a");
    check("[PATCH: 1/2] a", "1/2 a");
    check("[PATCH -next v2] a", "v2 (-next) a");
    check("[PATCH v6.1.y 1/2] a", "1/2 (v6.1.y) a");
    check("[PATCH 5.10 v2 1/2] a", "v2 1/2 (5.10) a");
}

#[test]
fn a_branch_beside_a_version_is_a_name() {
    check("[PATCH v5.10 v2 1/3] a", "v2 1/3 (v5.10) a");
    check("[PATCH v2 v5.10 1/3] a", "v2 1/3 (v5.10) a");
}

#[test]
fn replies_and_forwards_are_told_apart_in_every_language() {
    check("Re: [PATCH] a", "reply a");
    check("RE : [PATCH] a", "reply a");
    check("AW: [PATCH] a", "reply a");
    check("SV: VS: [PATCH] a", "reply a");
    check("Antw: Re: [PATCH] a", "reply a");
    check("Re[2]: [PATCH] a", "reply a");
    check("回复: [PATCH] a", "reply a");
    check("回复：[PATCH] a", "reply a");
    check("Fwd: [PATCH] a", "forward a");
    check("WG: [PATCH] a", "forward a");
    check("[list] [PATCH 3/4] a", "3/4 (list) a");
    check("[list] Re: [PATCH 3/4] a", "reply 3/4 (list) a");
    check("reverse: the order", "untagged reverse: the order");
}

#[test]
fn titles_that_look_like_a_reply_prefix_stay_titles() {
    check("[PATCH] ref: fix leak", "ref: fix leak");
    check("[PATCH] tr: new option", "tr: new option");
    check(
        "[PATCH 1/2] sv: update the translation",
        "1/2 sv: update the translation",
    );
    check(
        "[coreutils] tr: new option",
        "untagged (coreutils) tr: new option",
    );
}

#[test]
fn nonsense_numbers_are_no_marker() {
    check("[PATCH 70000/70001] a", "(70000/70001) a");
    check("[PATCH 1/1001] a", "(1/1001) a");
    check("[PATCH 999/1000] a", "999/1000 a");
    check("[PATCH v99999999999] a", "a");
    check("[PATCH v0] a", "a");
    check("no tag at all", "untagged no tag at all");
    check("", "untagged ");
}

#[test]
fn titles_are_compared_without_case_blanks_and_dots() {
    assert_eq!(normalise_title("  Fix the  LEAK.. "), "fix the leak");
    assert_eq!(normalise_title("Fix it (v3)"), "fix it");
}

proptest! {
    #[test]
    fn any_subject_is_read(subject in "\\PC{0,60}") {
        parse_tag(&subject);
    }

    #[test]
    fn anything_in_brackets_is_read(subject in "\\[[PATCHpatchvV0-9./, ofRFCİ-]{0,40}\\]\\PC{0,10}") {
        let tag = parse_tag(&subject);
        prop_assert!(tag.total.is_none_or(|t| (1..=1000).contains(&t)));
        prop_assert_eq!(tag.number.is_some(), tag.total.is_some());
        prop_assert!(tag.version.is_none_or(|v| (1..=999).contains(&v.major)));
    }
}
