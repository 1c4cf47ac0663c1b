//! Import and export beside a running server.

use std::collections::{HashMap, HashSet};

use super::harness::{Database, TestServer, corpus, corpus_for, git, on_both, report, size};
use super::real_mail::{feed, plain_git};

on_both! {
    an_mbox_is_imported_once_however_often_it_is_given,
    a_maildir_is_imported,
    a_kernel_list_is_imported_while_mail_comes_in,
    an_import_that_is_killed_is_simply_run_again,
    an_import_without_a_server_is_killed_and_run_again,
}

fn mbox(count: usize) -> String {
    let one = |n: usize| {
        let parent = if n.is_multiple_of(5) {
            String::new()
        } else {
            format!("In-Reply-To: <{}@x>\n", n - n % 5)
        };
        format!(
            "From mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: a{n}@b.c\nMessage-ID: <{n}@x>\n{parent}Subject: s {n}\nDate: Mon, 01 Jan 2024 10:00:{:02} +0000\n\n>From x\nbody {n}\n\n",
            n % 60
        )
    };
    (0..count).map(one).collect()
}

fn an_mbox_is_imported_once_however_often_it_is_given(database: Database) {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server.cli(&["member", "add", "dev", "ben@example.org"]);
    let path = server.dir.path().join("old.mbox");
    std::fs::write(&path, mbox(250)).unwrap();
    let said = server.cli(&["import", "dev", &path.display().to_string()]);
    assert!(
        said.contains("250 mails read: 250 new, 0 known already"),
        "{said}"
    );
    let said = server.cli(&[
        "import",
        "dev",
        &path.display().to_string(),
        "--format",
        "mbox",
    ]);
    assert!(said.contains("0 new"), "{said}");
    server.drain();
    let show = server.json(&["list", "show", "dev"]);
    assert_eq!(
        (&show["postings"], &show["threads"]),
        (&250.into(), &50.into())
    );
    assert!(
        !server.data().join("outbox").exists(),
        "nobody gets a copy of old mail"
    );
    let out = server.dir.path().join("out.mbox");
    server.cli(&[
        "export",
        "dev",
        &out.display().to_string(),
        "--format",
        "mbox",
    ]);
    // Import and server file side by side: numbers follow the order of filing.
    let sorted = |text: &str| {
        let mut mails: Vec<String> = text.split("From mboxrd@z").map(str::to_owned).collect();
        mails.sort();
        mails
    };
    assert!(
        sorted(&std::fs::read_to_string(&out).unwrap()) == sorted(&mbox(250)),
        "what comes out is what went in"
    );
    let epoch = server.dir.path().join("out.git");
    server.cli(&[
        "export",
        "dev",
        &epoch.display().to_string(),
        "--format",
        "public-inbox",
    ]);
    git(&epoch, &["fsck"]);
    assert_eq!(git(&epoch, &["rev-list", "--count", "master"]), "250");
    server.cli(&[
        "list",
        "create",
        "again",
        "--address",
        "again@x.org",
        "--private",
    ]);
    let said = server.cli(&["import", "again", &epoch.display().to_string()]);
    assert!(said.contains("250 new"), "{said}");
}

fn a_maildir_is_imported(database: Database) {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let dir = server.dir.path().join("Maildir");
    for folder in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(dir.join(folder)).unwrap();
        std::fs::write(
            dir.join(folder).join("1.x"),
            format!("Message-ID: <{folder}@x>\nFrom: a@b.c\n\nx\n"),
        )
        .unwrap();
    }
    let said = server.cli(&["import", "dev", &dir.display().to_string()]);
    assert!(said.contains("2 new"), "{said}");
}

#[test]
fn mistakes_are_told_in_plain_words() {
    let server = TestServer::start();
    assert!(
        server
            .cli_fails(&["import", "nope", "/etc/hostname"])
            .contains("there is no list nope; make one with")
    );
    server.cli(&["list", "create", "dev"]);
    assert!(
        server
            .cli_fails(&["import", "dev", "/nowhere"])
            .contains("there is nothing at /nowhere")
    );
    assert!(
        server
            .cli_fails(&["list", "create", "dev"])
            .contains("is taken by list dev")
    );
    assert!(
        server
            .cli_fails(&["list", "create", "api"])
            .contains("the web site uses that word")
    );
    assert!(
        server
            .cli_fails(&["member", "add", "dev", "no address"])
            .contains("is not an e-mail address")
    );
    assert!(
        server
            .cli_fails(&["repo", "add", "x", "--path", "/nowhere"])
            .contains("there is no repository at /nowhere")
    );
    assert!(
        server
            .cli_fails(&["series", "show", "7"])
            .contains("there is no patchset 7")
    );
    assert!(
        server
            .cli_fails(&["list", "create", "b", "--repo", "none"])
            .contains("there is no repository none")
    );
}

