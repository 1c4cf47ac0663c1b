//! Somebody's own page: lists, addresses, bounces, data.

use super::harness::{Copy, Database, Sink, TestServer, on_both};
use super::visitor::{Visitor, link, to, wait};

on_both! {
    a_member_pauses_chooses_leaves_and_joins,
    two_addresses_are_linked_by_mail_and_unlinked,
    data_is_taken_along_and_erased,
    an_address_that_bounced_is_explained_and_enabled,
    a_mail_is_sent_to_who_asks_for_it,
    own_patches_are_listed_where_they_may_be_seen,
}

const ANA: &str = "ana@example.org";
const HOME: &str = "ana@home.example";

fn start(database: Database, sink: &Sink) -> TestServer {
    let server = TestServer::start_on_with(database, &to(sink));
    for (name, more) in [
        ("dev", None),
        ("users", None),
        ("rookery", Some("--private")),
    ] {
        let address = format!("{name}@lists.example.org");
        let mut create = vec!["list", "create", name, "--address", &address];
        create.extend(more);
        server.cli(&create);
    }
    server.cli(&["member", "add", "dev", ANA, "ben@example.com"]);
    server
}

#[track_caller]
fn member(server: &TestServer, list: &str, address: &str) -> Option<serde_json::Value> {
    let all = server.json(&["member", "ls", list]);
    let mut all = all.as_array().unwrap().iter();
    all.find(|m| m["address"] == address).cloned()
}

fn a_member_pauses_chooses_leaves_and_joins(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let ana = Visitor::new(&server);
    ana.sign_in(&sink, ANA);
    let page = ana.get("/me/").body;
    assert!(
        page.contains("gets copies") && page.contains("Join another list"),
        "{page}"
    );
    assert!(
        !page.contains("rookery"),
        "of a list that is not hers: {page}"
    );
    let save = |mail: &str, own: &str, nodupes: &str| {
        let fields = [
            ("do", "save"),
            ("list", "dev"),
            ("address", ANA),
            ("mail", mail),
            ("own", own),
            ("nodupes", nodupes),
        ];
        let seen = ana.press("/me/", &fields);
        assert_eq!(seen.header("location").as_deref(), Some("/me/?done=saved"));
        member(&server, "dev", ANA).unwrap()
    };
    let now = save("no", "no", "yes");
    assert_eq!(
        (&now["mail"], &now["own"], &now["nodupes"]),
        (&false.into(), &false.into(), &true.into())
    );
    let page = ana.get("/me/?done=saved").body;
    assert!(page.contains("Saved.") && page.contains("paused"), "{page}");
    let now = save("yes", "yes", "default");
    assert_eq!((&now["mail"], &now["own"]), (&true.into(), &true.into()));
    assert!(now["nodupes"].is_null());
    let noted = server.cli(&["events", "dev"]);
    assert!(
        noted.contains("paused") && noted.contains("resumed"),
        "{noted}"
    );

    let press = |what: &str, list: &str| {
        let seen = ana.press("/me/", &[("do", what), ("list", list), ("address", ANA)]);
        seen.header("location").unwrap()
    };
    assert_eq!(press("leave", "dev"), "/me/?done=left");
    assert!(member(&server, "dev", ANA).is_none());
    assert!(ana.get("/me/").body.contains("You are a member of no list"));
    assert_eq!(press("leave", "dev"), "/me/?done=nothing");
    assert_eq!(press("join", "users"), "/me/?done=joined");
    assert!(member(&server, "users", ANA).is_some());
    server.wait_for("a welcome", || {
        let welcome = |c: &Copy| String::from_utf8_lossy(&c.bytes).contains("Welcome to users@");
        sink.all().into_iter().find(welcome)
    });
    // A list that is not public is not there for her; nobody else's subscription is hers.
    for (what, list) in [
        ("join", "rookery"),
        ("save", "rookery"),
        ("join", "postmaster"),
        ("x", "dev"),
    ] {
        assert_eq!(press(what, list), "/me/?done=nothing", "{what} {list}");
    }
    assert!(member(&server, "rookery", ANA).is_none());
    let of_ben = [("do", "enable"), ("address", "ben@example.com")];
    assert_eq!(
        ana.press("/me/", &of_ben).header("location").as_deref(),
        Some("/me/?done=nothing")
    );
    // Once she is in, she sees it, and that she cannot come back by herself.
    server.cli(&["member", "add", "rookery", ANA]);
    let page = ana.get("/me/").body;
    assert!(
        page.contains("not public") && page.contains("only the people who run the list"),
        "{page}"
    );
    assert!(page.contains("href=\"/rookery/\""), "{page}");
}

