//! A canary that was sent to a list which is not public is found by nobody but its members: no page, ref, search, feed, count,
//! redirect, log line or export tells of it.

mod members;

use super::harness::{Answer, Database, TestServer, git, on_both, project, request};

on_both! {
    a_canary_is_found_by_nobody,
}

const LIST: &str = "rookery@lists.example.org";

/// Every word here is one that a stranger must not find.
const CANARIES: [&str; 4] = ["canary", "rookery", "sparrow", "finch"];

fn patch(id: &str, subject: &str) -> String {
    format!(
        "From: Sparrow Canary <sparrow@canary.example>\nMessage-ID: <{id}>\nSubject: {subject}\nDate: Mon, 01 Jan 2024 10:00:00 +0000\n\n\
         A canary.\n\nSigned-off-by: Sparrow Canary <sparrow@canary.example>\n---\n src/a.c | 2 +-\n\n\
         diff --git a/src/a.c b/src/a.c\n--- a/src/a.c\n+++ b/src/a.c\n@@ -2,7 +2,7 @@\n line 2\n line 3\n line 4\n-line 5\n+finch\n line 6\n line 7\n line 8\n-- \n2.40\n"
    )
}

/// A public list and one that is not, on the same repository.
fn site(database: Database, environment: &[(&str, &str)], kind: &[&str]) -> TestServer {
    let server = TestServer::start_on_with(database, environment);
    let work = project(server.dir.path());
    server.cli(&["repo", "add", "tool", "--path", &work.display().to_string()]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@lists.example.org",
        "--repo",
        "tool",
    ]);
    let create = ["list", "create", "rookery", "--address", LIST];
    server.cli(&[&create[..], &["--repo", "tool"], kind].concat());
    let public = "From: a@b.c\nMessage-ID: <open@x>\nSubject: open words\n\ntext\n";
    assert!(
        server
            .send(&["dev@lists.example.org"], public.as_bytes())
            .starts_with("250")
    );
    server.drain();
    server
}

/// What strangers can ask for.
fn addresses() -> Vec<String> {
    let mut paths: Vec<String> = [
        "/",
        "/dev/",
        "/dev/new.atom",
        "/dev/patches/",
        "/dev/open@x/",
        "/dev/open@x/T/",
        "/dev/open@x/t.atom",
        "/dev/open@x/raw",
        "/all/",
        "/all/new.atom",
        "/manifest.js.gz",
        "/robots.txt",
        "/help/",
        "/-/style",
        "/me/",
        "/-/queue",
        "/rookery/settings/",
        "/rookery/settings/held/",
        "/rookery/settings/held/2/",
        "/rookery",
        "/rookery/",
        "/rookery/new.atom",
        "/rookery/patches/",
        "/rookery/patches/1/",
        "/rookery/patches/1/mbox",
        "/rookery/patches/2/",
        "/dev/patches/1/",
        "/dev/patches/1/v1/",
        "/dev/patches/1/mbox",
        "/dev/patches/2/",
        "/rookery/info/refs?service=git-upload-pack",
        "/rookery.git/info/refs?service=git-upload-pack",
        "/tool.git/info/refs?service=git-upload-pack",
        "/tool.patches.git/info/refs?service=git-upload-pack",
        "/rookery.patches.git/info/refs?service=git-upload-pack",
        "/tool.private.git/info/refs?service=git-upload-pack",
    ]
    .map(str::to_owned)
    .to_vec();
    // Under any name that the folder of a companion could have.
    for realm in 1..6 {
        for end in ["info/refs?service=git-upload-pack", "HEAD", ""] {
            paths.push(format!("/tool.private-{realm}.git/{end}"));
            paths.push(format!("/tool.patches.private-{realm}.git/{end}"));
        }
    }
    for id in ["c1@canary.example", "m@canary.example"] {
        for start in ["/", "/r/", "/all/", "/dev/", "/rookery/"] {
            for ending in [
                "",
                "/",
                "/raw",
                "/eml",
                "/T/",
                "/t.mbox.gz",
                "/t.atom",
                "/1-x",
            ] {
                paths.push(format!("{start}{id}{ending}"));
            }
        }
    }
    for word in CANARIES
        .iter()
        .chain(&["s:canary", "f:sparrow", "dfn:src/a.c"])
    {
        for list in ["/dev/", "/all/", "/rookery/"] {
            for more in ["", "&x=A", "&x=m"] {
                paths.push(format!("{list}?q={word}{more}"));
            }
            paths.push(format!("{list}patches/?q={word}&submitter={word}"));
        }
    }
    paths
}

