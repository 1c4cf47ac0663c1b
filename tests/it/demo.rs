//! `make run` as a newcomer meets it: the printed lines are pasted into a shell as they stand.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::harness::{Database, TestServer, git, on_both};
use super::tools;

/// The printed lines of one block, those that are indented, around the one that holds `word`.
fn block(text: &str, word: &str) -> String {
    let blocks = text
        .split("\n\n")
        .filter(|b| b.starts_with("    ") || b.starts_with("\n    "));
    let found: Vec<&str> = blocks.filter(|b| b.contains(word)).collect();
    assert_eq!(found.len(), 1, "one block with {word} in:\n{text}");
    found[0]
        .lines()
        .map(|l| l.trim_start().to_owned() + "\n")
        .collect()
}

/// Runs lines as somebody whose git is set up for another mail server.
fn paste(server: &TestServer, folder: &Path, lines: &str) -> String {
    let home = server.dir.path().join("home");
    std::fs::create_dir_all(&home).unwrap();
    let config = "[sendemail]\n\tsmtpServer = mail.example.org\n\tsmtpUser = ana\n\tsmtpEncryption = tls\n[format]\n\tthread = deep\n";
    std::fs::write(home.join(".gitconfig"), config).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-euc", lines]).current_dir(folder);
    shell.env("HOME", &home).env("GIT_CONFIG_NOSYSTEM", "1");
    shell
        .env_remove("GIT_CONFIG_GLOBAL")
        .stdin(std::process::Stdio::null());
    tools::run(&mut shell)
}

on_both! {
    the_printed_lines_send_a_series_and_fetch_it_as_commits,
}

fn the_printed_lines_send_a_series_and_fetch_it_as_commits(database: Database) {
    let server = TestServer::start_on_as(database, &["--demo"], &[]);
    let printed = server.wait_for("the words for newcomers", || {
        Some(server.printed()).filter(|text| text.contains("Ctrl-C"))
    });
    let url = server.base();
    // What is said to be there is there.
    for path in block(&printed, "/demo/patches/").lines() {
        server.page(path.strip_prefix(&url).unwrap());
    }
    server.wait_for("the sample to apply", || {
        server
            .get("/demo/patches/1/")
            .text()
            .contains("applies")
            .then_some(())
    });
    let lines = block(&printed, "git send-email");
    paste(&server, server.dir.path(), &lines);
    let work = server.data().join("demo-work");
    let ours = server.wait_for("the series to be complete and to apply", || {
        let all = server.json(&["series", "ls", "demo"]);
        let all = all.as_array().unwrap().clone();
        all.into_iter()
            .find(|s| s["title"] == "Greet at any hour" && s["applies"] == true)
    });
    assert_eq!(
        (&ours["total"], &ours["complete"]),
        (&3.into(), &true.into())
    );
    pages_show_it(&server, &ours);
    commits_are_the_senders(&server, &work, &ours);
    // The lines for the sample, in the folder where the ones before led.
    let log = paste(&server, &work, &block(&printed, "refs/patches/1/v1"));
    assert!(log.contains("diff --git"), "{log}");
    // All of it once more, as the text promises.
    paste(&server, server.dir.path(), &lines);
    // The name without a dot is the same list.
    assert!(printed.contains("demo@localhost"));
    let mail = b"From: a@b.c\nMessage-ID: <plain@x>\nSubject: by a plain name\n\nx\n";
    assert!(server.send(&["demo@localhost"], mail).starts_with("250"));
    server.drain();
    assert!(server.page("/demo/plain@x/").contains("by a plain name"));
}

fn pages_show_it(server: &TestServer, series: &serde_json::Value) {
    let page = server.page(&format!("/demo/patches/{}/", series["patchset"]));
    let titles = [
        "Greet at any hour",
        "Say good afternoon",
        "Say good evening",
        "Say good night",
    ];
    for words in titles.iter().chain(&["3/3", "applies"]) {
        assert!(
            page.contains(words),
            "the page of the patchset says {words}"
        );
    }
    let cover = series["cover"].as_str().unwrap();
    let thread = server.page(&format!("/demo/{cover}/T/"));
    for words in titles {
        assert!(
            thread.contains(words),
            "the page of the thread says {words}"
        );
    }
    assert_eq!(thread.matches("<article class=\"post\"").count(), 4);
    assert!(server.page("/demo/").contains("Greet at any hour"));
}

/// Trees, authors and messages are those of the commits that were sent; dates those of the mails, as `git send-email`
/// dates each mail anew.
fn commits_are_the_senders(server: &TestServer, work: &Path, series: &serde_json::Value) {
    let page = server.page(&format!("/demo/patches/{}/", series["patchset"]));
    let commands = page
        .split("<pre class=\"cmd\"")
        .skip(1)
        .map(|c| c.split(['>', '<']).nth(1).unwrap().trim());
    let fetch: BTreeSet<&str> = commands.filter(|c| c.starts_with("git fetch")).collect();
    let fetch = fetch.first().expect("the page has a line to copy");
    paste(
        server,
        work,
        &fetch.replace("&amp;", "&").replace("&#38;", "&"),
    );
    let format = "--format=%T %an %ae %B";
    let sent = git(work, &["log", format, "origin/main..evening"]);
    assert_eq!(git(work, &["log", format, "origin/main..FETCH_HEAD"]), sent);
    assert_eq!(sent.matches("You you@example.org").count(), 3);
    let fetched = git(
        work,
        &[
            "log",
            "--reverse",
            "--format=%ad",
            "--date=rfc",
            "origin/main..FETCH_HEAD",
        ],
    );
    let patches = series["patches"].as_array().unwrap().iter();
    let dates: Vec<String> = patches
        .map(|p| {
            let mail = server
                .get(&format!("/demo/{}/eml", p["message_id"].as_str().unwrap()))
                .text();
            let date = mail.lines().find_map(|l| l.strip_prefix("Date: ")).unwrap();
            date.trim().to_owned()
        })
        .collect();
    assert_eq!(fetched.lines().collect::<Vec<_>>(), dates);
}