fn own_patches_are_listed_where_they_may_be_seen(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["member", "add", "rookery", ANA, "ben@example.com"]);
    let post = |list: &str, from: &str, subject: &str, more: &str| {
        let id = subject.replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let mail = format!(
            "From: {from}\nMessage-ID: <{id}@x>\n{more}Subject: {subject}\n\nx\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n\
             @@ -1 +1 @@\n-a\n+b\n"
        );
        let to = format!("{list}@lists.example.org");
        assert!(server.send(&[&to], mail.as_bytes()).starts_with("250"));
        server.drain();
    };
    let ana = Visitor::new(&server);
    ana.sign_in(&sink, ANA);
    assert!(!ana.get("/me/").body.contains("Your patches"));
    post("dev", ANA, "[PATCH] Mend the roof", "");
    post(
        "dev",
        ANA,
        "[PATCH v2] Mend the roof",
        "In-Reply-To: <PATCHMendtheroof@x>\n",
    );
    post("rookery", ANA, "[PATCH] Feed the rooks", "");
    post("dev", "ben@example.com", "[PATCH] Sweep the yard", "");
    let page = ana.get("/me/").body;
    let listed = page.split("Your patches").nth(1).expect("a list");
    let (first, second) = (listed.find("Feed the rooks"), listed.find("Mend the roof"));
    assert!(
        first < second && first.is_some(),
        "the newest first: {page}"
    );
    assert_eq!(listed.matches("Mend the roof").count(), 1, "once: {page}");
    for words in [
        "/rookery/patches/",
        "/dev/patches/",
        ">v2</span>",
        "new</span>",
    ] {
        assert!(listed.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("Sweep the yard"), "{page}");
    // Who may not see the list sees nothing of what it holds.
    server.cli(&["member", "rm", "rookery", ANA]);
    let page = ana.get("/me/").body;
    assert!(
        page.contains("Mend the roof") && !page.contains("rook"),
        "{page}"
    );
}

fn two_addresses_are_linked_by_mail_and_unlinked(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["member", "add", "users", HOME]);
    let ana = Visitor::new(&server);
    ana.sign_in(&sink, ANA);
    assert!(!ana.get("/me/").body.contains(HOME));
    let ask = |address: &str| {
        let seen = ana.press("/me/", &[("do", "link"), ("address", address)]);
        seen.header("location").unwrap()
    };
    assert_eq!(ask(HOME), "/me/?done=asked");
    let mail = wait(&server, &sink, HOME, 0);
    // Who asks chose the other address: no word of it goes out.
    assert!(
        !mail.contains(ANA) && mail.contains("from this site"),
        "{mail}"
    );
    server.cli(&["member", "add", "dev", "lore@example.org"]);
    let archive = [
        "member",
        "set",
        "dev",
        "lore@example.org",
        "--kind",
        "archive",
    ];
    server.cli(&archive);
    assert_eq!(ask("lore@example.org"), "/me/?done=asked");
    let published = |c: &Copy| c.recipients == ["lore@example.org"];
    assert!(!sink.all().iter().any(published), "an archive publishes it");
    assert_eq!(ask("no address"), "/me/?done=odd");
    assert_eq!(ask("Ana@Example.org"), "/me/?done=same");
    let page = ana.get("/me/?done=same").body;
    assert!(page.contains("there is nothing to link"), "{page}");
    assert_eq!(ask("dev@lists.example.org"), "/me/?done=asked");
    assert_eq!(ask(HOME), "/me/?done=asked", "and no second mail a day");
    let home = Visitor::new(&server);
    let shown = home.get(&link(&mail)).body;
    assert!(
        shown.contains(ANA) && shown.contains("Nothing has happened yet"),
        "{shown}"
    );
    assert!(
        !ana.get("/me/").body.contains(HOME),
        "looking changes nothing"
    );
    assert!(
        home.post(&link(&mail), &[])
            .body
            .contains("one person here now")
    );
    assert!(home.cookie("session").is_none(), "it signs nobody in");
    assert_eq!(home.post(&link(&mail), &[]).status, 404);
    let page = ana.get("/me/").body;
    assert!(
        page.contains(HOME) && page.contains("users@lists.example.org"),
        "{page}"
    );
    let leave = [("do", "leave"), ("list", "users"), ("address", HOME)];
    assert_eq!(
        ana.press("/me/", &leave).header("location").as_deref(),
        Some("/me/?done=left")
    );
    assert!(member(&server, "users", HOME).is_none());
    let unlink = [("do", "unlink"), ("address", HOME)];
    ana.press("/me/", &unlink);
    assert!(!ana.get("/me/").body.contains(HOME));
    server.drain();
    // Neither was linked unawares.
    for address in [ANA, HOME] {
        server.wait_for("word of the link", || {
            let told = |c: &Copy| {
                let text = String::from_utf8_lossy(&c.bytes);
                c.recipients == [address] && text.contains("Two addresses of yours are linked")
            };
            sink.all().into_iter().find(told)
        });
    }
    let asked = super::visitor::letters(&sink, HOME);
    assert_eq!(asked.len(), 1);
}

