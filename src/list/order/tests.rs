use super::*;
use crate::list::rules::Rule;
use crate::mail;
use crate::verdict::Outcome as Checked;

/// A mail, who speaks for it, what is known, the policy: one line says what differs from an open list and an unknown sender.
struct Case {
    mail: &'static str,
    verdict: Verdict,
    known: Known,
    policy: Policy,
    spam: Spam,
    protocol: Protocol,
}

const PLAIN: &str = "From: Ana <ana@example.org>\nSubject: hello\n\ntext\n";

fn case() -> Case {
    Case {
        mail: PLAIN,
        verdict: Verdict {
            level: Level::None,
            ..Verdict::default()
        },
        known: Known::default(),
        policy: Policy::default(),
        spam: Spam::Unknown,
        protocol: Protocol::Smtp,
    }
}

fn proven() -> Case {
    let mut case = case();
    case.verdict.level = Level::Aligned;
    case
}

/// Who was seen before, authenticated.
fn known() -> Case {
    let mut case = proven();
    case.known.seen = true;
    case
}

fn moderator() -> Case {
    let mut case = proven();
    case.known.bits = Some(Bits(15));
    case
}

fn open() -> Policy {
    Policy::default().moderated(Moderation::None)
}

fn outcome(case: &Case) -> Outcome {
    let message = mail::parse(case.mail.as_bytes());
    walk(Question {
        message: &message,
        size: case.mail.len(),
        null_sender: false,
        protocol: case.protocol,
        verdict: &case.verdict,
        policy: &case.policy,
        list_id: "dev.x.org",
        help_url: "https://x.org",
        known: &case.known,
        spam: &case.spam,
    })
}

/// `expected` is the step that decided and what it said, or `accept`.
#[track_caller]
fn check(case: Case, change: impl FnOnce(&mut Case), expected: &str) {
    let mut case = case;
    change(&mut case);
    let outcome = outcome(&case);
    let last = outcome.steps.last().expect("there are steps");
    let got = match &outcome.decision {
        Ok(Decision::Accept) => format!("accept after {}", outcome.steps.len()),
        Ok(Decision::Hold(_)) => format!("{}: hold: {}", last.name, last.found),
        Ok(Decision::Drop(why)) => format!("{}: drop: {why}", last.name),
        Ok(other) => format!("{}: {other:?}", last.name),
        Err(reply) => format!(
            "{}: {} {}: {}",
            last.name, reply.code, reply.enhanced, last.found
        ),
    };
    assert!(
        got.starts_with(expected),
        "{expected} | {got} | {:?}",
        outcome.steps
    );
}

const NOTHING: fn(&mut Case) = |_| {};
const ACCEPT: &str = "accept after 15";

#[test]
fn strangers_wait_unless_they_are_authenticated_and_answer() {
    check(
        case(),
        NOTHING,
        "strangers: hold: nothing proves that it is from ana@example.org",
    );
    check(
        case(),
        |c| c.known.seen = true,
        "strangers: hold: nothing proves",
    );
    check(
        case(),
        |c| c.known.member = true,
        "strangers: hold: nothing proves",
    );
    check(
        case(),
        |c| c.known.reply = true,
        "strangers: hold: nothing proves",
    );
    check(
        proven(),
        NOTHING,
        "strangers: hold: the first mail of ana@example.org here",
    );
    check(proven(), |c| c.known.reply = true, ACCEPT);
    check(known(), NOTHING, ACCEPT);
    check(proven(), |c| c.known.member = true, ACCEPT);
    check(proven(), |c| c.known.bits = Some(Bits::WRITE), ACCEPT);
    check(case(), |c| c.policy = open(), ACCEPT);
    check(
        known(),
        |c| c.policy.moderation = Moderation::All,
        "strangers: hold: the list holds everybody's",
    );
    check(
        moderator(),
        |c| c.policy.moderation = Moderation::All,
        ACCEPT,
    );
}

#[test]
fn a_from_field_counts_only_where_the_list_says_so() {
    check(
        case(),
        |c| (c.known.seen, c.policy.proof) = (true, Proof::From),
        ACCEPT,
    );
    check(case(), |c| c.known.bits = Some(Bits(15)), "strangers: hold");
    let two = "From: ana@example.org, eve@example.net\nSubject: x\n\ntext\n";
    check(
        known(),
        |c| c.mail = two,
        "strangers: hold: nothing proves that it is from nobody in particular",
    );
}