/// Asks as a browser with that cookie; with none if it is empty.
fn ask_as(server: &TestServer, cookie: &str, path: &str) -> Answer {
    let method = if path.contains("x=m") { "POST" } else { "GET" };
    let cookie = match cookie {
        "" => String::new(),
        cookie => format!("Cookie: session={cookie}\r\n"),
    };
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\n{cookie}Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    request(&server.addresses["http"], &text)
}

/// What a browser gets of all that strangers can ask for: address, and status, header and body as one text.
fn walk(server: &TestServer, cookie: &str) -> Vec<(String, String)> {
    let ask = |path: String| {
        let answer = ask_as(server, cookie, &path);
        let body = answer.text();
        (path, format!("{} {}\n{body}", answer.status, answer.head))
    };
    addresses().into_iter().map(ask).collect()
}

/// The pages of a private patchset and of its versions, under its own list, another one, and as one whose number is not used:
/// also whoever knows the tag of the page hears only that there is nothing.
fn versions_tell_nothing(server: &TestServer) {
    let inside = server.json(&["series", "ls", "rookery"]);
    let number = inside[0]["patchset"].as_i64().unwrap();
    assert_eq!(
        inside.as_array().unwrap().len(),
        2,
        "two versions: {inside}"
    );
    // Pages of a public series have tags, and answer those who have them.
    let open = server.json(&["series", "ls", "dev"])[0]["patchset"].to_string();
    let endings = [
        "",
        "v1/",
        "v2/",
        "v1..v2",
        "mbox",
        "mbox.gz",
        "v1/mbox",
        "v2/mbox.gz",
    ];
    let ask = |path: &str, tag: &str| {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n"
        );
        request(&server.addresses["http"], &text)
    };
    for ending in endings {
        let path = format!("/dev/patches/{open}/{ending}");
        let first = server.get(&path);
        let tag = first.header("ETag").or(first.header("Etag"));
        let tag = tag.unwrap_or_else(|| panic!("{path}: {}", first.head));
        assert_eq!(first.status, 200, "{path}");
        assert_eq!(ask(&path, &tag).status, 304, "{path}");
        for list in ["rookery", "dev", "nobody"] {
            for tag in ["*", &tag, "W/\"x\", *"] {
                let seen = |n: i64| {
                    let path = format!("/{list}/patches/{n}/{ending}");
                    let answer = ask(&path, tag);
                    assert!(answer.header("ETag").is_none(), "{path}: {}", answer.head);
                    let text = answer.text().replace(&n.to_string(), "N");
                    (answer.status, text.replace(list, "LIST"))
                };
                let (there, not_there) = (seen(number), seen(number + 77));
                assert_eq!(there, not_there, "{list} {ending} {tag}");
                assert_eq!(there.0, 404, "{list} {ending} {tag}");
            }
        }
    }
    let of = |name: &str| {
        let path = format!("/{name}/patches/{number}/v1/");
        ask(&path, "*").text().replace(name, "LIST")
    };
    assert_eq!(of("rookery"), of("nobody"));
}

