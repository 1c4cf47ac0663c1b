//! Joining, pausing and leaving as people do it: by mail, by the form, by one click; and what strangers try with it.

mod abuse;
mod replay;
mod settings;

use std::process::Command;

use super::harness::{Copy, Database, Sink, TestServer, on_both};
use super::tools;
use super::webdriver::Browser;

on_both! {
    one_joins_by_mail_posts_and_leaves_by_one_click,
    one_joins_by_the_form_and_nobody_learns_who_is_a_member,
    a_token_does_one_thing_once_for_one_list,
    two_addresses_are_one_person_once_both_confirmed,
}

const LIST: &str = "dev@lists.example.org";

fn start(database: Database, sink: &Sink) -> TestServer {
    let server = TestServer::start_on_with(
        database,
        &[
            ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
            ("PATCHPOST_DELIVERY_RELAY", &sink.address),
        ],
    );
    server.cli(&["list", "create", "dev", "--address", LIST]);
    server
}

/// A mail as swaks sends it, for a person at a mail program.
#[track_caller]
fn swaks(server: &TestServer, from: &str, to: &str, subject: &str) {
    let mut swaks = Command::new("swaks");
    swaks.args(["--server", &server.addresses["smtp"]]);
    swaks.args(["--from", from, "--to", to, "--helo", "client.example"]);
    swaks.args([
        "--header",
        &format!("Subject: {subject}"),
        "--body",
        "hello",
    ]);
    tools::run(&mut swaks);
}

/// Waits for the `n`th automatic mail to an address; it has the null return path.
#[track_caller]
pub fn letter(server: &TestServer, sink: &Sink, to: &str, n: usize) -> String {
    server.wait_for(&format!("letter {n} to {to}"), || {
        let of = |c: &Copy| c.sender.is_empty() && c.recipients == [to];
        let found = sink.all().into_iter().filter(of).nth(n - 1)?;
        Some(String::from_utf8(found.bytes).expect("UTF-8"))
    })
}

/// A field's value, unfolded.
pub fn field(mail: &str, name: &str) -> Option<String> {
    let head = mail.split("\r\n\r\n").next()?.replace("\r\n ", " ");
    let start = format!("{name}: ");
    let line = head.lines().find(|l| l.starts_with(&start))?;
    Some(line[start.len()..].to_owned())
}

/// The address of a page in a mail, from its path on.
pub fn link(mail: &str, path: &str) -> String {
    let at = mail
        .find(path)
        .unwrap_or_else(|| panic!("{path} in {mail}"));
    mail[at..]
        .split(|c: char| c.is_whitespace() || c == '>')
        .next()
        .unwrap()
        .to_owned()
}

pub fn members(server: &TestServer) -> Vec<String> {
    let all = server.json(&["member", "ls", "dev"]);
    let all = all.as_array().unwrap().iter();
    all.map(|m| m["address"].as_str().unwrap().to_owned())
        .collect()
}

/// curl on a page of the server: status and body.
#[track_caller]
pub fn curl(server: &TestServer, path: &str, arguments: &[&str]) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-w",
        "\n%{http_code} %{num_redirects}",
        "--max-time",
        "60",
    ]);
    curl.args(arguments).arg(format!("{}{path}", server.base()));
    let out = tools::run(&mut curl);
    let (body, status) = out.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

pub const ONE_CLICK: [&str; 2] = ["-d", "List-Unsubscribe=One-Click"];

