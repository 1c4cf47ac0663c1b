//! What comes back is kept once, counted late, and harms nobody without a token.

use patchpost::list::bounce::Class;
use patchpost::list::notice::Event;
use patchpost::list::roster::Entry;
use patchpost::list::score::State;
use patchpost::list::token;
use patchpost::pipeline::{NewMail, Notice};
use patchpost::session::Protocol;
use patchpost::store::{ListRow, NewBounce, Owed, StandingRow};
use patchpost::types::{ListId, MemberId, Timestamp};

use super::site::{Database, START, Site, play};

stories! {
    a_bounce_is_kept_once_and_for_whom_its_token_names,
    forged_tokens_change_nothing,
    bounces_count_after_an_hour_and_a_storm_never,
    a_complaint_ends_one_subscription_at_once,
    a_complaint_that_comes_to_a_person_counts_by_its_token,
    three_days_a_probe_and_a_month_take_an_address_off_all_lists,
    a_probe_that_arrives_forgives_and_its_token_is_void,
    quiet_days_with_copies_forgive_and_others_do_not,
    a_disabled_address_gets_no_copies_until_it_is_enabled,
    whoever_adds_a_disabled_address_means_it_to_get_mail,
    what_the_next_hop_refuses_counts_as_what_came_back,
}

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

pub fn day(number: i64) -> Timestamp {
    START.plus_secs(number * DAY)
}

/// A list with members at example.net.
async fn list(site: &Site, name: &str, members: &[&str]) -> ListRow {
    let list = site.list(name, "public").await;
    let addresses = members.iter().map(|m| format!("{m}@example.net"));
    let added = site
        .ctx
        .store
        .insert_members(list.id, addresses.collect(), START);
    added.await.unwrap();
    list
}

async fn member(site: &Site, list: ListId, name: &str) -> MemberId {
    let address = format!("{name}@example.net");
    let found = site
        .ctx
        .store
        .find_member_by_address(list, &address)
        .await
        .unwrap();
    found.unwrap().id
}

/// Takes in that the copy of a posting came back.
async fn come_back(
    site: &Site,
    list: &ListRow,
    who: &str,
    number: i64,
    code: &str,
    at: Timestamp,
) -> bool {
    let class = match code {
        "5.1.1" => Class::Gone,
        "5.2.2" => Class::Full,
        "spam" => Class::Complaint,
        _ => Class::Policy,
    };
    let new = NewBounce {
        copy: token::Bounce {
            list: list.id,
            number,
            member: member(site, list.id, who).await,
        },
        class,
        code: code.to_owned(),
        text: format!("550 {code} no"),
        arrived: at,
    };
    site.ctx.store.insert_bounce(new).await.unwrap()
}

async fn standing(site: &Site, who: &str) -> Option<StandingRow> {
    let address = format!("{who}@example.net");
    site.ctx.store.find_standing(&address).await.unwrap()
}

/// Letters as (purpose, recipient, return path).
async fn letters(site: &Site) -> Vec<Vec<String>> {
    site.rows("select purpose, recipient, return_path from letter order by id")
        .await
}

/// Sends a mail from the null sender; the reply's code.
pub async fn send(site: &Site, to: &str, mail: &str) -> u16 {
    let new = NewMail {
        bytes: mail.replace('\n', "\r\n").into_bytes(),
        sender: None,
        recipients: vec![to.parse().unwrap()],
        protocol: Protocol::Smtp,
        ip: None,
        helo: "mx.example.net".to_owned(),
    };
    let answers = site.ctx.screen(new).await;
    answers[0]
        .as_ref()
        .map_or_else(|reply| reply.code, |()| 250)
}

pub const REPORT: &str = "From: MAILER-DAEMON@example.net\nSubject: Undelivered Mail\nContent-Type: multipart/report; boundary=b\n\n--b\n\
     Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; cleo@example.net\nAction: failed\nStatus: 5.1.1\n\
     Diagnostic-Code: smtp; 550 5.1.1 No such user\n\n--b--\n";

