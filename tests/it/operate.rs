//! What an operator does to a running server: signals, logs, folders.

mod doctor;

use std::process::Command;

use super::harness::{Database, Smtp, TestServer, change, free_port, git, project, send_email};

fn signal(server: &TestServer, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), server.pid().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[test]
fn a_list_that_moves_says_that_its_old_address_is_refused() {
    let server = TestServer::start_on(Database::Sqlite);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let set = ["list", "set", "dev", "--address", "dev@lists.y.org"];
    let said = server.cli(&set);
    assert!(said.contains("mail to dev@x.org is refused"), "{said}");
    let again = server.cli(&set);
    assert_eq!(again.trim(), "list dev is changed");
    let events = server.cli(&["events", "dev"]);
    assert!(
        events.contains("moved from dev@x.org to dev@lists.y.org"),
        "{events}"
    );
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
    let site = "init --yes --hostname lists.example.org --operator ana@example.net --address 192.0.2.1 --postfix --data here";
    run(&site.split(' ').collect::<Vec<_>>());
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
    // All mail is there; what would send it waits for the operator.
    let owed = server.json(&["jobs"]);
    let all = owed.as_array().unwrap().iter();
    let mut parked = all.filter(|j| j["state"] == "parked");
    assert!(parked.all(|j| j["kind"] == "fan-out"), "{owed}");
    server.cli(&["jobs", "--retry"]);
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

/// What was owed then may have gone out since, and what is restored is nobody else's to read.
#[test]
fn a_restored_site_sends_nothing_by_itself_and_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let nobody = format!("127.0.0.1:{}", free_port());
    let relay = [
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", nobody.as_str()),
    ];
    let server = TestServer::start_on_with(Database::Sqlite, &relay);
    server.cli(&[
        "list",
        "create",
        "dev",
        "--address",
        "dev@lists.example.org",
    ]);
    server.cli(&["member", "add", "dev", "ben@example.org"]);
    let reply = server.send(
        &["dev@lists.example.org"],
        b"From: a@example.org\nMessage-ID: <owed@x>\nSubject: owed\n\nx\n",
    );
    assert!(reply.starts_with("250"), "{reply}");
    server.drain();
    let state = |folder: &str| server.json(&["queue", "ls", "--data", folder])[0]["state"].clone();
    let own = server.data().display().to_string();
    server.wait_for("the copy that is owed", || {
        (!state(&own).is_null()).then_some(())
    });
    let file = server.dir.path().join("site.tar.zst").display().to_string();
    server.cli(&["backup", &file]);
    let new = server.dir.path().join("new");
    let folder = new.display().to_string();
    let said = server.cli(&["restore", &file, "--data", &folder]);
    let day = &patchpost::store::now().human()[..10];
    let made = format!("{file}: made {day} ");
    assert!(said.starts_with(&made), "{said}");
    let version = format!(" UTC by patchpost {}\n", env!("CARGO_PKG_VERSION"));
    assert!(said.contains(&version), "{said}");
    assert!(!new.join("patchpost-backup.txt").exists());
    assert!(
        said.contains("1 mail that was owed when the backup was made is held"),
        "{said}"
    );
    assert_eq!(state(&folder), "held");
    for (path, most) in [(new.clone(), 0o750), (new.join("patchpost.db"), 0o640)] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !most, 0, "{mode:o} of {}", path.display());
    }
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