fn one_joins_by_mail_posts_and_leaves_by_one_click(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    swaks(
        &server,
        "ana@example.org",
        "dev+subscribe@lists.example.org",
        "subscribe",
    );
    let asked = letter(&server, &sink, "ana@example.org", 1);
    assert_eq!(
        field(&asked, "Auto-Submitted").as_deref(),
        Some("auto-replied")
    );
    assert!(members(&server).is_empty(), "not before it is confirmed");
    let reply_to = field(&asked, "Reply-To").unwrap();
    swaks(&server, "ana@example.org", &reply_to, "Re: Please confirm");
    let welcome = letter(&server, &sink, "ana@example.org", 2);
    assert!(
        welcome.contains("Welcome to dev@lists.example.org."),
        "{welcome}"
    );
    assert_eq!(members(&server), ["ana@example.org"]);

    swaks(&server, "ben@example.com", LIST, "The first post");
    let copy = server.wait_for("ana's copy", || {
        sink.all().into_iter().find(|c| !c.sender.is_empty())
    });
    assert_eq!(copy.recipients, ["ana@example.org"]);
    let copy = String::from_utf8(copy.bytes).unwrap();
    let ways = field(&copy, "List-Unsubscribe").unwrap();
    let post = field(&copy, "List-Unsubscribe-Post").unwrap();
    assert_eq!(post, "List-Unsubscribe=One-Click");
    assert_eq!(ways.matches("http").count(), 1, "{ways}");
    assert!(ways.contains("<mailto:dev+unsubscribe-"), "{ways}");
    assert_eq!(copy.matches("List-Unsubscribe: ").count(), 1);
    let leave = link(&ways, "/u/");
    let token = leave.strip_prefix("/u/").unwrap().to_owned();
    server.drain();
    for page in ["/dev/", "/dev/new.atom", "/dev/_/text/help/"] {
        assert!(!server.page(page).contains(&token), "{page}");
    }

    let (status, page) = curl(&server, &leave, &[]);
    assert_eq!(status, "200 0");
    assert!(
        page.contains("ana@example.org") && page.contains("<button>"),
        "{page}"
    );
    assert_eq!(curl(&server, &leave, &["-I"]).0, "200 0");
    assert_eq!(curl(&server, &leave, &["-d", "x=y"]).0, "400 0");
    assert_eq!(members(&server).len(), 1, "looking changes nothing");
    let (status, page) = curl(&server, &leave, &ONE_CLICK);
    assert_eq!(status, "200 0");
    assert!(page.contains("gets no more copies"), "{page}");
    assert!(members(&server).is_empty());
    assert_eq!(curl(&server, &leave, &ONE_CLICK).0, "200 0", "in any state");
    assert_eq!(curl(&server, &leave, &[]).0, "200 0");
    let head = server.get(&leave).head;
    assert!(
        head.contains("no-store") && !head.contains("Set-Cookie"),
        "{head}"
    );

    // And as a multipart form (RFC 8058 section 3.2), after joining again: the old token stays dead.
    server.cli(&["member", "add", "dev", "ana@example.org"]);
    assert_eq!(curl(&server, &leave, &ONE_CLICK).0, "200 0");
    assert_eq!(members(&server).len(), 1, "a token is for one subscription");
    swaks(&server, "ben@example.com", LIST, "The second post");
    let second = server.wait_for("the second copy", || {
        let of = |c: &Copy| String::from_utf8_lossy(&c.bytes).contains("The second post");
        sink.all().into_iter().find(of)
    });
    let leave = link(&String::from_utf8(second.bytes).unwrap(), "/u/");
    let form = ["-F", "List-Unsubscribe=One-Click"];
    assert_eq!(curl(&server, &leave, &form).0, "200 0");
    assert!(members(&server).is_empty());
    let events = server.cli(&["events", "dev"]);
    assert!(
        events.contains("by one click") && events.contains("joined"),
        "{events}"
    );
}

