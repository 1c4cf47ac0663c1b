//! What a site looks like that nobody looked after: `doctor` names each thing, and what mends it.

use super::super::harness::{Database, Sink, Smtp, TestServer};
use super::super::me::change;
use super::{ANY_PORTS, say};

/// `doctor`, as a person reads it.
fn doctor(server: &TestServer, more: &[(&str, &str)]) -> (bool, String) {
    let environment: Vec<_> = ANY_PORTS.iter().chain(more).copied().collect();
    say(server, &["doctor"], &environment)
}

#[track_caller]
fn says(text: &str, bad: &[&str]) {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines
        .iter()
        .position(|l| bad.iter().take(1).all(|b| l.contains(b)));
    let at = at.unwrap_or_else(|| panic!("{}: {text}", bad[0]));
    // The mend stands with it, on the lines below.
    let around = lines[at..lines.len().min(at + 3)].join("\n");
    for words in bad {
        assert!(around.contains(words), "{words}: {text}");
    }
}

#[test]
fn doctor_names_what_was_left_lying_and_what_mends_it() {
    let sink = Sink::start();
    let server = TestServer::start_on_with(
        Database::Sqlite,
        &[
            ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
            ("PATCHPOST_DELIVERY_RELAY", &sink.address),
        ],
    );
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let gone: Vec<String> = (0..10).map(|n| format!("m{n}@gone.example")).collect();
    let mut add = vec!["member", "add", "dev", "ben@slow.example"];
    add.extend(gone.iter().map(String::as_str));
    server.cli(&add);
    server.cli(&["list", "create", "held", "--address", "held@x.org"]);
    server.cli(&["policy", "set", "held", "--moderation", "all"]);
    sink.refuse("@gone.example", "550 5.1.1 No such user");
    sink.refuse("ben@slow.example", "450 4.2.1 Come again later");
    let post = |to: &str| {
        let mail = format!("From: Ana <ana@example.org>\nMessage-ID: <{to}>\nSubject: s\n\ntext\n");
        let mut smtp = Smtp::connect(&server.addresses["smtp"]);
        let (reply, _) = smtp.send("ana@example.org", &[to], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    };
    let file = server.dir.path().join("backup").display().to_string();
    server.cli(&["backup", &file]);
    let (_, before) = doctor(&server, &[]);
    for fine in [
        "work: 0 jobs owed, 0 parked",
        "queue age: nothing waits long",
        "held mail: nothing is held",
        "backup: made on ",
        "given up: 0 copies",
        "disk nearly full: no",
    ] {
        assert!(before.contains(&format!("ok   {fine}")), "{fine}: {before}");
    }
    assert!(!before.contains("BAD  clock"), "{before}");

    post("dev@x.org");
    post("held@x.org");
    server.wait_for("copies to be given up and put off", || {
        let (_, text) = doctor(&server, &[]);
        text.contains("copies: 1 owed, 10 given up").then_some(())
    });
    server.drain();
    let (hour, day) = (3_600_000_000_i64, 86_400_000_000_i64);
    let now = patchpost::store::now().0;
    let ago = |micros: i64| now - micros;
    for text in [
        format!("update fan_out set started = {}", ago(5 * hour)),
        format!("update held set since = {}", ago(4 * day)),
        format!(
            "update meta set value = '{}' where key = 'last-backup'",
            ago(8 * day)
        ),
        format!(
            "update meta set value = '{}' where key = 'last-watch'",
            now + hour
        ),
        format!(
            "insert into job (kind, key, priority, run_at, attempts, leased_until, lease, again, state, problem) \
             values ('fetch', 'nothing', 0, {now}, 5, 0, 0, 0, 1, 'git says no')"
        ),
    ] {
        change(&server, text);
    }
    let full = [("PATCHPOST_LIMITS_FREE_DISK_MB", "999999999")];
    let (fine, text) = doctor(&server, &full);
    assert!(!fine, "{text}");
    for bad in [
        &["BAD  work: ", "1 parked", "patchpost jobs --retry"][..],
        &[
            "BAD  queue age: ",
            "(5 h)",
            "the server's log says what the relay answers",
        ],
        &[
            "BAD  held mail: 1 held, the oldest since ",
            "patchpost held ls",
            "names somebody who is told",
        ],
        &[
            "BAD  given up: 10 copies within a day",
            "5.1.1 No such user",
            "patchpost queue retry --state given-up",
        ],
        &["BAD  backup: the last is of ", "patchpost backup FILE"],
        &[
            "BAD  disk nearly full: ",
            "below 999999999 MB (limits.free_disk_mb) no mail is taken",
        ],
        &[
            "BAD  clock: ",
            "but the server ran at ",
            "timedatectl set-ntp true",
        ],
    ] {
        says(&text, bad);
    }
    // And lists without any backup.
    change(
        &server,
        "delete from meta where key = 'last-backup'".to_owned(),
    );
    change(
        &server,
        format!("update list set created = {}", ago(8 * day)),
    );
    let (_, text) = doctor(&server, &[]);
    says(
        &text,
        &["BAD  backup: none was ever made", "patchpost backup FILE"],
    );
}

/// A server that ended is what matters most; a site that was just made has not had one yet.
#[test]
fn doctor_says_that_no_server_runs_where_one_did() {
    let mut server = TestServer::start();
    let (_, text) = doctor(&server, &[]);
    assert!(text.contains("ok   server: runs on this folder"), "{text}");
    server.kill();
    let (fine, text) = doctor(&server, &[]);
    assert!(!fine, "{text}");
    let start = "systemctl start patchpost";
    says(
        &text,
        &["BAD  server: no server runs on this folder", start],
    );

    let folder = server.dir.path().join("new").display().to_string();
    let init = "init --yes --hostname lists.example.org --operator ana@example.net --address 192.0.2.1 --postfix --list dev --data";
    let mut words: Vec<&str> = init.split(' ').collect();
    words.push(&folder);
    server.cli(&words);
    let look = || say(&server, &["doctor", "--data", &folder], &ANY_PORTS).1;
    let text = look();
    let set_up = "patchpost print setup --data ";
    says(&text, &["note server: none ran on this folder yet", set_up]);
    let mbox = server.dir.path().join("old.mbox").display().to_string();
    let mail = "From a@x.org Thu Nov  5 10:00:00 2026\nFrom: a@x.org\nMessage-ID: <1@x>\nSubject: s\n\nb\n";
    std::fs::write(&mbox, mail).unwrap();
    server.cli(&["import", "dev", &mbox, "--data", &folder]);
    let text = look();
    assert!(text.contains("BAD  server: no server runs"), "{text}");
}

#[test]
fn a_file_that_is_no_database_is_named_with_what_mends_it() {
    let mut server = TestServer::start();
    server.kill();
    let file = server.data().join("patchpost.db");
    for rest in ["patchpost.db-wal", "patchpost.db-shm"] {
        let _absent = std::fs::remove_file(server.data().join(rest));
    }
    std::fs::write(&file, "these are not the tables that were here").unwrap();
    let restore = "`patchpost restore BACKUP --data NEW-FOLDER`";
    let named = format!("{} is damaged, or no database at all", file.display());
    for command in [&["list", "ls"][..], &["serve"]] {
        let said = server.cli_fails(command);
        assert!(said.contains(&named) && said.contains(restore), "{said}");
    }
    let (_, text) = doctor(&server, &[]);
    says(&text, &[&format!("BAD  database: {named}"), restore]);
}

/// Changes a row of a server that is down.
fn write(server: &TestServer, text: &'static str) {
    use sqlx::{Connection, Executor};
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", server.data().join("patchpost.db").display());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
        connection.execute(sqlx::raw_sql(text)).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn doctor_says_in_a_line_what_is_newer_garbled_or_another_users() {
    let mut server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server.cli(&["dkim", "rotate", "x.org"]);
    server.kill();
    let keys = server.data().join("dkim/x.org");
    let name = std::fs::read_dir(&keys).unwrap().next().unwrap().unwrap();
    std::fs::write(name.path(), "-----BEGIN RSA PRIVATE KEY-----\nAAAA").unwrap();
    write(
        &server,
        "update meta set value = 'garbled' where key = 'token-key'",
    );
    let named = [
        ("PATCHPOST_SITE_HOSTNAME", "lists.x.org"),
        ("PATCHPOST_DNS_ZONE", "/dev/null"),
    ];
    let (fine, text) = doctor(&server, &named);
    assert!(!fine, "{text}");
    let file = format!("{}: it holds no RSA key", name.path().display());
    says(
        &text,
        &[
            "BAD  dkim keys x.org: ",
            &file,
            "tar --extract",
            "move that file out",
        ],
    );
    says(
        &text,
        &[
            "BAD  token key: ",
            "`patchpost restore BACKUP --data NEW-FOLDER",
        ],
    );
    // What hangs on the keys is not told as if it were another fault.
    assert_eq!(text.matches("it holds no RSA key").count(), 1, "{text}");
    says(&text, &["note records: ", "mend the keys"]);
    let said = server.cli_fails(&["serve"]);
    assert!(
        said.contains("token key") && said.contains("`patchpost restore BACKUP"),
        "{said}"
    );

    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
        select 99, 'future', success, checksum, 0 from _sqlx_migrations where version = 1";
    write(&server, newer);
    let (_, text) = doctor(&server, &[]);
    let wrote = "BAD  database: a newer patchpost than this one (";
    says(
        &text,
        &[wrote, "its tables have version 99", "install that version"],
    );

    // Somebody else asks.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(server.dir.path(), open).unwrap();
    std::fs::write(server.data().join("patchpost.toml"), "").unwrap();
    let settings = server.dir.path().join("open.toml");
    std::fs::write(&settings, "").unwrap();
    let elsewhere = ["--config", settings.to_str().unwrap()];
    for more in [&[][..], &elsewhere] {
        let text = as_nobody(&server, more);
        assert!(!text.contains("os error"), "{text}");
        says(&text, &["BAD ", "-- patchpost doctor "]);
    }
}

/// What `doctor` says to somebody else.
fn as_nobody(server: &TestServer, more: &[&str]) -> String {
    let own = server.command();
    let mut nobody = std::process::Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    nobody
        .arg(own.get_program())
        .args(own.get_args())
        .arg("doctor")
        .args(more);
    for (name, value) in own.get_envs() {
        nobody.env(name, value.unwrap_or_default());
    }
    let out = nobody.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1), "{text}");
    text
}
