use super::*;
use crate::mail;

const MAIL: &str = "From: Ana <ana@example.org>\nSubject: x\nDate: Mon, 01 Jan 2024 10:00:00 +0000\nMessage-ID: <a@x>\n\nx\n";
const ALL: &str = "from:subject:date";

fn signature(domain: &str, outcome: Outcome, fields: &str) -> Signature {
    Signature {
        domain: domain.to_owned(),
        selector: "s".to_owned(),
        outcome,
        detail: String::new(),
        fields: fields.split(':').map(str::to_owned).collect(),
        partial: false,
        aligned: false,
        proof: "p".to_owned(),
    }
}

#[track_caller]
fn check(mail: &str, facts: Facts, expected: &str) -> Verdict {
    let verdict = judge(&mail::parse(mail.as_bytes()), facts);
    assert_eq!(verdict.words(), expected, "{mail}");
    assert_eq!(
        Verdict::from_stored(&verdict.to_stored()).level,
        verdict.level
    );
    verdict
}

fn signed(signatures: Vec<Signature>) -> Facts {
    Facts {
        signatures,
        ..Facts::default()
    }
}

#[test]
fn the_domain_in_from_speaks_for_a_mail() {
    let one = |domain: &str| signed(vec![signature(domain, Outcome::Pass, ALL)]);
    let verdict = check(MAIL, one("example.org"), "authenticated: DKIM example.org");
    assert_eq!(verdict.proof, "p", "a signature can be sent again");
    let below = MAIL.replace("example.org", "lists.example.org");
    check(
        &below,
        one("example.org"),
        "authenticated: DKIM example.org",
    );
    let only = "not authenticated: DKIM passes for";
    check(
        MAIL,
        one("mail.example.org"),
        &format!("{only} mail.example.org only"),
    );
    check(MAIL, one("xample.org"), &format!("{only} xample.org only"));
    check(MAIL, one("org"), &format!("{only} org only"));
    let mut by_dmarc = signature("mail.example.org", Outcome::Pass, ALL);
    by_dmarc.aligned = true;
    check(
        MAIL,
        signed(vec![by_dmarc]),
        "authenticated: DKIM mail.example.org",
    );
    check(MAIL, Facts::default(), "not authenticated");
}

#[test]
fn one_sound_signature_among_others_is_enough_and_trouble_is_not_failure() {
    let all = vec![
        signature("example.org", Outcome::Fail, ALL),
        signature("list.example.net", Outcome::Pass, ALL),
        signature("example.org", Outcome::Pass, ALL),
    ];
    check(MAIL, signed(all), "authenticated: DKIM example.org");
    let trouble = vec![
        signature("example.org", Outcome::Unknown, ALL),
        signature("example.net", Outcome::Unknown, ALL),
        signature("example.org", Outcome::Fail, ALL),
    ];
    let verdict = check(
        MAIL,
        signed(trouble),
        "not authenticated: DNS gave no answer",
    );
    // Its domain is known, which decides how copies are made; it speaks for nobody.
    let aligned: Vec<bool> = verdict.signatures.iter().map(|s| s.aligned).collect();
    assert_eq!(aligned, [true, false, false]);
    assert_eq!(verdict.level, Level::Unknown);
    assert_eq!(verdict.level.rank(), 0);
    assert!(!verdict.signs(&mail::parse(MAIL.as_bytes()), "list-id"));
    let failed = vec![signature("example.org", Outcome::Fail, ALL)];
    check(MAIL, signed(failed), "not authenticated");
}

#[test]
fn what_a_signature_leaves_free_is_not_authenticated() {
    let one = |fields: &str| signed(vec![signature("example.org", Outcome::Pass, fields)]);
    let only = "not authenticated: DKIM passes for example.org only";
    check(MAIL, one("from:date"), only);
    let answer = MAIL.replace("Subject:", "In-Reply-To: <b@x>\nSubject:");
    check(&answer, one(ALL), only);
    check(
        &answer,
        one("from:subject:date:in-reply-to"),
        "authenticated: DKIM example.org",
    );
    // A field put on top of the one that is signed.
    let twice = format!("Subject: y\n{MAIL}");
    check(&twice, one(ALL), only);
    check(
        &twice,
        one("from:subject:subject:date"),
        "authenticated: DKIM example.org",
    );
    let mut partial = signature("example.org", Outcome::Pass, ALL);
    partial.partial = true;
    check(MAIL, signed(vec![partial]), only);
}

#[test]
fn nobody_speaks_for_a_mail_with_several_authors() {
    let facts = || {
        signed(vec![signature(
            "example.org",
            Outcome::Pass,
            "from:from:subject:date",
        )])
    };
    let two = MAIL.replace("From: ", "From: Eve <eve@example.net>, ");
    check(
        &two,
        facts(),
        "not authenticated: DKIM passes for example.org only",
    );
    let fields = format!("From: eve@example.net\n{MAIL}");
    check(
        &fields,
        facts(),
        "not authenticated: DKIM passes for example.org only",
    );
}

#[test]
fn spf_speaks_for_its_own_domain() {
    let spf = |domain: &str, outcome| Facts {
        spf: Some(Spf {
            domain: domain.to_owned(),
            outcome,
            aligned: false,
        }),
        ..Facts::default()
    };
    let verdict = check(
        MAIL,
        spf("example.org", Outcome::Pass),
        "authenticated: SPF example.org",
    );
    assert_eq!(
        verdict.proof, "",
        "the client's address cannot be sent again"
    );
    check(
        MAIL,
        spf("evil.net", Outcome::Pass),
        "not authenticated: SPF passes for evil.net only",
    );
    check(MAIL, spf("example.org", Outcome::Fail), "not authenticated");
    check(
        MAIL,
        spf("example.org", Outcome::Unknown),
        "not authenticated: DNS gave no answer",
    );
}

