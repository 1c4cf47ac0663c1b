//! Automatic mail as it leaves, and who gets none.

mod letters;

use askama::Template;
use expect_test::{expect, expect_file};

use super::*;
use crate::mail;

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

/// Renders with fixed time and chance.
#[track_caller]
fn mail(event: Event, subject: &str, text: &str, answered: Option<&Answered>) -> String {
    let (list, to) = (address("dev@x.org"), address("ana@example.org"));
    let reply = address("dev+confirm-token@x.org");
    let draft = Draft {
        event,
        list: Some(&list),
        hostname: "mx.x.org",
        to: &to,
        subject,
        text,
        reply_to: Some(&reply).filter(|_| event == Event::Confirm),
        answered,
        now: Timestamp::from_secs(1_774_000_000),
        unique: 0xabc,
    };
    String::from_utf8(render(&draft).expect("plain addresses")).expect("UTF-8")
}

#[test]
fn every_event_has_one_row() {
    let mut seen = std::collections::HashSet::new();
    for row in RULES {
        assert!(seen.insert(row.event), "{:?} twice", row.event);
        assert_eq!(rule(row.event).purpose, row.purpose);
    }
    for event in [
        Event::Confirm,
        Event::Joined,
        Event::Done,
        Event::Nothing,
        Event::Help,
        Event::Trouble,
        Event::Held,
        Event::Waiting,
        Event::Reminder,
        Event::Moderated,
        Event::Steered,
        Event::OwnHeld,
        Event::NotTaken,
        Event::Rejected,
        Event::Rehearsed,
        Event::Reported,
        Event::Unfit,
        Event::News,
        Event::OwnRemoval,
        Event::RemovalWished,
        Event::Probe,
        Event::Disabled,
        Event::Paused,
        Event::Storm,
        Event::SignIn,
    ] {
        assert!(seen.contains(&event), "{event:?} is missing");
    }
}

#[test]
fn the_manual_says_what_the_table_says() {
    expect_file!["../../../docs/automatic-mail.md"].assert_eq(&manual());
}

