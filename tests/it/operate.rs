//! What an operator does to a running server: signals, logs, folders.

use std::process::Command;

use super::harness::{Smtp, TestServer, change, git, project, send_email};

fn signal(server: &TestServer, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), server.pid().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Certbot's hooks send SIGHUP; the server must take the new certificate and keep running.
#[test]
fn a_hangup_reads_the_certificate_again_and_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let write = || {
        let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    write();
    let server = TestServer::start_with(&[
        ("PATCHPOST_SMTP_TLS_CERT", cert.to_str().unwrap()),
        ("PATCHPOST_SMTP_TLS_KEY", key.to_str().unwrap()),
    ]);
    write();
    signal(&server, "HUP");
    server.wait_for("the certificate to be read again", || {
        server
            .log()
            .contains("the certificate was read again")
            .then_some(())
    });
    std::fs::write(&key, "no key").unwrap();
    signal(&server, "HUP");
    server.wait_for("the unfit key to be told of", || {
        server.log().contains("the old one stays").then_some(())
    });
    assert!(server.page("/").contains("patchpost"), "it still serves");
}

#[test]
fn json_logs_are_an_object_a_line() {
    let server = TestServer::start_with(&[("PATCHPOST_LOG_FORMAT", "json")]);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@lists.example.org",
    ]);
    let mail = b"From: Ana <ana@example.org>\r\nMessage-ID: <1@example.org>\r\nSubject: hello\r\n\r\nHello\r\n";
    assert!(
        server
            .send(&["dev@lists.example.org"], mail)
            .starts_with("250")
    );
    let line = server.wait_for("a line about the mail", || {
        let log = server.log();
        log.lines()
            .find(|l| l.contains("1@example.org"))
            .map(str::to_owned)
    });
    let value: serde_json::Value = serde_json::from_str(&line).expect("a JSON object");
    assert_eq!(value["level"], "INFO", "{line}");
    assert!(
        value["message"]
            .as_str()
            .is_some_and(|m| m.contains("1@example.org")),
        "{line}"
    );
    for line in server.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
    }
}

/// `patchpost-data` in the working directory is the default: git must find it from its own folders.
#[test]
fn a_data_folder_may_be_named_relative_to_where_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchpost"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PATCHPOST_") {
                command.env_remove(name);
            }
        }
        let out = command
            .current_dir(folder.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout).unwrap()
    };
    run(&["repo", "add", "empty", "--init", "--data", "here"]);
    let source = folder.path().join("here/repos/empty.git");
    assert!(source.join("HEAD").exists());
    run(&[
        "repo",
        "add",
        "copy",
        "--path",
        "here/repos/empty.git",
        "--branch",
        "main",
        "--data",
        "here",
    ]);
    let repos: serde_json::Value =
        serde_json::from_str(&run(&["repo", "ls", "--json", "--data", "here"])).unwrap();
    assert_eq!(repos.as_array().unwrap().len(), 2);
}

/// Every mail that was answered 250 before the backup began is in it, though more keep coming.
#[test]
fn a_backup_made_while_mail_comes_in_is_a_working_site() {
    let mut server = TestServer::start();
    let work = project(server.dir.path());
    server.cli(&[
        "repo",
        "add",
        "tool",
        "--path",
        work.to_str().unwrap(),
        "--branch",
        "main",
    ]);
    let create = [
        "list",
        "create",
        "dev",
        "--address",
        "dev@lists.example.org",
        "--repo",
        "tool",
    ];
    server.cli(&create);
    git(&work, &["checkout", "-qb", "topic"]);
    change(&work, "README", "project", "tool", "readme: greet at night");
    send_email(&server, &work, "dev@lists.example.org", &["-1"]);
    server.drain();
    let before = server.json(&["list", "show", "dev"]);
    let file = server.dir.path().join("site.tar.zst");
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let going = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            while going.load(std::sync::atomic::Ordering::Relaxed) && count < 5_000 {
                count += 1;
                let mail = format!(
                    "From: a@example.org\nMessage-ID: <{count}@load>\nSubject: load\n\nx\n"
                );
                let (reply, _) =
                    smtp.send("a@example.org", &["dev@lists.example.org"], mail.as_bytes());
                assert!(reply.starts_with("250"), "{reply}");
            }
        });
        server.cli(&["backup", file.to_str().unwrap()]);
        going.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(
        server
            .cli_fails(&["backup", file.to_str().unwrap()])
            .contains("exists already")
    );
    assert!(
        server
            .cli_fails(&["restore", file.to_str().unwrap()])
            .contains("holds data already")
    );
    server.kill();
    std::fs::remove_dir_all(server.data()).unwrap();
    server.cli(&["restore", file.to_str().unwrap()]);
    server.launch();
    server.drain();
    let after = server.json(&["list", "show", "dev"]);
    assert!(
        after["postings"].as_i64() >= before["postings"].as_i64(),
        "{before} {after}"
    );
    let series = server.json(&["series", "ls"]);
    assert_eq!(series[0]["applies"], true, "{series}");
    let companion = server.data().join("repos/tool.patches.git");
    git(&companion, &["fsck", "--strict"]);
    let name = series[0]["ref"].as_str().unwrap();
    assert_eq!(
        git(&companion, &["log", "-1", "--format=%s", name]),
        "readme: greet at night"
    );
    assert!(server.page("/dev/").contains("readme: greet at night"));
}

#[test]
fn what_is_no_backup_is_refused_in_words() {
    let server = TestServer::start();
    let file = server.dir.path().join("x");
    std::fs::write(&file, "no backup").unwrap();
    let empty = server.dir.path().join("empty");
    let said = server.cli_fails(&[
        "restore",
        file.to_str().unwrap(),
        "--data",
        empty.to_str().unwrap(),
    ]);
    assert!(said.contains("is no backup of patchpost"), "{said}");
}