async fn a_bounce_is_kept_once_and_for_whom_its_token_names(site: Site) {
    let list = list(&site, "dev", &["ben", "cleo"]).await;
    let ben = member(&site, list.id, "ben").await;
    let copy = token::Bounce {
        list: list.id,
        number: 7,
        member: ben,
    };
    let token = token::render_bounce(&site.ctx.token_key, copy).unwrap();
    for _ in 0..3 {
        assert_eq!(
            send(&site, &format!("dev+b-{token}@x.org"), REPORT).await,
            250
        );
    }
    // The report names cleo; the token, ben.
    let rows = site
        .rows("select address, class, code, detail, state from bounce")
        .await;
    assert_eq!(
        rows,
        [[
            "ben@example.net",
            "gone",
            "5.1.1",
            "550 5.1.1 No such user",
            "0"
        ]]
    );
    let events = site.ctx.store.load_events(None, 10).await.unwrap();
    let said: Vec<_> = events
        .iter()
        .map(|e| (e.kind.as_str(), e.actor.as_str(), e.detail.as_str()))
        .collect();
    assert_eq!(
        said,
        [(
            "bounce",
            "ben@example.net",
            "gone 5.1.1, the copy of posting 7: 550 5.1.1 No such user"
        )]
    );
}

async fn forged_tokens_change_nothing(site: Site) {
    let list = list(&site, "dev", &["ben"]).await;
    let ben = member(&site, list.id, "ben").await;
    let copy = |number| token::Bounce {
        list: list.id,
        number,
        member: ben,
    };
    for number in 0..40 {
        let forged = token::render_bounce(b"a stranger's key", copy(number)).unwrap();
        let probe = token::render_probe(
            b"a stranger's key",
            token::Standing {
                id: 1,
                since: number,
            },
        )
        .unwrap();
        for to in [
            format!("dev+b-{forged}@x.org"),
            format!("dev+probe-{probe}@x.org"),
            format!("dev+b-{}@x.org", &forged[1..]),
        ] {
            assert_eq!(send(&site, &to, REPORT).await, 550, "{to}");
        }
    }
    assert_eq!(site.rows("select count(*) from bounce").await, [["0"]]);
    site.ctx.check_bounces(day(60)).await.unwrap();
    assert_eq!(standing(&site, "ben").await, None);
    assert_eq!(site.rows("select count(*) from member").await, [["1"]]);
}

async fn bounces_count_after_an_hour_and_a_storm_never(site: Site) {
    let names: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let list = list(&site, "dev", &names).await;
    assert!(come_back(&site, &list, "m0", 1, "5.1.1", day(0)).await);
    assert!(
        !come_back(&site, &list, "m0", 1, "5.1.1", day(0)).await,
        "the same copy again"
    );
    site.ctx
        .check_bounces(day(0).plus_secs(HOUR - 1))
        .await
        .unwrap();
    assert_eq!(standing(&site, "m0").await, None);
    site.ctx
        .check_bounces(day(0).plus_secs(HOUR))
        .await
        .unwrap();
    assert_eq!(standing(&site, "m0").await.unwrap().standing.halves, 4);
    // Four are none, the fifth within the hour makes all of them a storm: a fifth of twenty is four.
    for (at, who) in names[1..6].iter().enumerate() {
        come_back(
            &site,
            &list,
            who,
            2,
            "5.1.1",
            day(3).plus_secs(60 * at as i64),
        )
        .await;
    }
    come_back(&site, &list, "m9", 2, "5.2.2", day(3).plus_secs(10 * HOUR)).await;
    come_back(&site, &list, "m10", 3, "5.2.2", day(5)).await;
    for _ in 0..2 {
        site.ctx.check_bounces(day(6)).await.unwrap();
    }
    for who in ["m1", "m5", "m9"] {
        assert_eq!(standing(&site, who).await, None, "{who}");
    }
    assert_eq!(standing(&site, "m10").await.unwrap().standing.halves, 1);
    let storms = site
        .rows("select domain, code, recipients, told from storm")
        .await;
    assert_eq!(storms, [["example.net", "5.1.1", "5", "1"]]);
}