#[test]
fn a_confirmation_as_it_leaves() {
    let asked = mail::parse(
        b"From: ana@example.org\nMessage-ID: <asked@example.org>\nReferences: <a@b> <b@b>\n\nx\n",
    );
    let text = Confirm {
        what: "join the list dev@x.org with this address",
        address: &address("ana@example.org"),
        link: "https://x.org/-/confirm/token",
        reply: true,
        owner: "dev+owner@x.org",
    };
    let text = text.render().expect("it renders");
    let answered = Answered::from(&asked);
    expect![[r#"
        From: dev list <dev+owner@x.org>
        To: ana@example.org
        Reply-To: dev+confirm-token@x.org
        Subject: Confirm: join dev@x.org
        Date: Fri, 20 Mar 2026 09:46:40 +0000
        Message-ID: <00000000000000000000000000000abc.auto@x.org>
        In-Reply-To: <asked@example.org>
        Auto-Submitted: auto-replied
        X-Auto-Response-Suppress: All
        List-Id: <dev.x.org>
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit
        References: <a@b>
         <b@b>
         <asked@example.org>

        Hello,

        somebody, we hope you, asked to join the list dev@x.org with this address:

            ana@example.org

        If that was you, open this page and press the button there:

            https://x.org/-/confirm/token

        or simply reply to this mail; what your reply says does not matter.

        This works once, for three days. If it was not you, do nothing: nothing
        happens, and at most one such mail a day comes to you from this list.

        People who can help: dev+owner@x.org
    "#]]
    .assert_eq(&mail(
        Event::Confirm,
        "Confirm: join dev@x.org",
        &text,
        Some(&answered),
    ));
}

#[test]
fn a_welcome_as_it_leaves() {
    let text = Welcome {
        list: &address("dev@x.org"),
        local: "dev",
        domain: "x.org",
        address: &address("ana@example.org"),
        page: "https://x.org/dev/",
        leave: "https://x.org/u/token",
    };
    let text = text.render().expect("it renders");
    expect![[r#"
        From: dev list <dev+owner@x.org>
        To: ana@example.org
        Subject: Welcome to dev@x.org
        Date: Fri, 20 Mar 2026 09:46:40 +0000
        Message-ID: <00000000000000000000000000000abc.auto@x.org>
        Auto-Submitted: auto-generated
        X-Auto-Response-Suppress: All
        List-Id: <dev.x.org>
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Welcome to dev@x.org.

        ana@example.org gets a copy of every mail to the list from now on.

            Write to it:    dev@x.org (plain text)
            Send a patch:   https://x.org/dev/_/text/help/
            Read and find:  https://x.org/dev/
            Pause:          a mail to dev+nomail@x.org
            Go on:          a mail to dev+mail@x.org
            Leave:          a mail to dev+unsubscribe@x.org,
                            or this page, which needs no password and no mail:
                            https://x.org/u/token
            Help:           a mail to dev+help@x.org
            People:         dev+owner@x.org
    "#]]
    .assert_eq(&mail(Event::Joined, "Welcome to dev@x.org", &text, None));
}

#[test]
fn the_outcome_of_a_command_as_it_leaves() {
    let done = |next| Done {
        text: "ana@example.org left the list dev@x.org and gets no more copies.",
        next,
        owner: "dev+owner@x.org",
    };
    let text = done("To come back, write to dev+subscribe@x.org.").render();
    expect![[r#"
        Hello,

        ana@example.org left the list dev@x.org and gets no more copies.

        To come back, write to dev+subscribe@x.org.

        People who can help: dev+owner@x.org"#]]
    .assert_eq(&text.expect("it renders"));
    expect![[r#"
        Hello,

        ana@example.org left the list dev@x.org and gets no more copies.

        People who can help: dev+owner@x.org"#]]
    .assert_eq(&done("").render().expect("it renders"));
}

#[test]
fn nothing_of_a_stranger_makes_a_field() {
    let hostile = mail::parse(
        b"From: a@b.c\nMessage-ID: <x@y\r\n\tBcc: victim@example.org>\nReferences: <ok@b> <\xc3\xa9@b> <a\"b@c> <no-at>\n\nx\n",
    );
    let answered = Answered::from(&hostile);
    let subject = "Hello\r\nBcc: victim@example.org\n\nbody =?utf-8?q?x?= \u{202e}\u{e9}";
    let text = "one\r\u{0}\u{1b}[31mtwo\n.\nFrom x\n";
    let made = mail(Event::Done, subject, text, Some(&answered));
    let read = mail::parse(made.as_bytes());
    assert_eq!(read.header("Bcc"), None, "{made}");
    assert!(read.flaws.is_empty(), "{:?}\n{made}", read.flaws);
    let names: Vec<&str> = read.headers.iter().map(|(n, _)| n.as_str()).collect();
    expect!["From To Subject Date Message-ID In-Reply-To Auto-Submitted X-Auto-Response-Suppress List-Id MIME-Version Content-Type Content-Transfer-Encoding References"].assert_eq(&names.join(" "));
    assert!(
        read.subject.starts_with("HelloBcc: victim"),
        "{}",
        read.subject
    );
    assert_eq!(
        read.parents.last().map(|id| id.as_str()),
        Some("ok@b"),
        "{made}"
    );
    assert_eq!(read.text, "one[31mtwo\n.\nFrom x\n");
    assert!(made.lines().all(|l| l.len() < 998), "{made}");
}

#[test]
fn an_address_that_needs_quotes_gets_nothing() {
    for odd in [
        "a\"b@x.org",
        "a(b@x.org",
        "\u{e9}@x.org",
        "a:b@x.org",
        ".a@x.org",
        "a..b@x.org",
        "a@[1.2.3.4]",
    ] {
        assert!(!is_plain(&address(odd)), "{odd}");
    }
    for plain in ["a@x.org", "a.b+c=d@x.org", "o'neil/x@x-y.org"] {
        assert!(is_plain(&address(plain)), "{plain}");
    }
}

#[track_caller]
fn check(head: &str, expected: Option<&str>) {
    let message = mail::parse(format!("{head}\n\nx\n").as_bytes());
    let sender = message.author().address.parse::<Address>().ok();
    let ours = |a: &Address| a.domain() == "lists.x.org";
    let got = unanswerable(&message, sender.as_ref(), ours);
    assert_eq!(got, expected, "{head}");
}

#[test]
fn machines_and_lists_are_not_answered() {
    check("From: ana@x.org", None);
    check("From: ana@x.org\nAuto-Submitted: no", None);
    check("From: ana@x.org\nAuto-Submitted: NO; x=y", None);
    let automatic = Some("an automatic mail");
    check("From: ana@x.org\nAuto-Submitted: auto-replied", automatic);
    check(
        "From: ana@x.org\nAUTO-submitted: auto-generated (why)",
        automatic,
    );
    check("From: ana@x.org\nAuto-Submitted:", automatic);
    let many = Some("a mail to many");
    check("From: ana@x.org\nPrecedence: Bulk", many);
    check("From: ana@x.org\nPrecedence: junk", many);
    check("From: ana@x.org\nPrecedence: list", many);
    check("From: ana@x.org\nPrecedence: first-class", None);
    check("From: ana@x.org\nList-Id: <a.b>", many);
    check("From: ana@x.org\nlist-unsubscribe: <mailto:a@b>", many);
    let quiet = Some("a mail that wants no automatic answer");
    check("From: ana@x.org\nX-Auto-Response-Suppress: OOF", quiet);
    let machine = Some("a mail from a machine");
    check("From: MAILER-DAEMON@x.org", machine);
    check("From: postmaster@x.org", machine);
    check("From: owner-dev@x.org", machine);
    check("From: dev-request@x.org", machine);
    check("From: dev-bounces@x.org", machine);
    check("From: dev@lists.x.org", Some("a mail from a list of ours"));
    check("X: y", Some("the null sender"));
}

#[test]
fn one_mailbox_is_counted_as_one() {
    let check = |text: &str, expected: &str| assert_eq!(counted(&address(text)), expected);
    check("Ana@X.org", "ana@x.org");
    check("ana+one@x.org", "ana@x.org");
    check("a.n.a+b+c@googlemail.com", "ana@gmail.com");
    check("An.a@gmail.com", "ana@gmail.com");
    check("a.n.a@x.org", "a.n.a@x.org");
    check("+x@x.org", "+x@x.org");
    let source = |ip: &str| counted_source(ip.parse().ok());
    assert_eq!(source("192.0.2.77"), "192.0.2.0/24");
    assert_eq!(source("::ffff:192.0.2.9"), "192.0.2.0/24");
    assert_eq!(source("2001:db8:1:2:3::9"), "2001:db8:1:2::/64");
    assert_eq!(source(""), "");
}

#[test]
fn what_dmarc_forbids_is_not_answered() {
    let check = |policy: Option<&str>, level, expected| {
        let verdict = Verdict {
            level,
            policy: policy.map(str::to_owned),
            ..Verdict::default()
        };
        assert_eq!(is_forbidden(&verdict), expected, "{policy:?} {level:?}");
    };
    check(Some("reject"), Level::None, true);
    check(Some("quarantine"), Level::Unaligned, true);
    check(Some("reject"), Level::Aligned, false);
    check(Some("reject"), Level::Unknown, false);
    check(Some("none"), Level::None, false);
    check(None, Level::None, false);
}

#[test]
fn a_probe_as_it_leaves() {
    let text = Probe {
        address: &address("ana@example.org"),
        list: "dev@x.org",
        days: 7,
    };
    let text = text.render().expect("it renders");
    let subject = "Does this mail reach you?";
    expect![[r#"
        From: dev list <dev+owner@x.org>
        To: ana@example.org
        Subject: Does this mail reach you?
        Date: Fri, 20 Mar 2026 09:46:40 +0000
        Message-ID: <00000000000000000000000000000abc.auto@x.org>
        Auto-Submitted: auto-generated
        X-Auto-Response-Suppress: All
        List-Id: <dev.x.org>
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Hello,

        copies of mails to dev@x.org and perhaps to other lists here
        came back from your address several times:

            ana@example.org

        This mail asks your mail server once more. If you read it, all is well: do
        nothing. If it comes back to us within 7 days, we stop sending copies to
        this address, and tell you how to get them again.
    "#]]
    .assert_eq(&mail(Event::Probe, subject, &text, None));
}

#[test]
fn a_warning_as_it_leaves() {
    let ana = address("ana@example.org");
    let warning = |last| Disabled {
        address: &ana,
        since: "2026-03-20",
        gone: "2026-04-19",
        link: "https://x.org/-/enable/token",
        last,
    };
    let subject = "You get no mail from the lists here any more";
    let text = warning(false).render().expect("it renders");
    expect![[r#"
        From: dev list <dev+owner@x.org>
        To: ana@example.org
        Subject: You get no mail from the lists here any more
        Date: Fri, 20 Mar 2026 09:46:40 +0000
        Message-ID: <00000000000000000000000000000abc.auto@x.org>
        Auto-Submitted: auto-generated
        X-Auto-Response-Suppress: All
        List-Id: <dev.x.org>
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Hello,

        mails for your address came back to us again and again, and the last one that
        we tried with came back, too. So since 2026-03-20 you get no copies of the
        lists here at this address:

            ana@example.org

        If your mail works again, open this page and press the button there:

            https://x.org/-/enable/token

        You are still a member. If you do nothing, the address is taken off all lists
        here on 2026-04-19.
    "#]]
    .assert_eq(&mail(Event::Disabled, subject, &text, None));
    let text = warning(true).render().expect("it renders");
    let end = text.rsplit_once("\n\n").map(|(_, end)| end);
    expect![[r#"
        You are still a member. This is the last mail about it: if you do nothing, the address
        is taken off all lists here on 2026-04-19."#]]
    .assert_eq(end.unwrap_or_default());
}

#[test]
fn a_storm_as_it_is_told() {
    let text = Storm {
        domain: "example.net",
        code: "5.7.1",
        recipients: 12,
        began: "2026-03-20 09:46 UTC",
    };
    expect![[r#"
        Hello,

        copies for 12 members at example.net came back with the
        same answer (5.7.1), within an hour at most, since 2026-03-20 09:46 UTC.

        So many at once are no fault of the members, so none of these bounces counts
        against any of them, and others from there do not count either until a day
        after the last one. Once it has gone on for three days, bounces of mailboxes that
        are gone count again. What the servers say is shown by

            patchpost events

        and for one member by

            patchpost member show LIST ADDRESS

        Often such a destination blocks your machine, or refuses the mail of one author.
        If the destination is gone for good, take its members off with

            patchpost member rm LIST ADDRESS"#]]
    .assert_eq(&text.render().expect("it renders"));
}

#[test]
fn a_sign_in_as_it_leaves() {
    let text = SignIn {
        address: &address("ana@example.org"),
        site: "https://x.org",
        link: "https://x.org/sign-in/token",
        code: "012345",
        minutes: 15,
    };
    let text = text.render().expect("it renders");
    let to = address("ana@example.org");
    let draft = Draft {
        event: Event::SignIn,
        list: None,
        hostname: "mx.x.org",
        to: &to,
        subject: "Sign in at mx.x.org",
        text: &text,
        reply_to: None,
        answered: None,
        now: Timestamp::from_secs(1_774_000_000),
        unique: 0xabc,
    };
    let mail = String::from_utf8(render(&draft).expect("plain addresses"));
    expect![[r#"
        From: Postmaster <postmaster@mx.x.org>
        To: ana@example.org
        Subject: Sign in at mx.x.org
        Date: Fri, 20 Mar 2026 09:46:40 +0000
        Message-ID: <00000000000000000000000000000abc.auto@mx.x.org>
        Auto-Submitted: auto-generated
        X-Auto-Response-Suppress: All
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Content-Transfer-Encoding: 7bit

        Hello,

        somebody, we hope you, wants to sign in at https://x.org as

            ana@example.org

        If that was you, open this page and press the button there:

            https://x.org/sign-in/token

        or type this code into the page that asked for it:

            012345

        Both hold for 15 minutes, and once. Tell them to nobody: whoever has them is
        you here. If it was not you, do nothing: nothing happens.
    "#]]
    .assert_eq(&mail.expect("UTF-8"));
}

#[test]
fn a_wished_removal_as_it_leaves() {
    let text = Removal {
        list: "dev@x.org",
        name: "dev",
        author: "ana@example.org",
        subject: "a question",
        page: "https://x.org/dev/one@x/",
        id: "one@x",
    };
    expect![[r#"
        ana@example.org wishes that a mail of theirs is taken out of dev@x.org:

            Subject:  a question
            Page:     https://x.org/dev/one@x/

        The wish is authenticated, and they were told that you decide.
        On the server, to take it back so that it can be undone, or to delete its
        words for ever:

            patchpost recall 'one@x' --list dev
            patchpost remove 'one@x' --list dev --redact
    "#]]
    .assert_eq(&text.render().expect("it renders"));
    let odd = Removal {
        page: "",
        id: "",
        ..text
    };
    expect![[r#"
        ana@example.org wishes that a mail of theirs is taken out of dev@x.org:

            Subject:  a question

        The wish is authenticated, and they were told that you decide.
    "#]]
    .assert_eq(&odd.render().expect("it renders"));
    let secret = Removal {
        author: "",
        subject: "",
        ..odd
    };
    expect![[r#"
        An author wishes that a mail of theirs is taken out of dev@x.org.

        The wish is authenticated, and they were told that you decide.
        Which mail it is and whose is shown on the server only:

            patchpost events dev
    "#]]
    .assert_eq(&secret.render().expect("it renders"));
}

#[test]
fn a_mail_lists_so_many_others_and_counts_the_rest() {
    let lines = |n: usize| listed((0..n).map(|n| n.to_string()));
    assert_eq!((lines(1).len(), lines(50).len()), (1, 50));
    let many = lines(10_000);
    assert_eq!(many.len(), 51);
    assert_eq!(many[50], "and 9950 more");
}
