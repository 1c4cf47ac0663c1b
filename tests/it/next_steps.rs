//! What the page of a version says of patches that cannot be used, do not fit or were rewritten, and what to do.

use super::harness::{TestServer, git, project};
use super::identity::mail;

const ANA: &str = "Ana Lima <ana@example.org>";

fn server() -> TestServer {
    let server = TestServer::start();
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
    server
}

fn send(server: &TestServer, text: &str) {
    let reply = server.send(&["dev@lists.example.org"], text.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    server.drain();
}

/// A patch to the project's file: its lines 4 to 6, of which the fifth changes.
fn diff(before: &str, after: &str) -> String {
    format!(
        "Text.\n---\n src/a.c | 2 +-\n\ndiff --git a/src/a.c b/src/a.c\n--- a/src/a.c\n+++ b/src/a.c\n@@ -4,3 +4,3 @@\n \
         line 4\n-{before}\n+{after}\n line 6\n-- \n2.40\n"
    )
}

#[test]
fn a_wrapped_patch_is_said_once_with_what_to_do_and_no_commands() {
    let server = server();
    let body = diff("line 5", "a long line that a\nmail program wrapped");
    send(&server, &mail("w@x", ANA, "[PATCH] wrapped", &body));
    let page = server.page("/dev/patches/1/");
    assert_eq!(page.matches("cannot be used").count(), 1, "{page}");
    for words in [
        "Patch 1 cannot be used. Long lines were wrapped: line 12 of the text",
        "send a new version in reply to this one.",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for command in ["git am -3", "b4 -c"] {
        assert!(!page.contains(command), "{command}: {page}");
    }
}

#[test]
fn a_series_on_a_commit_that_is_not_here_is_told_so() {
    let server = server();
    let body = diff("line 5, which only its author has", "other");
    send(&server, &mail("c@x", ANA, "[PATCH] conflict", &body));
    let page = server.page("/dev/patches/1/");
    assert!(page.contains("Rebase it and send"), "{page}");
    let id = "0123456789abcdef0123456789abcdef01234567";
    let body = format!("{body}\nbase-commit: {id}\n");
    send(&server, &mail("d@x", ANA, "[PATCH] follows", &body));
    let page = server.page("/dev/patches/2/");
    let words = "Its base is not known here: send it with --base=origin/main, or name the series that it is built on with Depends-on:.";
    assert!(page.contains(words), "{page}");
    assert!(!page.contains("Rebase it"), "{page}");
}

#[test]
fn a_path_cannot_turn_the_words_round() {
    let server = server();
    let work = server.dir.path().join("project");
    std::fs::write(work.join("src/a\u{202e}b"), "one\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "Odd"]);
    server.cli(&["repo", "fetch", "tool"]);
    let body = "Text.\n---\ndiff --git a/src/a\u{202e}b b/src/a\u{202e}b\n--- a/src/a\u{202e}b\n+++ b/src/a\u{202e}b\n@@ -1 +1 @@\n-two\n+three\n";
    let text = mail("p@x", ANA, "[PATCH] odd", body);
    let fields = "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
    send(&server, &format!("{fields}{text}"));
    let page = server.page("/dev/patches/1/");
    assert!(page.contains("does not fit in src/a\u{fffd}b"), "{page}");
}

#[test]
fn a_patch_that_was_rewritten_is_shown_beside_what_it_was() {
    let server = server();
    send(
        &server,
        &mail("v1@x", ANA, "[PATCH] change five", &diff("line 5", "five")),
    );
    let other = diff("line 5", "line five, in quite another way")
        .replace("Text.", "Other words.\n\nMany of them.");
    let second = mail("v2@x", ANA, "[PATCH v2] change five", &other);
    send(&server, &format!("In-Reply-To: <v1@x>\n{second}"));
    let text = server.cli(&["series", "range-diff", "1", "v1", "v2"]);
    assert!(
        text.contains("1:  ------- < -:") || text.lines().count() == 2,
        "{text}"
    );
    let page = server.page("/dev/patches/1/v1..v2");
    for words in [
        "1 patch changed",
        "1 → 1, changed so much that git range-diff pairs it with nothing",
        "++line five, in quite another way",
        "-+five",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("dropped"), "{page}");
}