async fn a_complaint_ends_one_subscription_at_once(site: Site) {
    let dev = list(&site, "dev", &["ben", "cleo"]).await;
    let users = list(&site, "users", &["ben"]).await;
    assert!(come_back(&site, &dev, "ben", 1, "spam", day(0)).await);
    let found = |list: ListId, who: &'static str| {
        let store = site.ctx.store.clone();
        async move {
            store
                .find_member_by_address(list, &format!("{who}@example.net"))
                .await
                .unwrap()
        }
    };
    assert!(found(dev.id, "ben").await.is_none());
    assert!(found(dev.id, "cleo").await.is_some());
    assert!(found(users.id, "ben").await.is_some());
    // The owner learns that there was one, and not whose.
    let events = site.ctx.store.load_events(None, 10).await.unwrap();
    let said: Vec<_> = events
        .iter()
        .map(|e| (e.kind.as_str(), e.actor.as_str()))
        .collect();
    assert_eq!(said, [("complaint", "")]);
    assert!(!format!("{events:?}").contains("ben"));
    assert_eq!(site.rows("select address from bounce").await, [[""]]);
    // For a month nothing is asked of him, under whatever spelling.
    let ask = async |at: Timestamp| {
        let to = "ben+new@example.net".parse().unwrap();
        let notice = Notice {
            event: Event::Confirm,
            list: Some(&dev),
            to: &to,
            subject: "Confirm",
            text: "Please confirm",
            reply_to: None,
            return_path: String::new(),
            answered: None,
            ip: None,
        };
        site.ctx.notify(&notice, at).await.unwrap()
    };
    assert_ne!(ask(day(29)).await, Owed::Yes);
    assert_eq!(ask(day(31)).await, Owed::Yes);
}

async fn a_complaint_that_comes_to_a_person_counts_by_its_token(site: Site) {
    let list = list(&site, "dev", &["ben", "cleo"]).await;
    let copy = token::Bounce {
        list: list.id,
        number: 1,
        member: member(&site, list.id, "ben").await,
    };
    let token = token::render_bounce(&site.ctx.token_key, copy).unwrap();
    let forged = token::render_bounce(b"a stranger's key", copy).unwrap();
    let report = |token: &str, kind: &str| {
        format!(
            "From: loop@example.net\nMessage-ID: <{kind}.{token}@x>\nSubject: FW\nContent-Type: multipart/report; boundary=b\n\n--b\n\
             Content-Type: message/feedback-report\n\nFeedback-Type: {kind}\nOriginal-Mail-From: <dev+b-{token}@x.org>\n\n--b--\n"
        )
    };
    for mail in [report(&forged, "abuse"), report(&token, "auth-failure")] {
        assert_eq!(send(&site, "postmaster@x.org", &mail).await, 250);
    }
    let reading =
        "select address from member where mail = 1 and address like '%example.net' order by id";
    let both = [["ben@example.net"], ["cleo@example.net"]];
    assert_eq!(site.rows(reading).await, both);
    // Nor by a mail that nobody took.
    let nobody = send(&site, "nobody@x.org", &report(&token, "abuse")).await;
    assert_eq!(nobody, 550);
    assert_eq!(site.rows(reading).await, both);
    // Anybody may have read the token: he stays a member, gets no copies for now, and is told how they go on. Once.
    for _ in 0..2 {
        let answer = send(&site, "postmaster@x.org", &report(&token, "abuse")).await;
        assert_eq!(answer, 250);
    }
    assert_eq!(site.rows(reading).await, both[1..]);
    let all = "select count(*) from member where address like '%example.net'";
    assert_eq!(site.rows(all).await, [["2"]]);
    let told = "select recipient from letter where purpose = 'copies stopped'";
    assert_eq!(site.rows(told).await, [["ben@example.net"]]);
    // An archive shows its copies to everybody: no complaint touches it.
    let text = "update member set kind = 'archive' where address = 'cleo@example.net'";
    site.change(text).await;
    let copy = token::Bounce {
        member: member(&site, list.id, "cleo").await,
        ..copy
    };
    let token = token::render_bounce(&site.ctx.token_key, copy).unwrap();
    let path = format!("dev+b-{token}@x.org");
    assert_eq!(send(&site, &path, &report(&token, "abuse")).await, 250);
    assert_eq!(site.rows(reading).await, both[1..]);
}

/// Takes an address to the end of its probe.
async fn probed(site: &Site, list: &ListRow, who: &str) -> String {
    for number in 0..3 {
        come_back(site, list, who, 100 + number, "5.1.1", day(number)).await;
        site.ctx
            .check_bounces(day(number).plus_secs(HOUR))
            .await
            .unwrap();
    }
    assert_eq!(
        standing(site, who).await.unwrap().standing.state,
        State::Probed
    );
    let letters = letters(site).await;
    let [purpose, recipient, path] = letters.last().unwrap().as_slice() else {
        panic!("{letters:?}");
    };
    assert_eq!(
        (purpose.as_str(), recipient.as_str()),
        ("probe", "ben@example.net")
    );
    assert!(path.starts_with("dev+probe-"), "{path}");
    path.clone()
}

