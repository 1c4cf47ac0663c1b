//! What signs somebody in ends in time, and two at once are one.

use patchpost::list::notice::SIGN_IN;
use patchpost::list::sign_in::{
    HOLDS_SECS, IDLE_SECS, LIFE_SECS, LINK_SECS, TRIES, hash, render_mark,
};
use patchpost::store::{CappedLetter, NewLetter, NewSignIn, Outcome, Owed, SignInRow};
use patchpost::types::Timestamp;

use super::site::{Database, START, Site, play};
use crate::harness::on_both;

on_both! {
    everything_that_signs_in_ends,
    two_at_once_sign_in_once_and_guess_no_more_than_one,
    a_network_and_a_mailbox_ask_for_few_mails,
    a_mail_that_signs_nobody_in_any_more_is_not_sent,
}

fn everything_that_signs_in_ends(database: Database) {
    play(database, ends);
}

fn two_at_once_sign_in_once_and_guess_no_more_than_one(database: Database) {
    play(database, at_once);
}

async fn ask(site: &Site, name: &str, other: &str, now: Timestamp) {
    ask_after(site, name, None, other, now).await;
}

/// In the browser that asked under another name before.
async fn ask_after(site: &Site, name: &str, before: Option<&str>, other: &str, now: Timestamp) {
    let letter = NewLetter {
        list: None,
        purpose: "sign-in",
        recipient: "ana@example.org".to_owned(),
        return_path: String::new(),
        data: b"x\n".to_vec(),
        about: Vec::new(),
    };
    let new = NewSignIn {
        link: hash(name),
        browser: hash(&format!("browser {name}")),
        before: before.map(|name| hash(&format!("browser {name}"))),
        code: hash(&format!("code {name}")),
        address: "ana@example.org".to_owned(),
        other: other.to_owned(),
        known: true,
        letter: CappedLetter {
            letter,
            cap: SIGN_IN,
            counted: "ana@example.org".to_owned(),
            source: String::new(),
        },
    };
    let owed = site.ctx.store.insert_sign_in(new, now).await.unwrap();
    assert_eq!(owed, Owed::Yes);
}

fn a_mail_that_signs_nobody_in_any_more_is_not_sent(database: Database) {
    play(database, useless);
}

async fn useless(site: Site) {
    let store = &site.ctx.store;
    let owed = async || store.count_letters().await.unwrap().0;
    // Used by its link, and by its code.
    ask(&site, "one", "", START).await;
    ask(&site, "two", "", START).await;
    assert_eq!(owed().await, 2);
    let used = store.sign_in_by_link(hash("one"), hash("s1"), None, START);
    assert!(used.await.unwrap().is_some());
    assert_eq!(owed().await, 1);
    let (browser, code) = (hash("browser two"), hash("code two"));
    let used = store.sign_in_by_code(browser, code, hash("s2"), None, START);
    assert!(used.await.unwrap().is_some());
    assert_eq!(owed().await, 0);
    // Asked for again in the same browser, and in another one: the code of the last mail is the one that a browser takes.
    ask(&site, "three", "", START).await;
    ask_after(&site, "four", Some("three"), "", START).await;
    assert_eq!(owed().await, 1);
    ask(&site, "five", "", START).await;
    assert_eq!(owed().await, 2);
    // Signed out everywhere.
    store
        .end_sessions("ana@example.org".to_owned())
        .await
        .unwrap();
    assert_eq!(owed().await, 0);
    // Too late: when it is claimed, and where it waits for another try.
    let day = START.plus_secs(2 * 86_400);
    ask(&site, "six", "", day).await;
    let late = day.plus_secs(HOLDS_SECS + 1);
    let claimed = store.claim_letters(10, &[], late).await.unwrap();
    let lapses: Vec<_> = claimed.iter().map(|l| l.lapses).collect();
    assert_eq!(lapses, [Some(day.plus_secs(HOLDS_SECS))]);
    let (letter, retry) = (claimed[0].clone(), late.plus_secs(86_400));
    let later = Outcome::Later(retry, "450 later".to_owned());
    store.record_letters(vec![(letter, later)]).await.unwrap();
    assert_eq!(owed().await, 1);
    ask(&site, "seven", "", late).await;
    assert_eq!(owed().await, 1, "the last one");
    // A link that links is used as well.
    ask(&site, "eight", "ben@example.org", late).await;
    assert_eq!(owed().await, 2);
    let nobody = |_: &SignInRow| Vec::new();
    let linked = store.link_by_mail(hash("eight"), nobody, late);
    assert!(linked.await.unwrap().is_some());
    assert_eq!(owed().await, 1);
}

