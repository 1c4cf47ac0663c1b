//! Pages, searches and caches as readers and their tools see them, on a small archive that has one of everything.

use std::fmt::Write;
use std::io::{Read, Write as _};

use super::harness::{Answer, TestServer, request};
use super::postgres;

fn mail(id: &str, subject: &str, parent: &str, body: &str) -> String {
    let parent = match parent {
        "" => String::new(),
        parent => format!("In-Reply-To: <{parent}>\r\nReferences: <{parent}>\r\n"),
    };
    let body = body.replace('\n', "\r\n");
    format!(
        "From: Ana Lima <ana@x.org>\r\nTo: Dev <dev@x.org>\r\nCc: Chen Wei <chen@y.org>\r\nList-Id: Elsewhere <far.y.org>\r\n\
         Message-ID: <{id}>\r\n{parent}Subject: {subject}\r\nDate: Mon, 01 Jan 2024 10:00:00 +0000\r\n\r\n{body}"
    )
}

/// A change of three files in two folders, with blobs that tell this version.
fn patch(version: usize) -> String {
    let mut out = "Why.\n\nSigned-off-by: Ana Lima <ana@x.org>\n---\n\n".to_owned();
    for path in ["src/b.c", "src/a.c", "README"] {
        write!(
            out,
            "diff --git a/{path} b/{path}\nindex 111111{version}..222222{version} 100644\n--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-int a = 1;\n+int a = {};\n",
            version + 1
        )
        .unwrap();
    }
    out + "-- \n2.40\n"
}