async fn three_days_a_probe_and_a_month_take_an_address_off_all_lists(site: Site) {
    let dev = list(&site, "dev", &["ben", "cleo"]).await;
    list(&site, "users", &["ben"]).await;
    let path = probed(&site, &dev, "ben").await;
    // A policy that refuses the probe says nothing about the mailbox.
    let policy = REPORT.replace("5.1.1", "5.7.1");
    assert_eq!(send(&site, &path, &policy).await, 250);
    assert_eq!(
        standing(&site, "ben").await.unwrap().standing.state,
        State::Probed
    );
    assert_eq!(send(&site, &path, REPORT).await, 250);
    let disabled = standing(&site, "ben").await.unwrap().standing;
    assert_eq!(disabled.state, State::Disabled);
    let begun = disabled.since;
    assert_eq!(site.ctx.store.load_disabled(dev.id).await.unwrap().len(), 1);
    let mut told = Vec::new();
    for day in 0..32 {
        let before = letters(&site).await.len();
        let now = begun.plus_secs(day * DAY + 60);
        // Looking twice does nothing twice.
        for _ in 0..2 {
            site.ctx.check_bounces(now).await.unwrap();
        }
        let members = site
            .rows("select count(*) from member where address = 'ben@example.net'")
            .await;
        told.push((
            day,
            letters(&site).await.len() - before,
            members[0][0].clone(),
        ));
    }
    let warned: Vec<i64> = told.iter().filter(|t| t.1 == 1).map(|t| t.0).collect();
    assert_eq!(warned, [0, 7, 14]);
    let gone = told.iter().find(|t| t.2 == "0").map(|t| t.0);
    assert_eq!(gone, Some(30), "{told:?}");
    let all = letters(&site).await;
    assert!(
        all[1..]
            .iter()
            .all(|l| l[0] == "bounce warning" && l[2].is_empty()),
        "{all:?}"
    );
    assert_eq!(
        site.rows("select count(*) from member").await,
        [["1"]],
        "cleo stays"
    );
}

async fn a_probe_that_arrives_forgives_and_its_token_is_void(site: Site) {
    let dev = list(&site, "dev", &["ben"]).await;
    let path = probed(&site, &dev, "ben").await;
    site.ctx.check_bounces(day(10)).await.unwrap();
    let forgiven = standing(&site, "ben").await.unwrap().standing;
    assert_eq!(
        (forgiven.state, forgiven.halves, forgiven.days),
        (State::Fine, 0, 0)
    );
    // The old probe comes back very late: it speaks of a time that is over.
    assert_eq!(send(&site, &path, REPORT).await, 250);
    assert_eq!(
        standing(&site, "ben").await.unwrap().standing.state,
        State::Fine
    );
}

async fn quiet_days_with_copies_forgive_and_others_do_not(site: Site) {
    let dev = list(&site, "dev", &["ben"]).await;
    come_back(&site, &dev, "ben", 1, "5.1.1", day(0)).await;
    site.ctx.check_bounces(day(1)).await.unwrap();
    // A quiet month of a quiet list forgives nothing.
    site.ctx.check_bounces(day(31)).await.unwrap();
    assert_eq!(standing(&site, "ben").await.unwrap().standing.halves, 4);
    let copies = |days: std::ops::Range<i64>| {
        let first = START.secs() / DAY + 31;
        let rows = days.map(|n| format!("({}, {})", dev.id.0, first + n));
        format!(
            "insert into copy_day (list, day) values {}",
            rows.collect::<Vec<_>>().join(", ")
        )
    };
    site.change(&copies(0..6)).await;
    site.ctx.check_bounces(day(40)).await.unwrap();
    assert_eq!(standing(&site, "ben").await.unwrap().standing.halves, 4);
    site.change(&copies(6..7)).await;
    site.ctx.check_bounces(day(42)).await.unwrap();
    assert_eq!(standing(&site, "ben").await.unwrap().standing.halves, 0);
}

