//! An operator's way from nothing to a site that works: `init`, DNS, `print`, `doctor`.

mod setup;
mod web;
mod zone;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::harness::{DEADLINE, TestServer, free_port};
use zone::Zone;

/// A machine with nothing on it but the program, and a DNS of its own.
struct Desk {
    dir: tempfile::TempDir,
    zone: Zone,
    environment: Vec<(String, String)>,
    serving: Option<Child>,
}

struct Said {
    fine: bool,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Desk {
        let zone = Zone::start();
        let mut environment = vec![("PATCHPOST_DNS_SERVERS".to_owned(), zone.address.clone())];
        // Wherever the tests run, the usual ports may be taken.
        for name in ["LMTP", "HTTP", "OPS"] {
            environment.push((format!("PATCHPOST_{name}_LISTEN"), "127.0.0.1:0".to_owned()));
        }
        Desk {
            dir: tempfile::tempdir().unwrap(),
            zone,
            environment,
            serving: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchpost"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PATCHPOST_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().cloned());
        command.env("PATCHPOST_DATA", self.data());
        command
    }

    fn run(&self, line: &str, input: &str) -> Said {
        let mut command = self.command();
        command.args(line.split_whitespace()).stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that asks nothing reads nothing.
        let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
        let out = child.wait_with_output().unwrap();
        Said {
            fine: out.status.success(),
            out: String::from_utf8(out.stdout).unwrap(),
            err: String::from_utf8(out.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn good(&self, line: &str) -> String {
        let said = self.run(line, "");
        assert!(said.fine, "{line}: {}{}", said.out, said.err);
        said.out
    }

    #[track_caller]
    fn refused(&self, line: &str, words: &str) {
        let said = self.run(line, "");
        assert!(
            !said.fine && said.err.contains(words),
            "{line}: {}{}",
            said.out,
            said.err
        );
    }

    /// What `doctor` finds.
    fn doctor(&self) -> Vec<Value> {
        let said = self.run("doctor --json", "");
        let found: Value =
            serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.err));
        let found = found.as_array().unwrap().clone();
        assert_eq!(said.fine, !found.iter().any(is_bad), "{found:#?}");
        found
    }

    fn serve(&mut self) {
        let ready = self.dir.path().join("ready.json");
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let mut command = self.command();
        command
            .args(["serve", "--ready-file"])
            .arg(&ready)
            .stderr(log);
        self.serving = Some(command.stdout(Stdio::null()).spawn().unwrap());
        let started = Instant::now();
        while !ready.exists() {
            assert!(started.elapsed() < DEADLINE, "it did not start");
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(mut child) = self.serving.take() {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn is_bad(finding: &Value) -> bool {
    finding["state"] == "bad"
}

/// The bad findings; how full the disk of whoever runs the tests is is not theirs.
fn bad(found: &[Value]) -> Vec<&Value> {
    found
        .iter()
        .filter(|f| is_bad(f) && !f["what"].as_str().unwrap().starts_with("disk"))
        .collect()
}

/// A web server that has nothing but a certificate, for 127.0.0.1.
fn web_server() -> String {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            // Who looks at the certificate goes away then.
            let _looked = tls.complete_io(&mut stream);
        }
    });
    address
}

/// A site behind a mail server on this machine, for which patchpost's own listener stands, as `init` sets it up.
fn site() -> (Desk, String) {
    let mut desk = Desk::new();
    let smtp = format!("127.0.0.1:{}", free_port());
    desk.environment
        .push(("PATCHPOST_SMTP_LISTEN".to_owned(), smtp.clone()));
    let web = web_server();
    let printed = desk.good(&format!(
        "init --hostname mx.example.org --domain lists.example.org --operator ana@example.net --address 192.0.2.10 \
         --address 2001:db8::10 --postfix --relay {smtp} --base-url https://{web} --list dev --yes"
    ));
    desk.serve();
    (desk, printed)
}

#[test]
fn doctor_is_content_with_the_printed_records_and_names_each_that_is_broken() {
    let (desk, printed) = site();
    let of_dns = |found: &[Value]| {
        let bad = bad(found).into_iter();
        bad.map(|f| f["what"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let nothing = of_dns(&desk.doctor());
    assert!(
        nothing.iter().all(|what| what.starts_with("dns ")),
        "{nothing:?}"
    );

    desk.zone.set(&printed);
    let found = desk.doctor();
    assert_eq!(
        bad(&found),
        Vec::<&Value>::new(),
        "all is as it was printed"
    );
    let records: Vec<&str> = printed.lines().filter(|l| !l.starts_with(';')).collect();
    let kinds: Vec<&str> = records
        .iter()
        .map(|r| r.split(' ').nth(3).unwrap())
        .collect();
    let keys = records
        .iter()
        .filter(|r| r.contains("._domainkey.lists.example.org. 3600 IN TXT \"v=DKIM1;"));
    assert_eq!(keys.count(), 1, "{printed}");
    for kind in ["A", "AAAA", "PTR", "MX", "TXT"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }

    for record in &records {
        let others = printed.lines().filter(|line| line != record);
        let others: Vec<&str> = others.collect();
        let mut worse = vec![others.join("\n")];
        for instead in spoilt(record) {
            worse.push(format!("{}\n{instead}", others.join("\n")));
        }
        for zone in worse {
            desk.zone.set(&zone);
            let found = desk.doctor();
            let bad = bad(&found);
            let named = bad
                .iter()
                .any(|f| f["mend"].as_str().unwrap().contains(record));
            assert!(named, "without {record} in\n{zone}\n{bad:#?}");
            // Nobody is told to set what is there.
            let is_there = |f: &&Value| {
                let mend = f["mend"].as_str().unwrap();
                let mut there = others.iter().filter(|line| !line.starts_with(';'));
                there.any(|line| mend.contains(line))
            };
            let told = bad.iter().copied().find(is_there);
            assert!(told.is_none(), "without {record}: {told:#?}");
        }
    }
}

/// Records that stand there instead of a good one, or beside it.
fn spoilt(record: &str) -> Vec<String> {
    let (name, _) = record.split_once(' ').unwrap();
    let text = |value: &str| format!("{name} 3600 IN TXT \"{value}\"");
    match record.split(' ').nth(3).unwrap() {
        "A" => vec![format!("{name} 3600 IN A 192.0.2.77")],
        "AAAA" => vec![format!("{name} 3600 IN AAAA 2001:db8::77")],
        "PTR" => vec![format!("{name} 3600 IN PTR host-10.provider.example.")],
        "MX" => vec![
            format!("{name} 3600 IN MX 10 mail.elsewhere.example."),
            format!("{name} 3600 IN MX 0 ."),
        ],
        _ if record.contains("v=spf1") => vec![
            text("v=spf1 -all"),
            text("v=spf1 +all"),
            text("v=spf1 ip4:192.0.2.10 -all"),
            text("another text"),
            format!("{record}\n{}", text("v=spf1 a -all")),
        ],
        _ if record.contains("v=DKIM1") => vec![
            text("v=DKIM1; k=rsa; p="),
            text("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"),
        ],
        _ => vec![text("v=DMARC1"), format!("{record}\n{record}")],
    }
}

#[test]
fn what_else_may_be_wrong_is_named_too() {
    let (desk, printed) = site();
    desk.zone.set(&printed);
    #[track_caller]
    fn check(desk: &Desk, set: &[(&str, &str)], what: &str, words: &str) {
        let mut command = desk.command();
        let out = command
            .args(["doctor", "--json"])
            .envs(set.iter().copied())
            .output()
            .unwrap();
        let found: Value = serde_json::from_slice(&out.stdout).unwrap();
        let found = found.as_array().unwrap();
        let one = found.iter().find(|f| f["what"] == what);
        let one = one.unwrap_or_else(|| panic!("nothing on {what} in {found:#?}"));
        let text = format!(
            "{} > {}",
            one["detail"].as_str().unwrap(),
            one["mend"].as_str().unwrap()
        );
        assert!(text.contains(words), "{set:?}: {one:#?}");
    }
    let sink = super::harness::Sink::start();
    let takes_all = [("PATCHPOST_DELIVERY_RELAY", sink.address.as_str())];
    check(
        &desk,
        &takes_all,
        "mail in lists.example.org",
        "takes mail for lists that are not there",
    );
    check(
        &desk,
        &takes_all,
        "helo",
        "postconf -e myhostname=mx.example.org",
    );
    let far = [("PATCHPOST_DELIVERY_RELAY", "smtp.example.net:587")];
    check(
        &desk,
        &far,
        "dns SPF lists.example.org",
        "ask the provider of smtp.example.net for its `include:`",
    );
    check(&desk, &far, "relay tls", "delivery.relay_tls");
    let out = desk.command().args(["print", "dns"]).envs(far).output();
    let out = String::from_utf8(out.unwrap().stdout).unwrap();
    assert!(
        out.contains("TXT \"v=spf1 mx ~all\"") && out.contains("; SPF: ask the provider"),
        "{out}"
    );
    let nobody = format!("https://127.0.0.1:{}", free_port());
    check(
        &desk,
        &[("PATCHPOST_HTTP_BASE_URL", &nobody)],
        "pages",
        "cannot connect",
    );
    let other = desk
        .environment
        .iter()
        .find(|(n, _)| n == "PATCHPOST_SMTP_LISTEN");
    let plain = format!("https://{}", other.unwrap().1);
    check(
        &desk,
        &[("PATCHPOST_HTTP_BASE_URL", &plain)],
        "pages",
        "no TLS with",
    );
    check(
        &desk,
        &[("PATCHPOST_HTTP_BASE_URL", "")],
        "pages",
        "https://mx.example.org",
    );
    check(
        &desk,
        &[("PATCHPOST_LIMITS_FREE_DISK_MB", "999999999")],
        "disk",
        "limits.free_disk_mb",
    );
    check(
        &desk,
        &[("PATCHPOST_DNS_SERVERS", "127.0.0.1:9")],
        "dns",
        "dns.servers",
    );

    let end = |year| {
        let mut wish = rcgen::CertificateParams::new(["mx.example.org".to_owned()]).unwrap();
        wish.not_after = rcgen::date_time_ymd(year, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = wish.self_signed(&key).unwrap();
        let files = ["cert.pem", "key.pem"].map(|n| desk.dir.path().join(n).display().to_string());
        std::fs::write(&files[0], made.pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        std::fs::set_permissions(&files[1], PermissionsExt::from_mode(0o644)).unwrap();
        files
    };
    for (year, words) in [
        (2020, "ended on 2020-01-02"),
        (2090, "holds until 2090-01-02"),
    ] {
        let [cert, key] = end(year);
        let set = [
            ("PATCHPOST_SMTP_TLS_CERT", cert.as_str()),
            ("PATCHPOST_SMTP_TLS_KEY", &key),
        ];
        check(&desk, &set, "tls", words);
        check(&desk, &set, &format!("secret {key}"), "chmod o-rwx");
        let renamed = [set[0], set[1], ("PATCHPOST_SITE_HOSTNAME", "other.example")];
        if year == 2090 {
            check(
                &desk,
                &renamed,
                "tls",
                "certbot certonly --domain other.example",
            );
        }
    }
    let password = desk.dir.path().join("password").display().to_string();
    std::fs::write(&password, "secret").unwrap();
    let login = [
        ("PATCHPOST_DELIVERY_RELAY_USER", "lists"),
        ("PATCHPOST_DELIVERY_RELAY_PASSWORD_FILE", &password),
    ];
    check(&desk, &login, &format!("secret {password}"), "chmod o-rwx");
    let file = desk.dir.path().join("a.tar.zst");
    check(&desk, &[], "backup", "none was made yet");
    desk.good(&format!("backup {}", file.display()));
    check(&desk, &[], "backup", "made on 2");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds what the settings hold");
}

#[test]
fn init_asks_again_what_cannot_be_and_writes_what_was_answered() {
    let desk = Desk::new();
    let answers = "bad name\nlists.example.org\n\nana\nana@example.net\nnowhere\n192.0.2.10\nmaybe\nno\n\
                   smtp.example.net\nsmtp.example.net:587\n\n\n\n";
    let said = desk.run("init", answers);
    assert!(said.fine, "{}", said.err);
    for words in [
        "site.hostname cannot be \"bad name\"",
        "say yes or no",
        "the port is missing",
    ] {
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
    let file = desk.data().join("patchpost.toml");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let text = std::fs::read_to_string(&file).unwrap();
    for line in [
        "hostname = \"lists.example.org\"",
        "operator = \"ana@example.net\"",
        "addresses = \"192.0.2.10\"",
        "relay = \"smtp.example.net:587\"",
        "relay_tls = \"starttls\"",
        "base_url = \"https://lists.example.org\"",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(
        text.contains(":25\"\n") && text.contains("# How copies leave."),
        "{text}"
    );
    assert!(said.out.contains("TXT \"v=spf1 mx ~all\""), "{}", said.out);
    assert!(said.out.contains(" patchpost list create"), "{}", said.out);
    // What it printed is there again, and nothing is overwritten.
    for line in desk.good("print dns").lines() {
        assert!(said.out.contains(line), "{line}");
    }
    desk.refused("init --yes", "exists already");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn init_says_which_option_is_missing_and_leaves_nothing_behind() {
    let desk = Desk::new();
    let named = "init --yes --hostname lists.example.org";
    desk.refused("init --yes --hostname lists", "say --hostname");
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    if !own.contains('.') {
        desk.refused("init --yes", "say --hostname");
    }
    desk.refused(named, "say --operator");
    desk.refused(
        &format!("{named} --operator ana@lists.example.org"),
        "lists' own domain",
    );
    let whole = format!("{named} --operator ana@example.net --address 192.0.2.1");
    desk.refused(&format!("{whole} --direct"), "say --relay");
    desk.refused(
        &format!("{whole} --postfix --direct"),
        "cannot be used with",
    );
    desk.refused(&format!("{whole} --postfix --list all"), "all");
    desk.refused(
        &format!("{whole} --postfix --relay x"),
        "delivery.relay cannot be \"x\"",
    );
    let said = desk.run("init", "lists.example.org\n");
    assert!(!said.fine && said.err.contains("say --yes"), "{}", said.err);
    assert!(!desk.data().exists());
    // A folder of somebody else: the server could not read what was made there.
    let foreign = desk.dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    let foreign = match std::os::unix::fs::chown(&foreign, Some(1), None) {
        Ok(()) => foreign.display().to_string(),
        Err(_) => "/var/lib".to_owned(),
    };
    let there = format!("{whole} --postfix --data {foreign}");
    let owner = if foreign == "/var/lib" {
        "root"
    } else {
        "daemon"
    };
    desk.refused(&there, &format!("runuser --user={owner} -- patchpost init"));
    for command in ["dkim rotate x.example", "dkim drop x.example p1"] {
        let line = format!("{command} --data {foreign}");
        desk.refused(&line, &format!("-- patchpost {line}"));
    }
    // With the package and `init` itself these are the steps that the manual counts.
    let said = desk.good(&format!("{whole} --postfix --list dev"));
    assert!(said.contains("; Left to do, 8 steps:\n;  1-6 "), "{said}");
    let manual = include_str!("../../docs/operating.md");
    assert!(manual.contains("\nTen steps ") && manual.contains("; six of them are records in DNS"));
    for step in 1..=10 {
        let begins = [format!("\n{step}. "), format!("\n{step}. to ")];
        assert!((4..=8).contains(&step) || begins.iter().any(|b| manual.contains(b)));
    }
}

#[test]
fn what_cannot_be_printed_says_which_setting_is_missing() {
    let desk = Desk::new();
    let slip = format!(
        "there is no site with a name of its own in {}",
        desk.data().display()
    );
    for what in ["dns", "dns --json", "postfix", "setup", "nginx", "caddy"] {
        desk.refused(&format!("print {what}"), &slip);
    }
    std::fs::create_dir(desk.data()).unwrap();
    std::fs::write(
        desk.data().join("patchpost.toml"),
        "[site]\nhostname = \"lists.example.org\"\n[lmtp]\nlisten = \"\"\n",
    )
    .unwrap();
    let mut command = desk.command();
    let out = command
        .env("PATCHPOST_LMTP_LISTEN", "")
        .args(["print", "postfix"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        !out.status.success() && said.contains("lmtp.listen is empty"),
        "{said}"
    );
}

/// The server itself tells its operator, once, and again when all is well.
#[test]
fn the_operator_is_told_by_mail_when_something_turns_bad_and_when_it_is_well() {
    let full = [
        ("PATCHPOST_SITE_HOSTNAME", "mx.example.org"),
        ("PATCHPOST_SITE_OPERATOR", "ana@example.net"),
        ("PATCHPOST_LIMITS_FREE_DISK_MB", "999999999"),
    ];
    let server = TestServer::start_with(&full);
    let told = server.wait_for("the operator's mail", || {
        let entries = std::fs::read_dir(server.data().join("outbox")).ok()?;
        let mails = entries.map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap());
        mails
            .into_iter()
            .find(|mail| mail.contains("Subject: Trouble at mx.example.org"))
    });
    for words in [
        "To: ana@example.net",
        "Auto-Submitted: auto-generated",
        "limits.free_disk_mb",
        "    disk nearly full",
        "To mend it: make room",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

/// By the clock that is handed in: five days of a disk that fills up and is cleared.
#[tokio::test]
async fn trouble_is_told_once_a_day_by_the_clock_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let config = patchpost::config::parse(
        "test",
        "[site]\nhostname = \"mx.example.org\"\noperator = \"ana@example.net\"",
        [],
    )
    .unwrap();
    let ctx = patchpost::cli::open(folder.path(), &config).await.unwrap();
    let watched = |bad: bool| {
        [patchpost::pipeline::Watched {
            what: "disk".to_owned(),
            bad,
            detail: "4 MB free, 1 %".to_owned(),
            mend: if bad { "make room" } else { "" }.to_owned(),
        }]
    };
    let mut told = Vec::new();
    for hour in 0..120 {
        let now = patchpost::types::Timestamp::from_secs(1_800_000_000 + hour * 3600);
        let bad = (3..40).contains(&hour) || hour == 41;
        if ctx.tell_operator(&watched(bad), now).await.unwrap() > 0 {
            told.push(hour);
        }
    }
    assert_eq!(
        told,
        [3, 40],
        "when it turned bad, and when it was well; what lasts an hour is not told"
    );
    assert_eq!(ctx.store.count_letters().await.unwrap(), (2, 0));
}