/// A real archive: 6,000 mails, of which one stands twice by another way. The second run adds none.
fn a_kernel_list_is_imported_while_mail_comes_in(database: Database) {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "selinux", "--address", "selinux@x.org"]);
    // On PostgreSQL at the smallest size, and without the corpus, a shorter one.
    let whole = corpus().filter(|_| database == Database::Sqlite || size() > 1);
    let (bundle, mails, different) = match &whole {
        Some(corpus) => {
            let bundle = corpus.join("selinux-list.bundle");
            (bundle.display().to_string(), 6_000, 5_999)
        }
        None => archive(server.dir.path()),
    };
    std::thread::scope(|scope| {
        let import = scope.spawn(|| server.cli(&["import", "selinux", &bundle]));
        for n in 0..20 {
            let mail = format!("From: a@b.c\nMessage-ID: <live{n}@x>\nSubject: live\n\nx\n");
            assert!(
                server
                    .send(&["selinux@x.org"], mail.as_bytes())
                    .starts_with("250")
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let said = import.join().unwrap();
        let known = mails - different;
        let line = format!("{mails} mails read: {different} new, {known} known already");
        assert!(said.contains(&line), "{said}");
    });
    server.drain();
    let postings = || server.json(&["list", "show", "selinux"])["postings"].as_u64();
    assert_eq!(postings(), Some(different + 20));
    if let Some(corpus) = &whole {
        compare_with_truth(&server, &corpus.join("selinux-git-am.tsv"));
    }
    let said = server.cli(&["import", "selinux", &bundle]);
    assert!(said.contains("0 new"), "{said}");
    assert_eq!(postings(), Some(different + 20));
}

/// Rows that come out otherwise, with the reason; `docs/grouping.md` says more.
const OTHERWISE: [(&str, &str); 6] = [
    ("1724668225.8264.12.camel@trentalancia.com", "an empty mail"),
    (
        "CAJp=TCGK-KUja2M9kxt5_SXC8P2=WSxN_-VjFJa96Luc2JSmCA@mail.gmail.com",
        "a diff that was pasted indented",
    ),
    (
        "20240928023349.154389-1-shivani.agarwal@broadcom.com",
        "v5.10 is a branch",
    ),
    (
        "20240928023539.154580-1-shivani.agarwal@broadcom.com",
        "v5.15-v6.1 are branches",
    ),
    (
        "20241023152719.24118-1-cgoettsche@seltendoof.de",
        "a partial reroll of the second of two",
    ),
    (
        "20250303222416.3909228-2-bboscaccy@linux.microsoft.com",
        "the version of its cover letter",
    ),
];

/// For each complete series (version, count): its mails, and what the first mail in References of a patch is.
fn complete_series(server: &TestServer) -> HashSet<(String, String, u64)> {
    let dir = tempfile::tempdir().unwrap();
    let mut root_of: HashMap<String, String> = HashMap::new();
    for mail in super::real_mail::list_mails(dir.path()) {
        let message = patchpost::mail::parse(&mail.bytes);
        if let Some(root) = message.parents.last() {
            root_of.insert(message.message_id.to_string(), root.to_string());
        }
    }
    let all = server.json(&["series", "ls"]);
    let mut known = HashSet::new();
    let complete = all.as_array().unwrap().iter();
    for s in complete.filter(|s| s["complete"] == true) {
        let version = s["version"].as_str().unwrap().split('-').next().unwrap();
        let total = s["total"].as_u64().unwrap();
        let patches = s["patches"].as_array().unwrap().iter();
        let patches = patches.map(|p| p["message_id"].as_str().unwrap().to_owned());
        let mails: Vec<String> = patches
            .chain(s["cover"].as_str().map(str::to_owned))
            .collect();
        let roots: Vec<String> = mails
            .iter()
            .filter_map(|m| root_of.get(m).cloned())
            .collect();
        for name in mails.into_iter().chain(roots) {
            known.insert((name, version.to_owned(), total));
        }
    }
    known
}

/// 600 series of that archive are known to be complete: root mail (a mail of the series, or one that it was sent in reply
/// to), version, count.
fn compare_with_truth(server: &TestServer, table: &std::path::Path) {
    let known = complete_series(server);
    let text = std::fs::read_to_string(table).unwrap();
    let mut rows = 0;
    let mut wrong = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let root = cells[0].trim_matches(['<', '>']);
        let fact = (
            root.to_owned(),
            cells[1].to_owned(),
            cells[2].parse().unwrap(),
        );
        rows += 1;
        if !known.contains(&fact) {
            wrong.push(root.to_owned());
        }
    }
    let right = rows - wrong.len();
    report(&format!(
        "series of a real list: {right} of {rows} as expected"
    ));
    let expected: HashSet<String> = OTHERWISE
        .iter()
        .map(|(root, _)| (*root).to_owned())
        .collect();
    let found: HashSet<String> = wrong.into_iter().collect();
    assert_eq!(found, expected, "rows that come out otherwise");
}

