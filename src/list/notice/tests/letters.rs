//! Texts to moderators, authors, the operator and whoever asks for help, as they leave.

use askama::Template;
use expect_test::expect;

use super::super::*;
use super::address;

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|t| (*t).to_owned()).collect()
}

#[track_caller]
fn rendered(letter: &impl Template) -> String {
    letter.render().expect("it renders")
}

#[test]
fn a_notice_of_a_held_mail_as_it_leaves() {
    let (series, excerpt) = (
        texts(&["[PATCH 1/2] one", "[PATCH 2/2] two"]),
        texts(&["Hello list,", "this is a first patch."]),
    );
    let list = address("dev@x.org");
    let held = |answer, series, excerpt| Held {
        list: &list,
        from: "Eve <eve@example.org>",
        subject: "[PATCH 1/2] one",
        size: 1_234,
        reason: "nothing proves that it is from eve@example.org",
        verdict: "nobody speaks for it",
        count: 2,
        series,
        answer,
        days: 21,
        command: "patchpost held show 7 --data /var/lib/patchpost",
        page: "https://x.org/dev/settings/held/7/",
        excerpt,
    };
    expect![[r#"
        A mail to dev@x.org waits for somebody to look at it.

            From:     Eve <eve@example.org>
            Subject:  [PATCH 1/2] one
            Size:     1234 bytes
            Held as:  nothing proves that it is from eve@example.org
            Sender:   nobody speaks for it

        It is one of 2 mails of a series, about which you decide together:

            [PATCH 1/2] one
            [PATCH 2/2] two

        Reply to this mail, with one of these as its first line:

            accept
            accept person
            reject: words for the author
            discard

        "accept person" lets the author write to the list from now on. What your reply
        quotes does not matter. It counts once, and only if your own mail system
        signs it (DKIM): this mail alone gives nobody the right.

        It is dropped after 21 days. It can be decided on its page, too:
        https://x.org/dev/settings/held/7/
        Or on the server:
            patchpost held show 7 --data /var/lib/patchpost

        It begins:

        > Hello list,
        > this is a first patch.
    "#]]
    .assert_eq(&rendered(&held(true, &series, &excerpt)));
    expect![[r#"
        A mail to dev@x.org waits for somebody to look at it.

            From:     Eve <eve@example.org>
            Subject:  [PATCH 1/2] one
            Size:     1234 bytes
            Held as:  nothing proves that it is from eve@example.org
            Sender:   nobody speaks for it

        It is dropped after 21 days. It can be decided on its page, too:
        https://x.org/dev/settings/held/7/
        Or on the server:
            patchpost held show 7 --data /var/lib/patchpost
    "#]]
    .assert_eq(&rendered(&held(false, &[], &[])));
}

#[test]
fn word_of_a_wave_as_it_leaves() {
    let text = Waiting {
        list: &address("dev@x.org"),
        name: "dev",
        count: 40,
        days: 21,
        page: "https://x.org/dev/settings/held/",
    };
    expect![[r#"
        40 further mails to dev@x.org wait for somebody to look at them.
        So many came at once that they are not told one by one.

        On their page: https://x.org/dev/settings/held/

        On the server:

            patchpost held ls dev
            patchpost held discard --list dev --from '*@example.org'
            patchpost policy set dev --ban example.org

        Each is dropped after 21 days."#]]
    .assert_eq(&rendered(&text));
    expect![[r#"
        1 further mail to dev@x.org waits for somebody to look at it.
        So many came at once that they are not told one by one.

        On their page: https://x.org/dev/settings/held/

        On the server:

            patchpost held ls dev
            patchpost held discard --list dev --from '*@example.org'
            patchpost policy set dev --ban example.org

        Each is dropped after 21 days."#]]
    .assert_eq(&rendered(&Waiting { count: 1, ..text }));
}

#[test]
fn a_daily_reminder_as_it_leaves() {
    let list = address("dev@x.org");
    let reminder = |soon| Reminder {
        list: &list,
        name: "dev",
        count: 3,
        since: "2026-03-20",
        soon,
        days: 21,
    };
    expect![[r#"
        3 mails to dev@x.org wait for somebody to look at them, the first of them
        since 2026-03-20. Each is dropped after 21 days, 2 of them
        within the next three.

        On the server:

            patchpost held ls dev
            patchpost held accept ID
            patchpost held discard ID

        This comes once a day while something waits."#]]
    .assert_eq(&rendered(&reminder(2)));
    expect![[r#"
        3 mails to dev@x.org wait for somebody to look at them, the first of them
        since 2026-03-20. Each is dropped after 21 days.

        On the server:

            patchpost held ls dev
            patchpost held accept ID
            patchpost held discard ID

        This comes once a day while something waits."#]]
    .assert_eq(&rendered(&reminder(0)));
    let one = Reminder {
        count: 1,
        ..reminder(1)
    };
    expect![[r#"
        1 mail to dev@x.org waits for somebody to look at it,
        since 2026-03-20. It is dropped after 21 days,
        within the next three.

        On the server:

            patchpost held ls dev
            patchpost held accept ID
            patchpost held discard ID

        This comes once a day while something waits."#]]
    .assert_eq(&rendered(&one));
}

#[test]
fn a_rejection_as_it_leaves() {
    let which = texts(&[
        "Subject:  a question",
        "Date:     Mon, 1 Jan 2024 10:00:00 +0000",
    ]);
    let text = Rejected {
        list: &address("dev@x.org"),
        which: &which,
        words: &["Please ask on the users list.", "It is for that."],
        owner: "dev+owner@x.org",
    };
    expect![[r#"
        Hello,

        a moderator of dev@x.org looked at the mail that this one answers, and
        did not take it:

            Subject:  a question
            Date:     Mon, 1 Jan 2024 10:00:00 +0000

        These are the moderator's words:

            Please ask on the users list.
            It is for that.

        It is archived nowhere. The same mail sent again changes nothing.

        People who can help: dev+owner@x.org"#]]
    .assert_eq(&rendered(&text));
}

#[test]
fn what_came_of_a_moderators_word_as_it_leaves() {
    let mails = texts(&["a question"]);
    let moderated = |mails| Moderated {
        text: "It goes through now.",
        mails,
    };
    expect![[r#"
        Hello,

        It goes through now.

            a question
    "#]]
    .assert_eq(&rendered(&moderated(&mails)));
    expect![[r#"
        Hello,

        It goes through now.
    "#]]
    .assert_eq(&rendered(&moderated(&[])));
}

#[test]
fn what_came_of_wishes_for_a_patchset_as_it_leaves() {
    let lines = texts(&["state: it is accepted now", "delegate: nobody is named eve"]);
    let text = Steered {
        what: "patchset 12 v2 of dev",
        lines: &lines,
        page: "https://x.org/dev/patches/12/v2/",
        owner: "dev+owner@x.org",
    };
    expect![[r#"
        Hello,

        your mail asked for something about patchset 12 v2 of dev.

        state: it is accepted now

        delegate: nobody is named eve

        https://x.org/dev/patches/12/v2/

        People who can help: dev+owner@x.org"#]]
    .assert_eq(&rendered(&text));
}

#[test]
fn word_that_copies_stopped_as_it_leaves() {
    let text = Paused {
        address: &address("ben@example.com"),
        list: "dev@x.org",
        local: "dev",
        domain: "x.org",
    };
    expect![[r#"
        Hello,

        somebody reported a copy of the list dev@x.org
        as unwanted mail, a copy that was sent to your address:

            ben@example.com

        Nothing proves that the report came from you. Since now you get no more copies
        of that list. If they are welcome, send a mail with any words to

            dev+mail@x.org

        and they go on. If you want to leave the list, send one to

            dev+unsubscribe@x.org

        If you do nothing, you stay a member without copies."#]]
    .assert_eq(&rendered(&text));
}

#[test]
fn word_of_trouble_as_it_leaves() {
    let one = |what: &str, detail: &str, mend: &str| {
        (what.to_owned(), detail.to_owned(), mend.to_owned())
    };
    let worse = [
        one("disk", "4 % of it is free", "free some"),
        one("queue", "the oldest copy waits since yesterday", ""),
    ];
    let better = [one("clock", "it is right", "")];
    let trouble = |worse, better| Trouble {
        hostname: "mx.x.org",
        worse,
        better,
        command: "patchpost doctor --data /var/lib/patchpost",
    };
    expect![[r#"
        Hello,

        the mail server mx.x.org needs you:

            disk
                4 % of it is free
                To mend it: free some

            queue
                the oldest copy waits since yesterday

        this is well again at the mail server mx.x.org:

            clock
                it is right

        All there is to see is shown on the server by
            patchpost doctor --data /var/lib/patchpost
        Each of these things is told at most once a day, and once more when it is well
        again."#]]
    .assert_eq(&rendered(&trouble(&worse, &better)));
    expect![[r#"
        Hello,

        this is well again at the mail server mx.x.org:

            clock
                it is right

        All there is to see is shown on the server by
            patchpost doctor --data /var/lib/patchpost
        Each of these things is told at most once a day, and once more when it is well
        again."#]]
    .assert_eq(&rendered(&trouble(&[], &better)));
}

#[test]
fn word_of_patches_that_came_as_it_leaves() {
    let report = |came, page: &str, attached| Report {
        next: "-v2".to_owned(),
        attached,
        list: "dev@x.org".to_owned(),
        came,
        title: texts(&["\"one\", v1 of 2 patches"]),
        said: texts(&["On tool at 123456789abc (the tip of main): it applies."]),
        page: page.to_owned(),
        choose: "https://x.org/me/".to_owned(),
    };
    let page = "https://x.org/dev/patches/1/";
    expect![[r#"
        Hello,

        your patches came to dev@x.org:

            "one", v1 of 2 patches

        On tool at 123456789abc (the tip of main): it applies.

        All about them, and what is said of them:

            https://x.org/dev/patches/1/

        People review them by replies to your mails. A new version goes to

            dev@x.org

        with -v2 (git format-patch) and in reply to the first mail of this one;
        an answer to this mail goes to everybody on the list.

        Which mail of this kind comes to you is chosen here:

            https://x.org/me/"#]]
    .assert_eq(&rendered(&report(true, page, false)));
    expect![[r#"
        Hello,

        your patches at dev@x.org do not apply:

            "one", v1 of 2 patches

        On tool at 123456789abc (the tip of main): it applies.

        Nothing is lost: they are in the archive, and may be reviewed. A version
        that applies goes to

            dev@x.org

        with the file attached that git format-patch -v2 makes, as an answer to
        the first mail of this one;
        an answer to this mail goes to everybody on the list.

        Which mail of this kind comes to you is chosen here:

            https://x.org/me/"#]]
    .assert_eq(&rendered(&report(false, "", true)));
}

#[test]
fn news_of_patches_as_they_leave() {
    let news = |page: &str| News {
        list: "dev@x.org".to_owned(),
        title: texts(&["\"one\", v1 of 2 patches"]),
        said: texts(&[
            "All of it is in main of tool now: patch 1 as 123456789abc, patch 2 as",
            "abcdef123456.",
        ]),
        page: page.to_owned(),
        choose: "https://x.org/me/".to_owned(),
    };
    expect![[r#"
        Hello,

        there is news of your patches at dev@x.org:

            "one", v1 of 2 patches

        All of it is in main of tool now: patch 1 as 123456789abc, patch 2 as
        abcdef123456.

        All about them, and what is said of them:

            https://x.org/dev/patches/1/

        You chose to hear of this; here you can choose otherwise:

            https://x.org/me/"#]]
    .assert_eq(&rendered(&news("https://x.org/dev/patches/1/")));
    expect![[r#"
        Hello,

        there is news of your patches at dev@x.org:

            "one", v1 of 2 patches

        All of it is in main of tool now: patch 1 as 123456789abc, patch 2 as
        abcdef123456.

        You chose to hear of this; here you can choose otherwise:

            https://x.org/me/"#]]
    .assert_eq(&rendered(&news("")));
}

#[test]
fn word_of_a_rehearsal_that_could_not_be_as_it_leaves() {
    let untried = |count| Untried {
        list: "dev@x.org",
        count,
    };
    expect![[r#"
        Hello,

        your mail to try dev@x.org out could not be tried: there is
        trouble on the server, and the people who run it see that. Nothing was
        archived or sent on. Please send it again another day."#]]
    .assert_eq(&rendered(&untried(1)));
    expect![[r#"
        Hello,

        your 3 mails to try dev@x.org out could not be tried: there is
        trouble on the server, and the people who run it see that. Nothing was
        archived or sent on. Please send them again another day."#]]
    .assert_eq(&rendered(&untried(3)));
}

#[test]
fn help_as_it_leaves() {
    let text = Help {
        list: &address("dev@x.org"),
        local: "dev",
        domain: "x.org",
        page: "https://x.org/dev/",
    };
    expect![[r#"
        Hello,

        dev@x.org is a mailing list. Mail to these addresses does what
        their names say; what stands in it does not matter:

            dev+subscribe@x.org
                You get a copy of every mail to the list, after you confirmed.
            dev+unsubscribe@x.org
                You leave the list.
            dev+nomail@x.org
                You stay a member and get no copies.
            dev+mail@x.org
                You get copies again.
            dev+nodupes@x.org
                You get no copy of mail that names you in To or Cc; +dupes undoes it.
            dev+noown@x.org
                You get no copies of your own mail; +own undoes it.
            dev+check@x.org
                You alone hear what would become of a mail or patch series at the
                list: held or not, grouped how, does it apply. Nothing is archived.
            dev+remove@x.org
                An answer to your own mail, sent here, has that mail taken off the
                pages; some lists ask a moderator first.
            dev+owner@x.org
                Reaches the people who run the list.

        Who answers a patch with a line "/state changes-requested" of its own sets
        its state; authors may say rejected, superseded or changes-requested of
        their own. A web mailer breaks a patch that is pasted: attach the file that
        git format-patch made, one patch a mail. All this at length:

            https://x.org/dev/_/text/help/

        Where your mail program sends from another address than the one that is a
        member, or your mail carries no DKIM signature of your domain, you are asked
        to confirm by a mail to the member's address.

        The archive, and more help: https://x.org/dev/"#]]
    .assert_eq(&rendered(&text));
}