#[track_caller]
fn check_results(fields: &str, expected: bool) {
    let message = mail::parse(format!("{fields}{MAIL}").as_bytes());
    let found = trusted_results(&message, "mx.here", "example.org");
    assert_eq!(found, expected, "{fields}");
}

#[test]
fn only_the_topmost_results_of_the_server_in_front_count() {
    let ours = "Authentication-Results: mx.here; dkim=pass header.d=example.org; dmarc=pass (p=none) header.from=example.org\n";
    check_results(ours, true);
    check_results(&format!("Received: by mx.here\n{ours}"), true);
    check_results(&ours.replace("mx.here;", "mx.here 1;"), true);
    check_results(&ours.replace("mx.here", "mx.there"), false);
    check_results(
        &format!("Authentication-Results: mx.here; none\n{ours}"),
        false,
    );
    check_results(
        &format!("Authentication-Results: other; none\n{ours}"),
        false,
    );
    check_results(&ours.replace("dmarc=pass", "dmarc=fail"), false);
    check_results(
        &ours.replace("header.from=example.org", "header.from=evil.net"),
        false,
    );
    let hidden = "Authentication-Results: mx.here; spf=fail smtp.mailfrom=\"x; dmarc=pass header.from=example.org\"\n";
    check_results(hidden, false);
    let comment =
        "Authentication-Results: mx.here; spf=fail (; dmarc=pass header.from=example.org)\n";
    check_results(comment, false);
    check_results("", false);
}

#[test]
fn levels_are_in_order_and_old_rows_are_unchecked() {
    assert!(Level::Unchecked < Level::None && Level::None < Level::Unknown);
    assert!(Level::Unknown < Level::Unaligned && Level::Unaligned < Level::Aligned);
    assert_eq!(Verdict::from_stored("").level, Level::Unchecked);
    assert_eq!(Verdict::default().words(), "");
}

#[test]
fn only_what_is_signed_or_came_from_the_domain_itself_is_the_authors() {
    let mail = MAIL.replace("Subject:", "To: l@x.org\nX-Patchwork-State: new\nSubject:");
    let one = |fields: &str| signed(vec![signature("example.org", Outcome::Pass, fields)]);
    let aligned = "authenticated: DKIM example.org";
    let free = check(&mail, one(ALL), aligned);
    assert!(!free.holds("to") && !free.holds("x-patchwork-state"));
    let whole = check(
        &mail,
        one("from:subject:date:to:x-patchwork-state"),
        aligned,
    );
    assert!(whole.holds("to") && whole.holds("x-patchwork-state"));
    let stored = Verdict::from_stored(&whole.to_stored());
    assert!(stored.holds("to") && stored.holds("x-patchwork-state"));
    assert!(!stored.holds("cc"), "it has none");
    // A second field of that name, on top of the one that is signed.
    let twice = format!("To: other@x.org\n{mail}");
    assert!(!check(&twice, one("from:subject:date:to"), aligned).holds("to"));
    let spf = Facts {
        spf: Some(Spf {
            domain: "example.org".to_owned(),
            outcome: Outcome::Pass,
            aligned: false,
        }),
        ..Facts::default()
    };
    assert!(check(&mail, spf, "authenticated: SPF example.org").holds("to"));
    let vouched = Facts {
        vouched: true,
        ..Facts::default()
    };
    let front = "authenticated: the mail server in front example.org";
    assert!(!check(&mail, vouched.clone(), front).holds("to"));
    let both = |outcome| Facts {
        spf: Some(Spf {
            domain: "example.org".to_owned(),
            outcome,
            aligned: false,
        }),
        ..vouched.clone()
    };
    assert!(check(&mail, both(Outcome::Pass), front).holds("to"));
    assert!(!check(&mail, both(Outcome::Fail), front).holds("to"));
    assert!(!check(&mail, Facts::default(), "not authenticated").holds("to"));
}

#[test]
fn every_signature_that_speaks_is_known_again() {
    let named = |proof: &str, domain: &str| Signature {
        proof: proof.to_owned(),
        ..signature(domain, Outcome::Pass, ALL)
    };
    let facts = signed(vec![
        named("one", "example.org"),
        named("two", "example.org"),
        named("other", "example.net"),
    ]);
    let verdict = check(MAIL, facts, "authenticated: DKIM example.org");
    let verdict = Verdict::from_stored(&verdict.to_stored());
    assert_eq!(verdict.proofs().collect::<Vec<_>>(), ["one", "two"]);
    // Also where something else spoke first.
    let facts = Facts {
        spf: Some(Spf {
            domain: "example.org".to_owned(),
            outcome: Outcome::Pass,
            aligned: false,
        }),
        ..signed(vec![named("one", "example.org")])
    };
    let verdict = check(MAIL, facts, "authenticated: SPF example.org");
    assert_eq!(Standing::from(&verdict).proofs, ["one"]);
    assert!(Standing::from(&verdict).direct);
    let sent_on = Verdict {
        spf: None,
        ..verdict
    };
    assert!(!Standing::from(&sent_on).direct);
}