/// An archive: its path, and how many mails it holds of which how many are different.
fn archive(dir: &std::path::Path) -> (String, u64, u64) {
    let count = [600, 6_000, 6_000][size() - 1];
    let Some(corpus) = corpus_for("import of a kernel list; a made one stands in") else {
        let path = dir.join("cut.mbox");
        std::fs::write(&path, mbox(900)).unwrap();
        return (path.display().to_string(), 900, 900);
    };
    let epoch = dir.join("cut.git");
    let bundle = corpus.join("selinux-list.bundle").display().to_string();
    let path = epoch.display().to_string();
    git(dir, &["clone", "-q", "--bare", &bundle, &path]);
    let branch = git(&epoch, &["symbolic-ref", "HEAD"]);
    let all = git(&epoch, &["rev-list", "--reverse", "HEAD"]);
    let all: Vec<&str> = all.lines().take(count).collect();
    git(&epoch, &["update-ref", &branch, all[all.len() - 1]]);
    let mut identities = std::collections::BTreeSet::new();
    let mut input = all.iter().map(|c| format!("{c}:m\n")).collect::<String>();
    input.push('\n');
    let mut read = plain_git(&epoch);
    read.args(["cat-file", "--batch"]);
    let (_, out, _) = feed(&mut read, input.as_bytes());
    let mut rest = &out[..];
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        let Some(length) = head.split(' ').nth(2).and_then(|n| n.parse::<usize>().ok()) else {
            rest = &rest[end + 1..];
            continue;
        };
        identities.insert(patchpost::mail::identity(&rest[end + 1..end + 1 + length]));
        rest = &rest[end + 1 + length + 1..];
    }
    (path, all.len() as u64, identities.len() as u64)
}

/// kill -9 at any moment of an import: the next run ends with what one undisturbed run gives, mail that comes in meanwhile
/// included.
fn an_import_that_is_killed_is_simply_run_again(database: Database) {
    let server = TestServer::start_on(database);
    server.cli(&["list", "create", "old", "--address", "old@x.org"]);
    let (path, mails, different) = archive(server.dir.path());
    let kills = [3, 6, 20][size() - 1];
    let mut live = 0;
    for n in 0..kills {
        let mut import = server.begin(&["import", "old", &path]);
        // Somewhere between the first mail and the last.
        let wanted = different * n / kills;
        server.wait_for("the import to get on", || {
            let there = server.json(&["list", "show", "old"])["postings"]
                .as_u64()
                .unwrap();
            (there >= wanted.min(different - 1) || import.try_wait().unwrap().is_some())
                .then_some(())
        });
        import.kill().unwrap();
        import.wait().unwrap();
        let mail = format!("From: a@b.c\nMessage-ID: <live{n}@x>\nSubject: live\n\nx\n");
        assert!(
            server
                .send(&["old@x.org"], mail.as_bytes())
                .starts_with("250")
        );
        live += 1;
    }
    server.cli(&["import", "old", &path]);
    server.drain();
    let show = server.json(&["list", "show", "old"]);
    assert_eq!(
        show["postings"],
        different + live,
        "{mails} mails, {kills} kills"
    );
    let before = server.json(&["series", "ls"]);
    assert!(
        server.cli(&["reclassify"]).contains("nothing changes"),
        "incremental = full"
    );
    assert_eq!(server.json(&["series", "ls"]), before);
    let said = server.cli(&["import", "old", &path]);
    assert!(said.contains(" 0 new"), "{said}");
}

/// The same without a server: what the killed one had claimed is done by the next.
fn an_import_without_a_server_is_killed_and_run_again(database: Database) {
    let mut server = TestServer::start_on(database);
    server.cli(&["list", "create", "old", "--address", "old@x.org"]);
    server.terminate();
    let (path, _, different) = archive(server.dir.path());
    let mut import = server.begin(&["import", "old", &path]);
    server.wait_for("the import to get on", || {
        let there = server.json(&["list", "show", "old"])["postings"]
            .as_u64()
            .unwrap();
        (there > 0 || import.try_wait().unwrap().is_some()).then_some(())
    });
    import.kill().unwrap();
    import.wait().unwrap();
    server.cli(&["import", "old", &path]);
    assert_eq!(server.json(&["list", "show", "old"])["postings"], different);
    let jobs = server.json(&["jobs"]);
    let filing = jobs
        .as_array()
        .unwrap()
        .iter()
        .filter(|j| j["kind"] == "file");
    assert_eq!(filing.count(), 0);
}