/// The form's token and what it is sent with.
fn fill(server: &TestServer, address: &str) -> Vec<String> {
    let page = server.page("/dev/join/");
    let token = page.split("name=\"form\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap();
    let pairs = [format!("form={token}"), format!("address={address}")];
    let pairs = pairs
        .into_iter()
        .flat_map(|p| ["--data-urlencode".to_owned(), p]);
    pairs.collect()
}

#[track_caller]
fn post_form(server: &TestServer, address: &str) -> (String, String) {
    let filled = fill(server, address);
    let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
    curl(server, "/dev/join/", &filled)
}

fn one_joins_by_the_form_and_nobody_learns_who_is_a_member(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&[
        "list",
        "create",
        "secret",
        "--private",
        "--address",
        "secret@lists.example.org",
    ]);
    server.cli(&["member", "add", "dev", "member@example.org"]);
    let (status, stranger) = post_form(&server, "Ana@example.org");
    assert_eq!(status, "200 0");
    let (status, member) = post_form(&server, "member@example.org");
    assert_eq!(status, "200 0");
    let plain = |page: &str, of: &str| page.replace(of, "X");
    assert_eq!(
        plain(&stranger, "Ana@example.org"),
        plain(&member, "member@example.org")
    );
    // Once more, above the limit: the same again.
    assert_eq!(post_form(&server, "Ana@example.org").1, stranger);
    // Addresses of lists, also of one that nobody knows of.
    for own in [
        LIST,
        "secret@lists.example.org",
        "secret+subscribe@lists.example.org",
    ] {
        let (_, page) = post_form(&server, own);
        assert_eq!(plain(&page, own), plain(&stranger, "Ana@example.org"));
    }
    for letters in ["Ana@example.org", "member@example.org"] {
        letter(&server, &sink, letters, 1);
    }
    let asked = letter(&server, &sink, "Ana@example.org", 1);
    let page = link(&asked, "/-/confirm/");
    let (status, shown) = curl(&server, &page, &[]);
    assert_eq!(status, "200 0");
    assert!(shown.contains("ana@example.org is to join"), "{shown}");
    assert_eq!(
        members(&server),
        ["member@example.org"],
        "looking changes nothing"
    );
    let (status, done) = curl(&server, &page, &ONE_CLICK);
    assert_eq!(status, "200 0");
    assert!(done.contains("Welcome"), "{done}");
    assert!(done.contains("How to send a patch"), "{done}");
    assert_eq!(members(&server), ["ana@example.org", "member@example.org"]);
    letter(&server, &sink, "ana@example.org", 1);

    let wrong = ["-d", "address=eve@example.org"];
    let (status, page) = curl(&server, "/dev/join/", &wrong);
    assert!(
        status.starts_with("200") && page.contains("Press the button again"),
        "{page}"
    );
    let (_, page) = post_form(&server, "not an address");
    assert!(page.contains("no e-mail address"), "{page}");
    let (_, page) = post_form(&server, "\"><script>@example.org");
    assert!(
        page.contains("no e-mail address") && !page.contains("<script>@"),
        "{page}"
    );
    let hidden = curl(&server, "/secret/join/", &[]);
    let absent = curl(&server, "/nothing/join/", &[]);
    assert_eq!(hidden.0, absent.0);
    assert_eq!(hidden.1.replace("secret", "nothing"), absent.1);
    assert_eq!(
        curl(&server, "/secret/join/", &wrong).0,
        curl(&server, "/nothing/join/", &wrong).0
    );
    server.drain();
    let sent = sink.all();
    assert_eq!(sent.len(), 3, "two were asked, one was welcomed");
}