async fn a_disabled_address_gets_no_copies_until_it_is_enabled(site: Site) {
    let dev = list(&site, "dev", &["ben", "cleo"]).await;
    let path = probed(&site, &dev, "ben").await;
    assert_eq!(send(&site, &path, REPORT).await, 250);
    let copies = async |id: &str| {
        site.post(&["dev"], &super::mail(id, "s", "", "text")).await;
        patchpost::worker::drain(&site.ctx, &["fan-out"])
            .await
            .unwrap();
        let text = "select address from delivery where number = (select max(number) from delivery) order by address";
        let rows = site.rows(text).await;
        rows.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(copies("one@x").await, ["cleo@example.net"]);
    assert!(
        site.ctx
            .enable_address("ben@example.net", day(4))
            .await
            .unwrap()
    );
    assert!(
        !site
            .ctx
            .enable_address("ben@example.net", day(4))
            .await
            .unwrap()
    );
    assert_eq!(
        copies("two@x").await,
        ["ben@example.net", "cleo@example.net"]
    );
    let days = site.rows("select count(*) from copy_day").await;
    assert_eq!(days, [["1"]]);
    // The probe of then disables nobody again.
    assert_eq!(send(&site, &path, REPORT).await, 250);
    assert_eq!(
        standing(&site, "ben").await.unwrap().standing.state,
        State::Fine
    );
}

async fn what_the_next_hop_refuses_counts_as_what_came_back(site: Site) {
    let dev = list(&site, "dev", &["ben", "cleo", "dora"]).await;
    let mut id = 0;
    for (who, problem) in [
        ("ben", "550 5.1.1 No such user"),
        ("cleo", "the posting is gone"),
        ("dora", "554 5.7.1 Spam"),
    ] {
        id += 1;
        let member = member(&site, dev.id, who).await;
        site.change(&format!(
            "insert into delivery (list, number, member, address, domain, state, attempts, run_at, claimed_until, problem) \
             values ({}, {id}, {member}, '{who}@example.net', 'example.net', 2, 1, 0, 0, '{problem}')", dev.id
        )).await;
    }
    for _ in 0..2 {
        site.ctx.check_bounces(day(0)).await.unwrap();
    }
    let rows = site
        .rows("select address, class, code from bounce order by id")
        .await;
    assert_eq!(
        rows,
        [
            ["ben@example.net", "gone", "5.1.1"],
            ["dora@example.net", "policy", "5.7.1"]
        ]
    );
    // A probe that is refused at once came back, too.
    let path = probed(&site, &dev, "ben").await;
    site.change(&format!("update letter set state = 2, problem = '550 5.1.1 No such user' where return_path = '{path}'")).await;
    site.ctx.check_bounces(day(3)).await.unwrap();
    assert_eq!(
        standing(&site, "ben").await.unwrap().standing.state,
        State::Disabled
    );
}

async fn whoever_adds_a_disabled_address_means_it_to_get_mail(site: Site) {
    let dev = list(&site, "dev", &["ben", "cleo"]).await;
    let other = site.list("other", "public").await;
    let store = &site.ctx.store;
    let entry = |who: &str| Entry {
        address: format!("{who}@example.net"),
        ..Entry::default()
    };
    let disable = async |who: &str| {
        let text = format!(
            "insert into standing (address, state, halves, days, last_day, day_halves, since, told, next) \
             values ('{who}@example.net', 'disabled', 12, 3, 1, 4, 1, 3, 1) on conflict (address) do update set state = 'disabled'"
        );
        site.change(&text).await;
    };
    let state = async |who: &str| standing(&site, who).await.unwrap().standing.state;
    for to in [other.id, dev.id] {
        disable("ben").await;
        let added = store.insert_members(to, vec!["ben@example.net".to_owned()], day(1));
        added.await.unwrap();
        assert_eq!(state("ben").await, State::Fine);
    }
    disable("cleo").await;
    // A roster that is read again says nothing of who is there already.
    let read = |list: ListId| store.import_members(list, vec![entry("cleo")], day(1));
    assert_eq!(read(dev.id).await.unwrap(), 0);
    assert_eq!(state("cleo").await, State::Disabled);
    assert_eq!(read(other.id).await.unwrap(), 1);
    assert_eq!(state("cleo").await, State::Fine);
    // Nothing of the old story takes anybody off.
    site.ctx.check_bounces(day(40)).await.unwrap();
    let members = "select count(*) from member where address like '%example.net'";
    assert_eq!(site.rows(members).await, [["4"]]);
}