async fn ends(site: Site) {
    let store = &site.ctx.store;
    let ana = Some("ana@example.org".to_owned());
    let after = |secs: i64| START.plus_secs(secs);
    ask(&site, "one", "", START).await;
    let late = after(HOLDS_SECS + 1);
    assert_eq!(store.find_sign_in(&hash("one"), late).await.unwrap(), None);
    let spent = || async { store.find_spent_link(&hash("one")).await.unwrap() };
    assert_eq!(spent().await, Some((false, false)), "too old");
    assert_eq!(store.find_spent_link(&hash("no")).await.unwrap(), None);
    let by_link = |link: &str, session: &str, now| {
        store.sign_in_by_link(hash(link), hash(session), None, now)
    };
    assert_eq!(by_link("one", "s1", late).await.unwrap(), None);
    let (browser, code) = (hash("browser one"), hash("code one"));
    let coded = store.sign_in_by_code(browser, code, hash("s1"), None, late);
    assert_eq!(coded.await.unwrap(), None);
    let in_time = after(HOLDS_SECS);
    assert_eq!(by_link("one", "s1", in_time).await.unwrap(), ana);
    assert_eq!(by_link("one", "s2", in_time).await.unwrap(), None, "once");
    assert_eq!(spent().await, Some((true, false)));

    // A session that is not used ends, one that is used ends as well.
    let found = |now| async move {
        let row = store.find_session(&hash("s1"), now).await.unwrap();
        row.is_some()
    };
    assert!(found(in_time.plus_secs(IDLE_SECS)).await);
    assert!(!found(in_time.plus_secs(IDLE_SECS + 1)).await);
    let mut now = in_time;
    while now < in_time.plus_secs(LIFE_SECS) {
        let row = store.find_session(&hash("s1"), now).await.unwrap();
        let row = row.expect("it is used every week");
        site.ctx.greet(row, now).await.unwrap();
        now = now.plus_secs(7 * 86_400);
    }
    assert!(!found(in_time.plus_secs(LIFE_SECS + 1)).await);
    // Both are gone for good when the next one signs in.
    ask(&site, "two", "", now).await;
    assert_eq!(by_link("two", "s3", now).await.unwrap(), ana);
    let rows = site.rows("select count(*) from session").await;
    assert_eq!(rows, [["1"]]);
    let rows = site.rows("select count(*) from sign_in").await;
    assert_eq!(rows, [["1"]]);

    // A link that links does not sign in, and holds for three days.
    ask(&site, "three", "ben@example.org", now).await;
    assert_eq!(by_link("three", "s4", now).await.unwrap(), None);
    let late = now.plus_secs(LINK_SECS + 1);
    let nobody = |_: &SignInRow| Vec::new();
    assert_eq!(
        store
            .link_by_mail(hash("three"), nobody, late)
            .await
            .unwrap(),
        None
    );
    let linked = store.link_by_mail(hash("three"), nobody, now.plus_secs(LINK_SECS));
    let expected = SignInRow {
        address: "ana@example.org".to_owned(),
        other: "ben@example.org".to_owned(),
    };
    assert_eq!(linked.await.unwrap(), Some(expected));
    let both = store.load_linked("ben@example.org").await.unwrap();
    assert_eq!(both, ["ana@example.org", "ben@example.org"]);
    store
        .end_sessions("ana@example.org".to_owned())
        .await
        .unwrap();
    let rows = site.rows("select count(*) from session").await;
    assert_eq!(rows, [["0"]]);
}