/// What a command says, and whether it succeeded.
fn say(server: &TestServer, arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = server.command();
    let command = command.args(arguments).envs(environment.iter().copied());
    let out = command.output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (
        out.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

const ANY_PORTS: [(&str, &str); 4] = [
    ("PATCHPOST_SMTP_LISTEN", "127.0.0.1:0"),
    ("PATCHPOST_LMTP_LISTEN", "127.0.0.1:0"),
    ("PATCHPOST_HTTP_LISTEN", "127.0.0.1:0"),
    ("PATCHPOST_OPS_LISTEN", "127.0.0.1:0"),
];

#[test]
fn doctor_finds_a_running_server_well_whatever_ports_it_chose() {
    let server = TestServer::start();
    let (_, text) = say(&server, &["doctor"], &ANY_PORTS);
    assert_eq!(text.matches("the server runs and chose a port").count(), 4);
    assert!(!text.contains("BAD  smtp"), "{text}");
    let mut relay = ANY_PORTS.to_vec();
    let nobody = format!("127.0.0.1:{}", free_port());
    relay.extend([
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &nobody),
    ]);
    let (fine, text) = say(&server, &["doctor"], &relay);
    assert!(!fine && text.contains("BAD  relay"), "{text}");
    relay[5].1 = &server.addresses["smtp"];
    let (_, text) = say(&server, &["doctor"], &relay);
    assert!(text.contains("ok   relay"), "{text}");
}

#[test]
fn doctor_tells_of_settings_it_cannot_read_and_looks_at_the_rest() {
    let server = TestServer::start();
    let (fine, text) = say(&server, &["doctor"], &[("PATCHPOST_SMTP_MAX_SIZE", "big")]);
    assert!(!fine, "{text}");
    let wanted = [
        "BAD  configuration: environment PATCHPOST_SMTP_MAX_SIZE",
        "ok   git",
    ];
    assert!(wanted.iter().all(|w| text.contains(w)), "{text}");
    // What doctor names as what shows all keys does so then, too.
    let (fine, text) = say(&server, &["config"], &[("PATCHPOST_SMTP_MAX_SIZE", "big")]);
    assert!(!fine, "{text}");
    for words in [
        "environment PATCHPOST_SMTP_MAX_SIZE: smtp.max_size cannot be \"big\"",
        "\nmax_size = ",
        "\n[delivery]\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let server = TestServer::start();
    let taken = [("PATCHPOST_SMTP_LISTEN", server.addresses["smtp"].as_str())];
    let other = server.dir.path().join("other");
    let (fine, text) = say(
        &server,
        &["serve", "--data", other.to_str().unwrap()],
        &taken,
    );
    assert!(!fine, "{text}");
    assert!(
        text.contains("smtp.listen or PATCHPOST_SMTP_LISTEN"),
        "{text}"
    );
}

/// A slip in the name of the folder is told, and leaves nothing behind.
#[test]
fn commands_make_no_site_by_a_slip() {
    let server = TestServer::start();
    let other = server.dir.path().join("slip");
    let other = other.to_str().unwrap();
    let commands = [
        &["list", "ls"][..],
        &["jobs"],
        &["series", "show", "1"],
        &["list", "create", "dev"],
        &["repo", "add", "tool", "--init"],
        &["dkim", "rotate", "lists.example.org"],
        &["dkim", "show"],
    ];
    for command in commands {
        let said = server.cli_fails(&[command, &["--data", other]].concat());
        assert!(said.contains("there is no data of patchpost in"), "{said}");
    }
    assert!(!std::path::Path::new(other).exists());
}

#[test]
fn the_server_leaves_no_files_of_roots_in_another_users_folder() {
    let server = TestServer::start();
    let folder = server.dir.path().join("foreign");
    std::fs::create_dir(&folder).unwrap();
    // Root alone may give it away.
    if std::os::unix::fs::chown(&folder, Some(1), None).is_err() {
        return;
    }
    let name = folder.display().to_string();
    let (fine, said) = say(&server, &["serve", "--data", &name], &ANY_PORTS);
    assert!(!fine);
    let command = format!("runuser --user=daemon -- patchpost serve --data {name}");
    assert!(
        said.contains(" belongs to another user") && said.contains(&command),
        "{said}"
    );
    assert!(std::fs::read_dir(&folder).unwrap().next().is_none());
}

#[test]
fn commands_say_what_did_not_fit() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let fails = |line: &str, words: &str| {
        let said = server.cli_fails(&line.split(' ').collect::<Vec<_>>());
        assert!(said.contains(words), "{line}: {said}");
    };
    fails("list set dev", "say what to change");
    fails(
        "list set dev --repo tool",
        "patchpost repo add tool --clone URL",
    );
    for own in ["DEV@x.org", "dev+owner@x.org", "dev@localhost"] {
        fails(&format!("member add dev {own}"), "is the list itself");
    }
    let said = server.cli(&["member", "add", "dev", "ana@x.org"]);
    assert_eq!(said, "1 new member\n");
    let said = server.cli(&["member", "add", "dev", "ana@x.org", "ben@x.org"]);
    assert_eq!(said, "1 new member, 1 there already\n");
    let noted = server.cli(&["events", "dev"]);
    let times = noted.matches("ana@x.org was added").count();
    assert_eq!(times, 1, "only who was not there: {noted}");
    fails("held accept dev", "held mails are named by their numbers");
    fails(
        "held accept dev",
        "those of a list by --list dev with --all",
    );
    fails("held show x@y", "which `patchpost held ls` shows");
    fails("held reject 99 --why no", "no mail 99 is held");
    fails(
        "member rm dev ana@x.org chen@x.org",
        "not among the members of dev: chen@x.org",
    );
    assert_eq!(
        server
            .json(&["member", "ls", "dev"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let work = project(server.dir.path());
    let path = work.display().to_string();
    fails(
        &format!("repo add bad --path {path} --branch nosuch"),
        "has no branch nosuch; it has main",
    );
    server.cli(&["repo", "add", "bad", "--path", &path, "--branch", "main"]);
    let empty = server.dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    fails(&format!("import dev {}", empty.display()), "is empty");
    fails(
        "export dev x --format maildir",
        "possible values: mbox, public-inbox",
    );
}

/// `patchpost … | head`
#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let server = TestServer::start();
    let run = |arguments: &[&str]| {
        let mut command = server.command();
        command.args(arguments).stderr(std::process::Stdio::piped());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = command.stdout(writer).output().unwrap();
        assert!(
            out.status.success() && out.stderr.is_empty(),
            "{arguments:?} {out:?}"
        );
    };
    run(&["config"]);
    run(&["list", "ls", "--json"]);
}

/// What was not mailed is not told: it is tried again.
#[tokio::test]
async fn an_operator_to_whom_no_mail_may_go_is_told_as_soon_as_one_may() {
    let folder = tempfile::tempdir().unwrap();
    let config = patchpost::config::parse(
        "test",
        "[site]\nhostname = \"mx.example.org\"\noperator = \"ana@example.net\"",
        [],
    )
    .unwrap();
    let mut ctx = patchpost::cli::open(folder.path(), &config).await.unwrap();
    let now = patchpost::types::Timestamp::from_secs(1_800_000_000);
    let list = patchpost::store::NewList {
        name: "dev".to_owned(),
        address: "dev@x.org".to_owned(),
        description: String::new(),
        style: "patch".to_owned(),
        visibility: "public".to_owned(),
        repos: vec![],
        policy: patchpost::list::settings::Policy::open(),
    };
    ctx.store.insert_list(list, now).await.unwrap();
    let bad = [patchpost::pipeline::Watched {
        what: "disk".to_owned(),
        bad: true,
        detail: "4 MB free, 1 %".to_owned(),
        mend: "make room".to_owned(),
    }];
    let operator = ctx.operator.replace("dev@x.org".parse().unwrap());
    assert_eq!(ctx.tell_operator(&bad, now).await.unwrap(), 0);
    ctx.operator = operator;
    assert_eq!(ctx.tell_operator(&bad, now).await.unwrap(), 1);
    assert_eq!(ctx.tell_operator(&bad, now).await.unwrap(), 0);
    assert_eq!(ctx.store.count_letters().await.unwrap(), (1, 0));
}