fn data_is_taken_along_and_erased(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["member", "add", "rookery", ANA]);
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ana@example.org=reply,post,moderate",
    ]);
    let post = |list: &str, id: &str| {
        let mail =
            format!("From: Ana <{ANA}>\nMessage-ID: <{id}>\nSubject: words of {list}\n\nx\n");
        let to = format!("{list}@lists.example.org");
        assert!(server.send(&[&to], mail.as_bytes()).starts_with("250"));
    };
    post("dev", "1@x");
    post("rookery", "2@x");
    server.drain();
    let ana = Visitor::new(&server);
    ana.sign_in(&sink, ANA);
    let export = || {
        let seen = ana.get("/me/export.json");
        assert_eq!(
            seen.header("cache-control").as_deref(),
            Some("no-store, private")
        );
        serde_json::from_str::<serde_json::Value>(&seen.body).unwrap()
    };
    let all = export();
    assert_eq!(all["address"], ANA);
    assert_eq!(all["memberships"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(all["rights"][0]["rights"], "reply,post,moderate");
    assert_eq!(all["mails"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(all["browsers"].as_array().unwrap().len(), 1);
    assert_eq!(all["automatic_mail"][0]["kind"], "sign-in");
    // Of a list that she left, nothing is told that others may not know.
    server.cli(&["member", "rm", "rookery", ANA]);
    let all = export().to_string();
    assert!(all.contains("1@x") && !all.contains("rookery"), "{all}");
    // Who moderates one without being a member knows of it, and is told what erasing takes away.
    let set = |rights: &str| {
        let person = format!("{ANA}={rights}");
        server.cli(&["policy", "set", "rookery", "--person", &person]);
    };
    set("browse,moderate");
    assert_eq!(export()["rights"].as_array().unwrap().len(), 2);
    let page = ana.get("/me/erase").body;
    assert!(page.contains("rookery"), "{page}");
    set("browse");
    let now = patchpost::store::now().0;
    change(
        &server,
        format!(
            "insert into event (realm, list, kind, actor, happened, detail) \
             select realm, id, 'removal wished', '{ANA}', {now}, 'x' from list where name = 'dev'"
        ),
    );

    let page = ana.get("/me/erase").body;
    assert!(
        page.contains("Your archived mails (1 mail)") && page.contains("Your rights at dev"),
        "{page}"
    );
    assert_eq!(ana.press("/me/erase", &[]).status, 400, "without the tick");
    assert_eq!(ana.post("/me/erase", &[("sure", "yes")]).status, 403);
    assert!(member(&server, "dev", ANA).is_some());
    assert_eq!(ana.press("/me/erase", &[("sure", "yes")]).status, 200);
    assert!(member(&server, "dev", ANA).is_none());
    assert_eq!(ana.get("/me/").status, 303);
    let policy = server.json(&["policy", "show", "dev"]);
    assert!(policy["people"].as_array().unwrap().is_empty(), "{policy}");
    let noted = server.cli(&["events"]);
    assert!(!noted.contains(ANA), "{noted}");
    assert!(
        server.page("/dev/1@x/").contains("words of dev"),
        "archived mail stays"
    );
    assert!(member(&server, "dev", "ben@example.com").is_some());
    // Who was silenced stays so.
    let eve = "eve@example.net";
    server.cli(&["policy", "set", "dev", "--person", &format!("{eve}=browse")]);
    let silenced = Visitor::new(&server);
    silenced.sign_in(&sink, eve);
    silenced.get("/me/erase");
    assert_eq!(silenced.press("/me/erase", &[("sure", "yes")]).status, 200);
    let policy = server.json(&["policy", "show", "dev"]);
    assert_eq!(policy["people"].as_array().unwrap().len(), 1, "{policy}");
    // Known again, she finds nothing of before.
    server.cli(&["policy", "set", "dev", "--person", &format!("{ANA}=reply")]);
    ana.sign_in(&sink, ANA);
    assert_eq!(export()["notes"], serde_json::json!([]));
}

/// Changes the database itself: bounces that are counted take days.
pub fn change(server: &TestServer, text: String) {
    let url = match server.variable("PATCHPOST_DATABASE_URL").as_str() {
        "" => format!("sqlite://{}/patchpost.db", server.data().display()),
        url => url.to_owned(),
    };
    sqlx::any::install_default_drivers();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let pool = sqlx::AnyPool::connect(&url).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(text))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    });
}