async fn at_once(site: Site) {
    let other = site.another().await;
    ask(&site, "one", "", START).await;
    let mut links = tokio::task::JoinSet::new();
    for n in 0..8 {
        let store = [&site.ctx, &other][n % 2].store.clone();
        let session = hash(&format!("s{n}"));
        links.spawn(async move {
            store
                .sign_in_by_link(hash("one"), session, None, START)
                .await
        });
    }
    let signed = links.join_all().await;
    let signed = signed.into_iter().filter_map(Result::unwrap);
    assert_eq!(signed.count(), 1);

    ask(&site, "two", "", START).await;
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = [&site.ctx, &other][n % 2].store.clone();
        let wrong = hash(&format!("guess {n}"));
        let session = hash(&format!("t{n}"));
        guesses.spawn(async move {
            let browser = hash("browser two");
            store
                .sign_in_by_code(browser, wrong, session, None, START)
                .await
        });
    }
    let signed = guesses.join_all().await;
    assert!(signed.into_iter().all(|s| s.unwrap().is_none()));
    let tries = site.rows("select max(tries) from sign_in").await;
    assert_eq!(tries, [[TRIES.to_string()]]);
    let right = (hash("browser two"), hash("code two"));
    let store = &site.ctx.store;
    let late = store.sign_in_by_code(right.0, right.1, hash("u"), None, START);
    assert_eq!(late.await.unwrap(), None);
}

fn a_network_and_a_mailbox_ask_for_few_mails(database: Database) {
    play(database, few);
}

async fn few(site: Site) {
    let list = site.list("dev", "public").await;
    let known = (0..40).map(|n| format!("m{n}@example.org")).collect();
    site.ctx.add_members(list.id, known).await.unwrap();
    let ip = |last: u8| Some(std::net::IpAddr::from([192, 0, 2, last]));
    let ask = async |address: String, ip, now| {
        let address = address.parse().unwrap();
        let asked = site
            .ctx
            .ask_to_sign_in(&address, (None, None), ip, now)
            .await;
        asked.unwrap().0
    };
    // Known or not, a network counts all alike.
    for n in 0..20u8 {
        let domain = ["example.org", "unknown.example"][usize::from(n % 2)];
        let owed = ask(format!("m{n}@{domain}"), ip(n), START).await;
        assert_eq!(owed, Owed::Yes, "{n}");
    }
    for address in ["m30@example.org", "m30@unknown.example"] {
        let owed = ask(address.to_owned(), ip(99), START).await;
        assert_eq!(owed, Owed::EnoughFromSource, "{address}");
    }
    let later = START.plus_secs(3_601);
    let owed = ask("m30@example.org".to_owned(), ip(99), later).await;
    assert_eq!(owed, Owed::Yes);
    // Spellings that nobody has here, from everywhere, use up nothing of the one who is known.
    for n in 0..12 {
        let owed = ask(format!("m31+{n}@example.org"), None, START).await;
        assert_eq!(owed, Owed::Yes, "{n}");
    }
    for n in 0..12 {
        let owed = ask("m31@example.org".to_owned(), None, START).await;
        let expected = [Owed::Yes, Owed::EnoughForAddress][usize::from(n >= 5)];
        assert_eq!(owed, expected, "{n}");
    }
    // A browser that was signed in is counted by itself; a mark of another address is none.
    let key = site.ctx.token_key.clone();
    let ana = "m31@example.org".parse().unwrap();
    for (of, expected) in [
        ("m31@example.org", Owed::Yes),
        ("m30@example.org", Owed::EnoughForAddress),
    ] {
        let mark = render_mark(&key, of);
        let asked = site
            .ctx
            .ask_to_sign_in(&ana, (None, Some(&mark)), None, START);
        assert_eq!(asked.await.unwrap().0, expected, "{of}");
    }
    let sent = site.rows("select count(*) from letter").await;
    assert_eq!(
        sent,
        [["7"]],
        "to those who are known, but for what is of no use an hour later"
    );
}
