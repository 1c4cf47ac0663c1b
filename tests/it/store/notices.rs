//! Automatic mail keeps its limits, whoever asks for how much at once.

use std::net::IpAddr;

use patchpost::list::notice::{Arrived, Event, ReportWish};
use patchpost::pipeline::{Ctx, Notice};
use patchpost::store::{ListRow, Owed};
use patchpost::types::{Job, RealmId, SeriesId, Timestamp};
use patchpost::verdict::Level;

use super::receipt;
use super::site::{Database, START, Site, patch, play};
use crate::harness::on_both;

on_both! {
    a_flood_of_requests_gives_one_mail_a_list_and_three_a_day,
    one_network_causes_twenty_an_hour,
    no_list_is_written_to_by_itself,
    who_wants_to_hear_nothing_of_patches_has_no_mail_read,
}

fn a_flood_of_requests_gives_one_mail_a_list_and_three_a_day(database: Database) {
    play(database, flood);
}

fn one_network_causes_twenty_an_hour(database: Database) {
    play(database, one_network);
}

fn no_list_is_written_to_by_itself(database: Database) {
    play(database, own_addresses);
}

fn who_wants_to_hear_nothing_of_patches_has_no_mail_read(database: Database) {
    play(database, unwanted);
}

const DAY: i64 = 86_400;

async fn ask(ctx: &Ctx, list: &ListRow, to: &str, ip: Option<IpAddr>, now: Timestamp) -> Owed {
    let to = to.parse().unwrap();
    let notice = Notice {
        event: Event::Confirm,
        list: Some(list),
        to: &to,
        subject: "Confirm",
        text: "Please confirm",
        reply_to: None,
        return_path: String::new(),
        answered: None,
        ip,
    };
    ctx.notify(&notice, now).await.unwrap()
}

/// Two processes, five lists, and one mailbox under many spellings.
async fn flood(site: Site) {
    let other = site.another().await;
    let mut lists = Vec::new();
    for n in 0..5 {
        lists.push(site.list(&format!("list{n}"), "public").await);
    }
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..200 {
        let ctx = [&site.ctx, &other][n % 2].clone();
        let list = lists[n % 5].clone();
        let to = format!("v.ictim+{n}@gmail.com");
        waiting.spawn(async move { (list.id, ask(&ctx, &list, &to, None, START).await) });
    }
    let mut sent = Vec::new();
    while let Some(done) = waiting.join_next().await {
        let (list, owed) = done.unwrap();
        match owed {
            Owed::Yes => sent.push(list),
            other => assert_eq!(other, Owed::EnoughForAddress),
        }
    }
    assert_eq!(sent.len(), 3, "three a day over all lists: {sent:?}");
    sent.sort();
    sent.dedup();
    assert_eq!(sent.len(), 3, "one a list");
    let later = |secs| {
        ask(
            &other,
            &lists[0],
            "victim@googlemail.com",
            None,
            START.plus_secs(secs),
        )
    };
    assert_eq!(later(DAY - 1).await, Owed::EnoughForAddress);
    assert_eq!(later(DAY).await, Owed::Yes);
    assert_eq!(later(DAY).await, Owed::EnoughForAddress);
    let all = ask(&other, &lists[0], "somebody@gmail.com", None, START).await;
    assert_eq!(all, Owed::Yes, "others are not the victim");
}

async fn one_network(site: Site) {
    let list = site.list("dev", "public").await;
    let from = |n: u32, net: [u8; 3], at| {
        let [a, b, c] = net;
        let ip = IpAddr::from([a, b, c, u8::try_from(n).unwrap()]);
        let (ctx, list) = (site.ctx.clone(), list.clone());
        async move {
            ask(
                &ctx,
                &list,
                &format!("a{n}@x{at}.org"),
                Some(ip),
                START.plus_secs(at),
            )
            .await
        }
    };
    for n in 0..20 {
        assert_eq!(from(n, [192, 0, 2], 0).await, Owed::Yes, "{n}");
    }
    assert_eq!(from(20, [192, 0, 2], 1).await, Owed::EnoughFromSource);
    assert_eq!(from(20, [198, 51, 100], 2).await, Owed::Yes);
    assert_eq!(from(20, [192, 0, 2], 3_600).await, Owed::Yes);
    for n in 0..30 {
        let local = from(n, [127, 0, 0], 4).await;
        assert_eq!(local, Owed::Yes, "a proxy speaks for many");
    }
}

async fn own_addresses(site: Site) {
    let list = site.list("dev", "public").await;
    site.list("secret", "private").await;
    for own in [
        "dev@x.org",
        "DEV+owner@x.org",
        "dev-request@x.org",
        "secret@x.org",
        "~ana/secret+subscribe@x.org",
        "a\"b@y.org",
    ] {
        let owed = ask(&site.ctx, &list, own, None, START).await;
        assert_eq!(owed, Owed::EnoughForAddress, "{own}");
    }
}

/// Mails of which nothing can be read any more, so that whoever tries is found out.
async fn unwanted(site: Site) {
    let (list, store) = (site.list("dev", "public").await, &site.ctx.store);
    let mut one = site
        .prepare(RealmId::PUBLIC, &patch("p@x", "[PATCH] p", ""))
        .await;
    one.verdict.level = Level::Aligned;
    store
        .accept(one, vec![receipt(list.id, START)])
        .await
        .unwrap();
    site.drain().await;
    site.change("update blob set size = 0").await;
    let report = async |claimed: &'static str| {
        let claims = store
            .claim_jobs("report", 9, store.time().await.unwrap())
            .await;
        let claim = claims.unwrap().pop().expect(claimed);
        let Job::Report(series) = claim.job else {
            panic!("{claim:?}");
        };
        site.ctx.report(series, claim.held()).await
    };
    let wish = |arrived| ReportWish {
        states: false,
        arrived,
        conflict: false,
    };
    let (ana, now) = ("ana@example.org".to_owned(), START);
    store
        .record_report_wish(ana.clone(), wish(Arrived::Never), now)
        .await
        .unwrap();
    report("it is owed").await.unwrap();
    assert_eq!(
        site.rows("select id from job where kind = 'report'")
            .await
            .len(),
        0
    );
    // Nobody knows yet whether it applies: that is looked at again, and the mail is not.
    let later = now.plus_secs(1);
    store
        .record_report_wish(ana, wish(Arrived::Always), later)
        .await
        .unwrap();
    let series: i64 = site.rows("select id from series").await[0][0]
        .parse()
        .unwrap();
    let job = vec![(Job::Report(SeriesId(series)), 4)];
    store.insert_jobs(job.clone(), START).await.unwrap();
    report("it is owed again").await.unwrap();
    assert_eq!(
        site.rows("select id from job where kind = 'report'")
            .await
            .len(),
        1
    );
    // Once it is known, the mail says whom to tell.
    site.change("delete from job").await;
    store.insert_jobs(job, START).await.unwrap();
    report("it is to be told").await.unwrap_err();
}