fn an_address_that_bounced_is_explained_and_enabled(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    let ana = Visitor::new(&server);
    ana.sign_in(&sink, ANA);
    let since = patchpost::store::now().0;
    let stands = |state: &str, halves: i64| {
        change(
            &server,
            format!(
                "insert into standing (address, state, halves, days, last_day, day_halves, since, told, next) \
                 values ('{ANA}', '{state}', {halves}, 2, 20000, 1, {since}, 0, null) \
                 on conflict (address) do update set state = '{state}', halves = {halves}, since = {since}"
            ),
        );
        ana.get("/me/").body
    };
    let page = stands("fine", 5);
    assert!(page.contains("2.5 of 5 points, on 2 of 3 days"), "{page}");
    let page = stands("probed", 10);
    assert!(
        page.contains("being tried") && page.contains("gets copies"),
        "{page}"
    );
    let page = stands("disabled", 10);
    assert!(
        page.contains("leaves all lists on") && page.contains("no copies: mail came back"),
        "{page}"
    );
    let seen = ana.press("/me/", &[("do", "enable"), ("address", ANA)]);
    assert_eq!(
        seen.header("location").as_deref(),
        Some("/me/?done=enabled")
    );
    let stands = server.json(&["member", "show", "dev", ANA]);
    assert_eq!(stands["state"], "fine", "{stands}");
    assert!(!ana.get("/me/").body.contains("no copies: mail came back"));
}

fn a_mail_is_sent_to_who_asks_for_it(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["member", "add", "users", "zoe@example.org"]);
    server.cli(&["member", "add", "rookery", "zoe@example.org"]);
    for (list, id) in [("dev", "one@x"), ("rookery", "two@x")] {
        let mail =
            format!("From: kim@example.net\nMessage-ID: <{id}>\nSubject: hello\n\nSome words\n");
        let to = format!("{list}@lists.example.org");
        let reply = server.send(&[&to], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    server.drain();
    let place = "/me/copy/dev/1/";
    assert!(server.page("/dev/one@x/").contains(place));
    let asked = Visitor::new(&server).get(place);
    let back = "/sign-in?to=%2Fme%2Fcopy%2Fdev%2F1%2F";
    assert_eq!(asked.header("location").as_deref(), Some(back));

    let (zoe, ana) = (Visitor::new(&server), Visitor::new(&server));
    zoe.sign_in(&sink, "zoe@example.org");
    ana.sign_in(&sink, ANA);
    let got = |to: &str| {
        let all = sink
            .all()
            .into_iter()
            .filter(|c: &Copy| c.recipients == [to]);
        let texts = all.map(|c| String::from_utf8_lossy(&c.bytes).into_owned());
        texts
            .filter(|t| t.contains("Some words"))
            .collect::<Vec<_>>()
    };
    let before = (got("zoe@example.org").len(), got(ANA).len());
    assert!(zoe.get(place).body.contains("hello"));
    assert_eq!(zoe.post(place, &[]).status, 403, "from elsewhere");
    let sent = "/me/copy/dev/1/?done=sent";
    assert_eq!(
        zoe.press(place, &[]).header("location").as_deref(),
        Some(sent)
    );
    assert!(zoe.get(sent).body.contains("on its way"));
    let wait =
        |to: &str, before: usize| server.wait_for("the copy", || got(to).into_iter().nth(before));
    let copy = wait("zoe@example.org", before.0);
    for word in ["List-Id: <dev.lists.example.org>", "Message-ID: <one@x>"] {
        assert!(copy.contains(word), "{word}: {copy}");
    }
    assert!(copy.contains("List-Unsubscribe: <mailto:"), "{copy}");
    assert!(
        !copy.contains("/u/"),
        "who is no member has no token: {copy}"
    );
    // A member gets what members get.
    ana.press(place, &[]);
    assert_eq!(wait(ANA, before.1), got(ANA)[0]);

    // An archive publishes what it gets.
    let had = got(ANA);
    assert!(had.iter().all(|copy| copy.contains("/u/")), "{had:?}");
    server.cli(&["member", "set", "dev", ANA, "--kind", "archive"]);
    ana.press(place, &[]);
    let copy = wait(ANA, had.len());
    assert!(!copy.contains("/u/"), "{copy}");

    // Not what is not public, nor what is not there; and not without end.
    for other in ["/me/copy/rookery/1/", "/me/copy/dev/2/", "/me/copy/dev/x/"] {
        assert_eq!(zoe.get(other).status, 404, "{other}");
        assert_eq!(zoe.press(other, &[]).status, 404, "{other}");
    }
    let guard = zoe.guard();
    let press = || zoe.post(place, &[("guard", &guard)]).header("location");
    for _ in 1..20 {
        assert_eq!(press().as_deref(), Some(sent));
    }
    let enough = "/me/copy/dev/1/?done=enough";
    assert_eq!(press().as_deref(), Some(enough));
    server.cli(&["recall", "one@x"]);
    assert_eq!(zoe.get(place).status, 404);
    assert_eq!(ana.press(place, &[]).status, 404);
}