fn a_token_does_one_thing_once_for_one_list(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&[
        "list",
        "create",
        "other",
        "--address",
        "other@lists.example.org",
    ]);
    swaks(
        &server,
        "ana@example.org",
        "dev+subscribe@lists.example.org",
        "x",
    );
    let asked = letter(&server, &sink, "ana@example.org", 1);
    let reply_to = field(&asked, "Reply-To").unwrap();
    let page = link(&asked, "/-/confirm/");
    let token = page.strip_prefix("/-/confirm/").unwrap();

    let mail = |n: usize| format!("From: ana@example.org\nMessage-ID: <t{n}@x>\n\nyes\n");
    let send = |n, to: &str| server.send(&[to], mail(n).as_bytes());
    // Of another list, of another purpose, changed, made up.
    assert!(send(1, &reply_to.replace("dev+", "other+")).starts_with("550 5.1.1"));
    assert!(send(2, &reply_to.replace("+confirm-", "+unsubscribe-")).starts_with("550 5.1.1"));
    let last = token.chars().last().unwrap();
    let changed = format!(
        "{}{}",
        &token[..token.len() - 1],
        if last == 'a' { 'b' } else { 'a' }
    );
    assert!(send(3, &format!("dev+confirm-{changed}@lists.example.org")).starts_with("550 5.1.1"));
    assert!(
        send(
            4,
            "dev+confirm-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@lists.example.org"
        )
        .starts_with("550")
    );
    for path in [
        format!("/u/{token}"),
        format!("/-/confirm/{changed}"),
        "/u/".to_owned() + &"a".repeat(24),
    ] {
        assert_eq!(curl(&server, &path, &[]).0, "404 0", "{path}");
        assert_eq!(curl(&server, &path, &ONE_CLICK).0, "404 0", "{path}");
    }
    assert!(members(&server).is_empty());

    assert!(send(5, &reply_to.to_uppercase()).starts_with("250"));
    assert_eq!(members(&server), ["ana@example.org"]);
    letter(&server, &sink, "ana@example.org", 2);
    // Used up: whoever finds it later joins nobody again.
    server.cli(&["member", "rm", "dev", "ana@example.org"]);
    assert!(send(6, &reply_to).starts_with("250"));
    assert_eq!(curl(&server, &page, &ONE_CLICK).0, "200 0");
    assert!(members(&server).is_empty());

    // The link to leave by mail ends one subscription, and only at its own list.
    for list in ["dev", "other"] {
        server.cli(&["member", "add", list, "ben@example.com"]);
    }
    swaks(&server, "ana@example.org", LIST, "A post");
    let copy = server.wait_for("ben's copy", || {
        sink.all().into_iter().find(|c| !c.sender.is_empty())
    });
    let ways = field(&String::from_utf8(copy.bytes).unwrap(), "List-Unsubscribe").unwrap();
    let leave = link(&ways, "dev+unsubscribe-");
    assert!(send(7, &leave.replace("dev+", "other+")).starts_with("550 5.1.1"));
    assert_eq!(members(&server), ["ben@example.com"]);
    assert!(send(8, &leave).starts_with("250"));
    assert!(members(&server).is_empty());
    assert!(send(9, &leave).starts_with("250"), "in any state");
    assert_eq!(server.json(&["list", "show", "other"])["members"], 1);
    let told = letter(&server, &sink, "ben@example.com", 1);
    assert!(told.contains("ben@example.com left the list"), "{told}");
}