#[test]
fn rights_are_the_persons_then_the_subscribers_then_everybodys() {
    let announce = || Policy::of_style("announce");
    check(known(), |c| c.policy = announce(), "rights: 550 5.7.1");
    check(
        proven(),
        |c| (c.policy, c.known.member) = (announce(), true),
        "rights: 550 5.7.1",
    );
    check(
        proven(),
        |c| (c.policy, c.known.bits) = (announce(), Some(Bits::WRITE)),
        ACCEPT,
    );
    check(
        case(),
        |c| (c.policy, c.known.bits) = (announce(), Some(Bits::WRITE)),
        "rights: 550 5.7.1: ana@example.org, not authenticated",
    );
    let answers = || Policy {
        anybody: Bits(3),
        ..Policy::default()
    };
    check(known(), |c| c.policy = answers(), "rights: 550 5.7.1");
    check(
        known(),
        |c| (c.policy, c.known.reply) = (answers(), true),
        ACCEPT,
    );
    check(
        known(),
        |c| (c.policy, c.policy.outsiders) = (answers(), Outsiders::Hold),
        "rights: hold",
    );
    let members = || Policy {
        anybody: Bits::BROWSE,
        ..Policy::default()
    };
    check(
        proven(),
        |c| (c.policy, c.known.member) = (members(), true),
        ACCEPT,
    );
    check(
        proven(),
        |c| (c.policy, c.known.elsewhere) = (members(), true),
        ACCEPT,
    );
    check(
        case(),
        |c| (c.policy, c.known.elsewhere) = (members(), true),
        "rights: 550 5.7.1",
    );
    check(proven(), |c| c.known.elsewhere = true, ACCEPT);
    // Who lost a right does not get it back by leaving the signature out.
    check(
        case(),
        |c| (c.policy, c.known.bits) = (open(), Some(Bits::BROWSE)),
        "rights: 550 5.7.1",
    );
}

#[test]
fn behind_a_mail_server_only_the_authenticated_hear_a_refusal() {
    let lmtp =
        |c: &mut Case| (c.policy, c.protocol) = (Policy::of_style("announce"), Protocol::Lmtp);
    check(case(), lmtp, "rights: hold");
    check(proven(), lmtp, "rights: 550 5.7.1");
    let banned =
        |c: &mut Case| (c.known.ban, c.protocol) = (Some("example.org".to_owned()), Protocol::Lmtp);
    check(case(), banned, "ban: drop: banned");
    check(proven(), banned, "ban: 550 5.7.1");
}

#[test]
fn rules_count_in_their_order() {
    let rules = |texts: &'static [&'static str]| {
        move |c: &mut Case| {
            c.policy.rules = texts
                .iter()
                .map(|t| Rule::parse(t).expect("a rule"))
                .collect()
        }
    };
    check(
        known(),
        rules(&["Subject hell* hold", "Subject hello reject"]),
        "rules: hold: rule \"Subject hell* hold\" matches",
    );
    check(
        known(),
        rules(&["Subject x* hold", "Subject hello reject"]),
        "rules: 550 5.7.1",
    );
    check(
        known(),
        rules(&["Subject hello discard"]),
        "rules: drop: a rule of the list",
    );
    // It takes doubts away, not the need of a right, and no emergency.
    check(case(), rules(&["Subject hello accept"]), ACCEPT);
    check(
        case(),
        |c| {
            rules(&["Subject hello accept"])(c);
            c.policy.emergency = true
        },
        "emergency: hold",
    );
    check(
        case(),
        |c| {
            rules(&["Subject hello accept"])(c);
            c.policy.anybody = Bits::BROWSE
        },
        "rights: 550",
    );
}

#[test]
fn what_no_right_helps_against_comes_first() {
    check(
        moderator(),
        |c| c.known.ban = Some("example.org".to_owned()),
        "ban: 550 5.7.1: example.org is banned",
    );
    check(known(), |c| c.policy.emergency = true, "emergency: hold");
    check(moderator(), |c| c.policy.emergency = true, ACCEPT);
    check(
        known(),
        |c| c.policy.max_size = 10,
        "size: hold: it has 49 bytes, up to 10 pass",
    );
    check(moderator(), |c| c.policy.max_size = 10, ACCEPT);
    let html = "From: ana@example.org\nContent-Type: text/html\n\n<p>x\n";
    check(known(), |c| c.mail = html, "html: 550 5.6.1");
    check(
        case(),
        |c| (c.mail, c.policy) = (html, Policy::of_style("security")),
        ACCEPT,
    );
    let types = |c: &mut Case| c.policy.refused_types = vec!["application/*".to_owned()];
    let program = "From: ana@example.org\nContent-Type: application/x-msdownload\n\nx\n";
    check(
        known(),
        |c| {
            types(c);
            c.mail = program
        },
        "types: 550 5.6.1: a part is application/x-msdownload",
    );
    check(known(), types, ACCEPT);
}

#[test]
fn what_is_encrypted_reaches_a_security_list() {
    let mail = "From: ana@example.org\nContent-Type: multipart/encrypted; boundary=b; protocol=\"application/pgp-encrypted\"\n\n\
        --b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b\nContent-Type: application/octet-stream\n\n-----BEGIN PGP MESSAGE-----\n--b--\n";
    check(
        case(),
        |c| (c.mail, c.policy) = (mail, Policy::of_style("security")),
        ACCEPT,
    );
}