/// What a stranger typed comes back in the page; that tells nothing.
fn without_echo(path: &str, text: &str) -> String {
    let mut text = text.to_owned();
    for piece in path.split(['/', '?', '=', '&']).filter(|p| p.len() > 3) {
        text = text
            .replace(piece, "")
            .replace(&piece.replace('@', "%40"), "");
    }
    // Headers that differ from answer to answer.
    let varies = |line: &&str| {
        !["Date:", "Etag:", "ETag:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    text.lines().filter(varies).collect::<Vec<_>>().join("\n")
}

/// What comes to the list that is not public.
fn send_canaries(server: &TestServer) {
    let mail = "From: Sparrow <sparrow@canary.example>\nMessage-ID: <m@canary.example>\nIn-Reply-To: <open@x>\nSubject: canary words\n\nA canary.\n";
    for text in [
        patch("c1@canary.example", "[PATCH] canary"),
        patch("c2@canary.example", "[PATCH v2] canary").replacen(
            "Subject:",
            "References: <c1@canary.example>\nSubject:",
            1,
        ),
        mail.to_owned(),
    ] {
        let mut smtp = super::harness::Smtp::connect(&server.addresses["smtp"]);
        let (reply, _) = smtp.send("sparrow@canary.example", &[LIST], text.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    server.drain();
    let inside = server.json(&["series", "ls", "rookery"]).to_string();
    assert!(
        inside.contains("canary"),
        "it is there for those who may: {inside}"
    );
}

/// A browser sees the same as if it had never come: no count, no redirect, no other status.
fn tells_nothing(before: &[(String, String)], after: &[(String, String)]) {
    for ((path, was), (_, is)) in before.iter().zip(after) {
        assert_eq!(without_echo(path, is), without_echo(path, was), "{path}");
        let text = without_echo(path, is).to_lowercase();
        // Where the stranger asked for the word itself, that the answer is the one of before says it all.
        for word in CANARIES.iter().filter(|word| !path.contains(**word)) {
            assert!(!text.contains(word), "{path} tells of {word}:\n{text}");
        }
    }
}

fn a_canary_is_found_by_nobody(database: Database) {
    nothing_tells(database, &["--private"]);
}

fn nothing_tells(database: Database, kind: &[&str]) {
    let server = site(database, &[], kind);
    for (id, subject) in [("o1@x", "[PATCH] open"), ("o2@x", "[PATCH v2] open")] {
        let text = patch(id, subject)
            .replace("anary", "ommon")
            .replace("sparrow", "ana");
        let text = text
            .replace("Sparrow", "Ana")
            .replace("finch", "line 5 changed");
        let text = text.replacen("Subject:", "References: <o1@x>\nSubject:", 1);
        assert!(
            server
                .send(&["dev@lists.example.org"], text.as_bytes())
                .starts_with("250")
        );
        server.drain();
    }
    let before = walk(&server, "");
    send_canaries(&server);
    versions_tell_nothing(&server);
    tells_nothing(&before, &walk(&server, ""));
    for repo in ["tool.git", "tool.patches.git"] {
        let refs = git(
            server.dir.path(),
            &["ls-remote", &format!("{}/{repo}", server.base())],
        );
        let others = refs
            .lines()
            .filter(|l| l.contains("refs/patches") && !l.contains("refs/patches/1/"));
        assert_eq!(others.count(), 0, "{repo}: {refs}");
    }
    nobody_fetches_by_name(&server);
    let log = server.log().to_lowercase();
    // Whoever keeps the log may know which list a mail was for, and nothing else about it.
    let known = "mail for rookery: ";
    let log = log.replace("list.name=\"rookery\"", "").replace(known, "");
    for word in CANARIES {
        assert!(!log.contains(word), "the log tells of {word}:\n{log}");
    }
    let metrics = request(
        &server.addresses["ops"],
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert!(CANARIES.iter().all(|word| !metrics.text().contains(word)));
    for format in ["mbox", "public-inbox"] {
        let path = server
            .dir
            .path()
            .join(format!("export-{format}"))
            .display()
            .to_string();
        server.cli(&["export", "dev", &path, "--format", format]);
        let text = match format {
            "mbox" => std::fs::read_to_string(&path).unwrap(),
            _ => git(
                server.dir.path(),
                &["--git-dir", &path, "log", "-p", "--all"],
            ),
        };
        let text = text.to_lowercase();
        assert!(
            CANARIES.iter().all(|word| !text.contains(word)),
            "{format}: {text}"
        );
    }
}

/// Commits, trees and blobs of private patches, asked for by their own names as whoever heard of them would.
#[track_caller]
fn nobody_fetches_by_name(server: &TestServer) {
    let repos = std::fs::read_dir(server.data().join("repos")).unwrap();
    let mut private = repos.flatten().map(|r| r.path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.contains(".private-")
    });
    let private = private.next().expect("the companion of the private list");
    let refs = git(
        &private,
        &["for-each-ref", "--format=%(objectname)", "refs/patches"],
    );
    let tip = refs.lines().next().expect("a private ref").to_owned();
    let objects = [
        tip.clone(),
        git(&private, &["rev-parse", &format!("{tip}^{{tree}}")]),
        git(&private, &["rev-parse", &format!("{tip}:src/a.c")]),
    ];
    let open = git(
        &server.data().join("repos/tool.patches.git"),
        &["for-each-ref", "--format=%(objectname)", "refs/patches"],
    );
    let into = server.dir.path().join("fetched.git");
    git(server.dir.path(), &["init", "-q", "--bare", "fetched.git"]);
    let fetch = |repo: &str, object: &str, version: &str| {
        let mut fetch = std::process::Command::new("git");
        let url = format!("{}/{repo}", server.base());
        let protocol = format!("protocol.version={version}");
        fetch.current_dir(&into).args(["-c", &protocol]);
        fetch.args(["fetch", "-q", &url, object]);
        super::tools::output(&mut fetch).status.success()
    };
    for version in ["0", "2"] {
        let open = open.lines().next().expect("a public ref");
        assert!(fetch("tool.patches.git", open, version), "what is public");
        for repo in ["tool.git", "tool.patches.git"] {
            for object in &objects {
                assert!(!fetch(repo, object, version), "{repo} {object} {version}");
            }
        }
    }
    let path = private.file_name().unwrap().to_string_lossy().into_owned();
    for object in &objects {
        assert!(!fetch(&path, object, "2"), "{path} {object}");
    }
}

#[test]
fn a_canary_of_a_security_list_is_found_by_nobody() {
    nothing_tells(Database::Sqlite, &["--style", "security"]);
}

/// Who reads the file reads all; but nobody else can, and what is made of it is as closed as before.
#[test]
fn a_canary_is_found_by_nobody_after_a_backup() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = site(Database::Sqlite, &[], &["--private"]);
    let before = walk(&server, "");
    send_canaries(&server);
    let file = server.dir.path().join("site.tar.zst");
    let said = server
        .cli(&["backup", file.to_str().unwrap()])
        .to_lowercase();
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.kill();
    std::fs::remove_dir_all(server.data()).unwrap();
    let restored = server.cli(&["restore", file.to_str().unwrap()]);
    for word in CANARIES {
        assert!(
            !said.contains(word) && !restored.contains(word),
            "{said}{restored}"
        );
    }
    server.launch();
    server.cli(&["jobs", "--retry"]);
    server.drain();
    let inside = server.json(&["series", "ls", "rookery"]).to_string();
    assert!(inside.contains("canary"), "{inside}");
    tells_nothing(&before, &walk(&server, ""));
}

#[test]
fn an_address_that_does_not_exist_looks_like_a_list_that_is_not_public() {
    let server = site(Database::Sqlite, &[], &["--private"]);
    for path in [
        "/LIST/",
        "/LIST/new.atom",
        "/LIST/patches/",
        "/LIST/a@b/",
        "/LIST/?q=word",
    ] {
        let seen = |name: &str| {
            let answer = server.get(&path.replace("LIST", name));
            (answer.status, answer.text().replace(name, "LIST"))
        };
        assert_eq!(seen("rookery"), seen("nobody"), "{path}");
    }
}