fn two_addresses_are_one_person_once_both_confirmed(database: Database) {
    let sink = Sink::start();
    let server = start(database, &sink);
    server.cli(&["member", "add", "dev", "ana@work.example"]);
    server.cli(&[
        "member",
        "set",
        "dev",
        "ana@work.example",
        "--nodupes",
        "on",
    ]);
    let mut filled = fill(&server, "ana@home.example");
    filled.extend([
        "--data-urlencode".to_owned(),
        "other=ana@work.example".to_owned(),
    ]);
    let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
    let (status, page) = curl(&server, "/dev/join/", &filled);
    assert!(
        status == "200 0" && page.contains("are on their way"),
        "{page}"
    );
    let copies = |id: &str| {
        let mail = format!(
            "From: b@x.org\nTo: {LIST}\nCc: ana@home.example\nMessage-ID: <{id}@x>\n\n{id}\n"
        );
        assert!(server.send(&[LIST], mail.as_bytes()).starts_with("250"));
        server.drain();
        let of = |c: &Copy| String::from_utf8_lossy(&c.bytes).contains(&format!("<{id}@x>"));
        // What is owed after it went out before it.
        server.wait_for("nothing to be owed", || {
            let page = super::harness::request(
                &server.addresses["ops"],
                "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            );
            page.text()
                .contains("patchpost_copies_owed 0")
                .then_some(())
        });
        sink.all().iter().filter(|c| of(c)).count()
    };
    let home = letter(&server, &sink, "ana@home.example", 1);
    let work = letter(&server, &sink, "ana@work.example", 1);
    assert!(
        !home.contains("ana@work.example"),
        "the page says it: {home}"
    );
    // Who only replies, to ask who that is, links nothing.
    assert!(
        !home.contains("+confirm-") && !home.contains("simply reply"),
        "{home}"
    );
    let token = link(&home, "/-/confirm/").replace("/-/confirm/", "dev+confirm-");
    let reply = b"From: ana@home.example\nMessage-ID: <who@x>\n\nWho are you?\n";
    let said = server.send(&[&format!("{token}@lists.example.org")], reply);
    assert!(said.starts_with("550 5.7.1"), "{said}");
    let (_, page) = curl(&server, &link(&home, "/-/confirm/"), &[]);
    assert!(page.contains("one person with ana@work.example"), "{page}");
    let (_, page) = curl(&server, &link(&home, "/-/confirm/"), &ONE_CLICK);
    assert!(page.contains("The other address has to confirm"), "{page}");
    assert_eq!(copies("one"), 1, "one yes links nothing");
    let (_, page) = curl(&server, &link(&work, "/-/confirm/"), &ONE_CLICK);
    assert!(page.contains("one person here now"), "{page}");
    // Both hear of it, each with the other's name.
    for (to, with) in [
        ("ana@home.example", "ana@work.example"),
        ("ana@work.example", "ana@home.example"),
    ] {
        let told = letter(&server, &sink, to, 2);
        assert!(
            told.contains(with) && told.contains("both confirmed"),
            "{told}"
        );
    }
    assert_eq!(copies("both"), 0, "she is named, by her other address");
    server.cli(&["member", "unlink", "ana@home.example"]);
    assert_eq!(copies("apart"), 1, "they are two again");
    let said = server.cli_fails(&["member", "unlink", "ana@work.example"]);
    assert!(said.contains("is linked with no other address"), "{said}");
}

/// In a real browser, at a phone's width: form, mail, link, button.
#[test]
fn one_joins_and_leaves_in_a_browser() {
    let sink = Sink::start();
    let server = start(Database::Sqlite, &sink);
    let browser = Browser::start();
    browser.look(360, false);
    let wide = || {
        let wide = browser.run("return document.documentElement.scrollWidth > innerWidth");
        assert_eq!(wide, false, "it scrolls sideways");
        assert_eq!(browser.console(), Vec::<String>::new());
    };
    browser.open(&format!("{}/dev/", server.base()));
    browser.click("a[href='/dev/join/']");
    wide();
    browser.run("document.querySelector('[name=address]').value = 'ana@example.org'");
    browser.click("main form button");
    let text = || {
        browser
            .run("return document.querySelector('main').innerText")
            .to_string()
    };
    server.wait_for("the answer", || {
        text()
            .contains("ana@example.org is on its way")
            .then_some(())
    });
    wide();
    let asked = letter(&server, &sink, "ana@example.org", 1);
    browser.open(&format!("{}{}", server.base(), link(&asked, "/-/confirm/")));
    wide();
    browser.click("main form button");
    server.wait_for("the welcome", || text().contains("Welcome").then_some(()));
    assert_eq!(members(&server), ["ana@example.org"]);
    let welcome = letter(&server, &sink, "ana@example.org", 2);
    browser.open(&format!("{}{}", server.base(), link(&welcome, "/u/")));
    wide();
    assert_eq!(members(&server).len(), 1, "opening it changes nothing");
    browser.click("main form button");
    server.wait_for("the end", || {
        text().contains("gets no more copies").then_some(())
    });
    assert!(members(&server).is_empty());
}