#[test]
fn spam_is_held_and_trouble_with_the_filter_is_nothing() {
    let spam = || Spam::Yes("rspamd gives it 17.2 of 15".to_owned());
    check(
        known(),
        |c| c.spam = spam(),
        "spam: hold: rspamd gives it 17.2 of 15",
    );
    check(moderator(), |c| c.spam = spam(), ACCEPT);
    check(
        case(),
        |c| (c.spam, c.policy) = (spam(), open()),
        "spam: hold",
    );
    check(
        known(),
        |c| c.spam = Spam::No("rspamd gives it 1 of 15".to_owned()),
        ACCEPT,
    );
}

#[test]
fn a_strict_domain_without_proof_needs_a_second_sign() {
    let strict = |seen: bool, reply: bool| {
        move |c: &mut Case| {
            // Where From counts by itself, this is what is left against forgery.
            c.policy.proof = Proof::From;
            c.verdict.policy = Some("reject".to_owned());
            (c.known.seen, c.known.reply) = (seen, reply);
        }
    };
    check(case(), strict(true, true), ACCEPT);
    check(
        case(),
        |c| {
            strict(false, true)(c);
            c.policy = open()
        },
        ACCEPT,
    );
    check(
        case(),
        strict(false, true),
        "dmarc: hold: its domain asks for p=reject, nothing speaks for it, and the address was never seen here",
    );
    check(
        case(),
        strict(true, false),
        "dmarc: hold: its domain asks for p=reject, nothing speaks for it, and it answers no mail",
    );
    check(proven(), strict(true, false), ACCEPT);
    let unknown = |c: &mut Case| {
        strict(true, false)(c);
        c.verdict.level = Level::Unknown;
    };
    check(case(), unknown, ACCEPT);
}

#[test]
fn many_strangers_in_an_hour_are_held() {
    let answers =
        |count: i64| move |c: &mut Case| (c.known.reply, c.known.strangers) = (true, count);
    check(proven(), answers(19), ACCEPT);
    check(
        proven(),
        answers(20),
        "rate: hold: 20 mails of strangers came within the hour, 20 pass",
    );
    check(known(), answers(2_000), ACCEPT);
    check(
        case(),
        |c| {
            answers(2_000)(c);
            c.policy = open()
        },
        ACCEPT,
    );
}

#[test]
fn only_first_posts_that_nobody_looked_at_go_out_late() {
    let late = |change: fn(&mut Case), case: Case| {
        let mut case = case;
        change(&mut case);
        let outcome = outcome(&case);
        (outcome.stranger, outcome.delay)
    };
    let (stranger, delay) = late(|c| c.known.reply = true, proven());
    assert!(stranger && (60..=120).contains(&delay), "{delay}");
    assert_eq!(late(NOTHING, known()), (false, 0));
    assert_eq!(
        late(NOTHING, case()),
        (true, 0),
        "held: it goes when it is released"
    );
    assert_eq!(late(|c| c.policy = open(), case()), (true, 0));
}

#[test]
fn the_delay_is_the_mails_own() {
    let ends = [0u8, 255].map(|b| super::delay(60, &Identity([b; 32])));
    assert_eq!(ends, [60, 120]);
    assert_eq!(super::delay(0, &Identity([255; 32])), 0);
}

#[test]
fn every_step_that_was_taken_is_said() {
    let outcome = outcome(&known());
    let names: Vec<&str> = outcome.steps.iter().map(|s| s.name).collect();
    assert_eq!(names.len(), STEPS.len());
    assert!(outcome.steps.iter().all(|s| !s.found.is_empty()));
    let docs = include_str!("../../../docs/policy.md");
    let mut from = docs.find("## The order").expect("the manual has the order");
    for name in names {
        let row = format!("| `{name}` |");
        let at = docs[from..].find(&row);
        from += at.unwrap_or_else(|| panic!("the manual has {name} in its place"));
    }
}

#[test]
fn the_verdict_of_a_signature_is_what_proves() {
    let message = mail::parse(PLAIN.as_bytes());
    let facts = |domain: &str| verdict::Facts {
        signatures: vec![verdict::Signature {
            domain: domain.to_owned(),
            selector: "s".to_owned(),
            outcome: Checked::Pass,
            detail: String::new(),
            fields: ["from", "subject", "date", "in-reply-to", "references"]
                .map(str::to_owned)
                .to_vec(),
            partial: false,
            aligned: false,
            proof: "p".to_owned(),
        }],
        ..verdict::Facts::default()
    };
    let proven = |domain| {
        who(
            &message,
            &verdict::judge(&message, facts(domain)),
            Proof::Authenticated,
        )
        .proven
    };
    assert!(proven("example.org"));
    assert!(!proven("example.net"));
}