fn fill(server: &TestServer) {
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server.cli(&["list", "create", "empty", "--address", "empty@x.org"]);
    let send = |mail: String| {
        let reply = server.send(&["dev@x.org"], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    };
    send(mail("v1@x", "[PATCH] count: begin at two", "", &patch(1)));
    send(mail(
        "v2@x",
        "[PATCH v2] count: begin at two",
        "v1@x",
        &patch(2),
    ));
    send(mail(
        "re@x",
        "Re: [PATCH v2] count: begin at two",
        "v2@x",
        "> Why.\nBecause of the zebra.\n",
    ));
    send(mail("plain@x", "A question", "", "Where is the giraffe?\n"));
    server.drain();
}

fn archive() -> TestServer {
    let server = TestServer::start();
    fill(&server);
    server
}

/// A request with header fields, as it goes over the wire.
fn ask(server: &TestServer, method: &str, path: &str, fields: &str) -> Answer {
    let text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    request(&server.addresses["http"], &text)
}

#[test]
fn the_newest_version_is_what_listings_show() {
    let server = archive();
    let home = server.page("/dev/");
    let row = home
        .split("<li>")
        .find(|r| r.contains("count: begin at two"))
        .expect("the thread");
    assert!(row.contains(">v2<"), "{row}");
    assert!(
        home.contains("rel=\"canonical\"") && home.contains("4 mails"),
        "{home}"
    );
    let patches = server.page("/dev/patches/");
    assert!(patches.contains("class=\"state\"") && patches.contains(">v2<"));
    assert_eq!(patches.matches("row-main").count(), 1);
    for (filter, rows) in [
        ("words=begin+count", 1),
        ("words=giraffe", 0),
        ("submitter=LIMA", 1),
        ("submitter=ben", 0),
        ("state=accepted", 0),
        ("state=any", 1),
        ("applies=elsewhere", 1),
        ("applies=applied", 0),
    ] {
        let page = server.page(&format!("/dev/patches/?{filter}"));
        assert_eq!(page.matches("row-main").count(), rows, "{filter}");
    }
    assert!(
        server
            .page("/dev/patches/?words=giraffe")
            .contains("No patchset fits")
    );
}

#[test]
fn a_patchset_page_says_where_it_stands_and_what_to_do() {
    let server = archive();
    let list = server.page("/dev/patches/");
    let home = list
        .split('"')
        .find(|l| l.starts_with("/dev/patches/") && l.len() > "/dev/patches/".len())
        .expect("a link to it");
    let page = server.page(home);
    for words in [
        "aria-label=\"Versions\"",
        "git am -3",
        "b4 -c b4.midmask=",
        "b4 am -m thread.mbox ",
        "Reply by mail",
        "1 answer",
        "Not for a repository here",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // The tree: folders by path, files by name, each leading to its diff.
    let tree = page.split("class=\"tree\"").nth(1).expect("a tree");
    let place = |name: &str| {
        tree.find(name)
            .unwrap_or_else(|| panic!("{name} in {tree}"))
    };
    assert!(place("README") < place("src/") && place(">a.c<") < place(">b.c<"));
    let anchor = tree
        .split("href=\"#")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(page.contains(&format!("id=\"{anchor}\"")), "{anchor}");
    assert!(
        page.contains("<mark>3</mark>"),
        "what changed in the line is marked"
    );
    let old = server.page(&format!("{home}v1/"));
    assert!(old.contains("This is not the newest version"));
    assert_eq!(server.get(&format!("{home}v9/")).status, 404);
}

#[test]
fn what_a_client_has_is_not_sent_again_and_head_tells_the_length() {
    let server = archive();
    let list = server.page("/dev/patches/");
    let set = list
        .split('"')
        .find(|l| l.starts_with("/dev/patches/") && l.len() > 13)
        .unwrap();
    let paths = [
        "/",
        "/dev/",
        "/dev/patches/",
        "/dev/v1@x/",
        "/dev/v1@x/T/",
        "/dev/v1@x/raw",
        "/dev/v1@x/eml",
        "/dev/v1@x/t.mbox.gz",
        "/dev/v1@x/t.atom",
        "/dev/new.atom",
        "/dev/?q=zebra",
        "/dev/_/text/help/",
        "/-/style",
        "/-/style.css",
        "/robots.txt",
    ];
    let sets = [
        set.to_owned(),
        format!("{set}mbox"),
        format!("{set}v1/mbox.gz"),
    ];
    for path in paths.into_iter().map(str::to_owned).chain(sets) {
        let first = server.get(&path);
        let tag = first
            .header("Etag")
            .unwrap_or_else(|| panic!("{path} has no tag"));
        let again = ask(&server, "GET", &path, &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(
            ask(&server, "GET", &path, "If-None-Match: \"no\"\r\n").status,
            200,
            "{path}"
        );
        let head = ask(&server, "HEAD", &path, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        if let Some(length) = head.header("Content-Length") {
            assert_eq!(length, first.body.len().to_string(), "{path}");
        }
        let policy = first.header("Content-Security-Policy").expect("a policy");
        assert!(
            !policy.contains("unsafe") && policy.contains("default-src 'none'"),
            "{path}"
        );
    }
    for path in ["/dev/v1@x/eml", "/dev/new.atom"] {
        let since = server.get(path).header("Last-Modified").expect("a date");
        let again = ask(
            &server,
            "GET",
            path,
            &format!("If-Modified-Since: {since}\r\n"),
        );
        assert_eq!(again.status, 304, "{path}");
    }
    for encoding in ["gzip", "zstd"] {
        for path in ["/dev/", "/dev/patches/", "/dev/new.atom", "/-/style.css"] {
            let packed = ask(
                &server,
                "GET",
                path,
                &format!("Accept-Encoding: {encoding}\r\n"),
            );
            assert_eq!(
                packed.header("Content-Encoding").as_deref(),
                Some(encoding),
                "{path}"
            );
        }
    }
}

#[test]
fn style_and_script_stay_small_and_nothing_is_inline() {
    let server = archive();
    for (path, limit) in [("/-/style.css", 15 << 10), ("/-/app.js", 15 << 10)] {
        let packed = ask(&server, "GET", path, "Accept-Encoding: gzip\r\n");
        assert_eq!(packed.header("Content-Encoding").as_deref(), Some("gzip"));
        assert!(packed.body.len() <= limit, "{path}: {}", packed.body.len());
    }
    for path in [
        "/",
        "/dev/",
        "/empty/",
        "/dev/patches/",
        "/dev/v1@x/T/",
        "/dev/?q=zebra",
        "/-/style",
        "/dev/none@x/",
    ] {
        let page = server.get(path).text();
        for inline in [" style=", "<style", " onclick", "javascript:"] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
        assert_eq!(page.matches("<h1").count(), 1, "{path}");
        assert_eq!(page.matches("<script").count(), 1, "{path}");
        assert!(
            page.contains("class=\"skip\" href=\"#main\"") && page.contains("<main id=\"main\""),
            "{path}"
        );
    }
    let dark = ask(&server, "GET", "/dev/", "Cookie: theme=dark\r\n").text();
    assert!(dark.contains("data-theme=\"dark\"") && !server.page("/dev/").contains("data-theme"));
}

#[test]
fn old_addresses_of_public_inbox_lead_on() {
    let server = archive();
    let base = server.base();
    for (path, status, to) in [
        ("/dev", 301, "/dev/".to_owned()),
        ("/dev/v1%40x", 301, format!("{base}/dev/v1%40x/")),
        ("/dev/v1@x/T", 301, "/dev/v1@x/T/".to_owned()),
        ("/dev/v1@x/t", 301, "/dev/v1@x/t/".to_owned()),
        ("/dev/v1@x/R", 301, "/dev/v1@x/".to_owned()),
        ("/dev/m/v1@x.html", 301, "/dev/v1@x/".to_owned()),
        ("/dev/topics_new.html", 301, "/dev/".to_owned()),
        ("/dev/topics_active.atom", 301, "/dev/new.atom".to_owned()),
        ("/v1@x", 302, format!("{base}/dev/v1@x/")),
        ("/r/v1@x/", 302, format!("{base}/dev/v1@x/")),
        (
            "/all/v1@x/t.mbox.gz",
            302,
            format!("{base}/dev/v1@x/t.mbox.gz"),
        ),
        ("/all/", 302, "/".to_owned()),
    ] {
        let answer = server.get(path);
        assert_eq!(
            (answer.status, answer.header("Location")),
            (status, Some(to)),
            "{path}"
        );
    }
    assert_eq!(server.get("/dev/none@x/t.mbox.gz").status, 404);
    let missing = server.get("/dev/none@x/");
    assert_eq!(missing.status, 404);
    assert!(
        missing.text().contains("Look in all lists")
            && missing.text().contains("aria-label=\"List\"")
    );
}

/// What a search finds, by how many rows its page has.
fn found(server: &TestServer, query: &str) -> usize {
    let query = query
        .replace('"', "%22")
        .replace(' ', "+")
        .replace('<', "%3C")
        .replace('>', "%3E");
    server
        .page(&format!("/dev/?q={query}"))
        .matches("row-main")
        .count()
}

/// What `git patch-id --stable` says of a patch.
fn git_patch_id(patch: &str) -> String {
    let mut git = std::process::Command::new("git")
        .args(["patch-id", "--stable"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("git is installed");
    git.stdin
        .take()
        .unwrap()
        .write_all(patch.as_bytes())
        .unwrap();
    let out = git.wait_with_output().unwrap().stdout;
    let text = String::from_utf8(out).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

fn prefixes_find_what_they_say(server: &TestServer) {
    for (query, count) in [
        ("zebra", 1),
        ("t:dev", 4),
        ("t:dev@x.org", 4),
        ("t:chen", 0),
        ("c:chen", 4),
        ("c:\"chen wei\" zebra", 1),
        ("tc:chen tc:dev", 4),
        ("a:ana giraffe", 1),
        ("a:nobody", 0),
        ("l:far.y.org", 4),
        ("lid:near.y.org", 0),
        // A recipient is no word of the text.
        ("chen", 0),
        ("dfpre:1111111", 1),
        ("dfpost:1111111", 0),
        ("dfpost:2222222", 1),
        ("dfpost:2222222aaaabbbbcccc", 1),
        ("dfblob:1111112", 1),
        ("patchid:0000000", 0),
        (&format!("patchid:{}", git_patch_id(&patch(1))), 1),
        (&format!("patchid:{}", &git_patch_id(&patch(2))[..12]), 1),
        ("dfn:src/a.c", 2),
        ("s:question OR nq:zebra", 2),
        ("f:lima -s:count", 1),
        ("d:20240101..20240101 m:plain@x", 1),
        ("d:20240102..", 0),
        ("rt:20240102.. giraffe", 1),
    ] {
        assert_eq!(found(server, query), count, "{query}");
    }
    let page = server.page("/dev/?q=zebra");
    assert!(
        page.contains("<mark>zebra</mark>") && page.contains("Found: zebra"),
        "{page}"
    );
}

#[test]
fn prefixes_find_what_they_say_on_sqlite() {
    prefixes_find_what_they_say(&archive());
}

#[test]
fn prefixes_find_what_they_say_on_postgres() {
    let url = postgres::new_database();
    let server = TestServer::start_with(&[("PATCHPOST_DATABASE_URL", &url)]);
    fill(&server);
    prefixes_find_what_they_say(&server);
}

#[test]
fn what_cannot_be_searched_for_is_said_in_plain_words() {
    let server = archive();
    for (query, words) in [
        (
            "references:x",
            "references: cannot be searched for here yet",
        ),
        ("patchid:abc", "takes an id in hexadecimal"),
        ("dfpost:core", "takes an id in hexadecimal"),
        ("-x", "a search needs a word that is wanted"),
        ("(a", "a parenthesis is not closed"),
        ("d:tomorrowish", "is not a date"),
    ] {
        let answer = server.get(&format!("/dev/?q={query}"));
        let text = answer.text();
        assert_eq!(answer.status, 400, "{query}");
        assert!(text.contains(words), "{query}: {text}");
        assert!(text.contains("What can be searched"), "a way on: {text}");
    }
}

fn unpack(bytes: &[u8]) -> String {
    let mut out = String::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_string(&mut out)
        .unwrap();
    out
}

/// `POST` as b4 and lei send it: without a Content-Type.
fn post(server: &TestServer, path: &str, body: &str) -> Answer {
    let length = format!(
        "Accept-Encoding: gzip\r\nContent-Length: {}\r\n",
        body.len()
    );
    let text =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\n{length}Connection: close\r\n\r\n{body}");
    request(&server.addresses["http"], &text)
}

#[test]
fn results_come_as_an_mbox_alone_or_with_their_threads() {
    let server = archive();
    for (path, body, mails) in [
        ("/dev/?x=m&q=zebra", "", 1),
        ("/dev/?x=m&q=zebra", "z=results+only", 1),
        ("/dev/?x=m&q=zebra", "x=m", 3),
        ("/dev/?x=m&t=1&q=zebra", "", 3),
        ("/all/?x=m&t=1&q=(zebra)+AND+dt:20230101000000..", "", 3),
        ("/dev/v1@x/?x=m&q=dt:20230101000000..", "x=m", 3),
        ("/dev/plain@x/?x=m&q=d:20230101..", "x=m", 1),
    ] {
        let answer = post(&server, path, body);
        assert_eq!(answer.status, 200, "{path} {body}");
        let kind = answer.header("Content-Type");
        assert_eq!(
            (kind.as_deref(), answer.header("Content-Encoding")),
            (Some("application/gzip"), None)
        );
        let text = unpack(&answer.body);
        let count = text.lines().filter(|l| l.starts_with("From ")).count();
        assert_eq!(count, mails, "{path} {body}: {text}");
    }
    for path in [
        "/dev/?x=m&q=nothinglikeit",
        "/dev/?x=m&q=patchid:abc",
        "/dev/none@x/?x=m&q=zebra",
    ] {
        assert_eq!(post(&server, path, "x=m").status, 404, "{path}");
    }
}

#[test]
fn pages_without_anything_say_what_to_do() {
    let server = TestServer::start();
    assert!(server.page("/").contains("patchpost list create NAME"));
    server.cli(&["list", "create", "empty", "--address", "empty@x.org"]);
    assert!(
        server
            .page("/empty/")
            .contains("The first one to empty@x.org shows up here")
    );
    assert!(server.page("/empty/patches/").contains("No patchset fits"));
    assert!(
        server
            .page("/empty/?q=word")
            .contains("No mail holds all of these words")
    );
    assert_eq!(server.get("/empty/new.atom").status, 200);
}

#[test]
fn what_is_not_there_is_named_and_what_is_odd_is_said() {
    let server = archive();
    let patchset = server.json(&["series", "ls", "dev"])[0]["patchset"].to_string();
    let gone = |path: &str| {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        answer.text()
    };
    let text = gone(&format!("/dev/patches/{patchset}/v9/"));
    assert!(text.contains("has no version v9"), "{text}");
    let text = gone(&format!("/dev/patches/{patchset}/v1..v9"));
    assert!(text.contains("has no v9, only v1, v2"), "{text}");
    let page = server.page("/dev/?q=foo:bar");
    assert!(page.contains("there is no such prefix: foo:"), "{page}");
    assert!(page.contains("0 mails. <a"), "no order of nothing: {page}");
    let page = server.page("/dev/?q=zebra");
    assert!(!page.contains("no such prefix"), "{page}");
    let page = server.page("/help/plain-text");
    assert!(page.contains("width=device-width") && page.contains("Thunderbird"));
    let page = server.page("/dev/");
    assert!(page.contains("attach the file that <code>git format-patch</code>"));
    let page = server.page("/dev/v2@x/");
    assert!(
        page.contains(">patches v2</a>") && !page.contains(">v2</span>"),
        "once: {page}"
    );
}

/// The hole is told; git am is not offered what it would take in part.
#[test]
fn a_series_with_a_hole_is_not_offered_to_git_am() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    for (n, parent) in [(1, ""), (3, "p1@x")] {
        let mail = mail(
            &format!("p{n}@x"),
            &format!("[PATCH v2 {n}/3] count: step {n}"),
            parent,
            &patch(n),
        );
        assert!(
            server
                .send(&["dev@x.org"], mail.as_bytes())
                .starts_with("250")
        );
    }
    server.drain();
    let patchset = server.json(&["series", "ls", "dev"])[0]["patchset"].to_string();
    let page = server.page(&format!("/dev/patches/{patchset}/"));
    assert!(!page.contains("| git am"), "{page}");
    assert!(page.contains("patch 2 did not arrive yet"), "{page}");
    assert_eq!(page.matches("not here yet").count(), 1, "a row for patch 2");
    let said = server.cli_fails(&["series", "mbox", &patchset]);
    assert!(said.contains("2 of 3 patches of v2 are here"), "{said}");
    let mbox = server.cli(&["series", "mbox", &patchset, "--incomplete"]);
    assert_eq!(mbox.matches("\ndiff --git a/README").count(), 2);
    let outline = server.page("/dev/p1@x/T/");
    assert!(outline.contains("v2 3/3"), "{outline}");
}

#[test]
fn a_repository_says_how_to_clone_it_and_takes_no_push() {
    let server = TestServer::start();
    server.cli(&["repo", "add", "tool", "--init"]);
    server.cli(&["list", "create", "dev", "--repo", "tool"]);
    let url = format!("{}/tool.git", server.base());
    let page = server.page("/tool.git");
    assert!(page.contains(&format!("git clone {url}")), "{page}");
    let page = server.page("/tool.patches.git/");
    assert!(page.contains("refs/patches/NUMBER/vVERSION"), "{page}");
    let push = server.get("/tool.git/info/refs?service=git-receive-pack");
    assert_eq!(push.status, 403);
    // Lists in a domain of this machine alone are found by no other mail server.
    let (host, port) = server.addresses["smtp"].rsplit_once(':').unwrap();
    let page = server.page("/dev/");
    assert!(page.contains(&format!("--smtp-server={host} --smtp-server-port={port}")));
}
