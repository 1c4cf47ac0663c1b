//! Behind a real Postfix that is set up by the lines of the README, and by nothing else that matters.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dkim::{Key, wish};
use super::harness::{Sink, Smtp, TestServer};
use super::tools;

const LIST: &str = "dev@lists.example.org";

/// A Postfix of the test's own: nothing of the machine's is read, all is in one folder.
const OWN: &str = "\
compatibility_level = 3.6
queue_directory = HOME/spool
data_directory = HOME/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_transport = error:none
relayhost = SINK
disable_dns_lookups = yes
smtpd_peername_lookup = no
maillog_file = HOME/log/mail.log
maillog_file_prefixes = HOME/log
import_environment = MAIL_CONFIG TZ
";

/// The lines for `main.cf` that the README gives.
fn lines_of_the_readme() -> String {
    let readme = include_str!("../../README.md");
    let section = readme.split("## Behind Postfix").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter_map(|l| l.strip_prefix("    "));
    lines.collect::<Vec<_>>().join("\n")
}

struct Postfix {
    _folder: tempfile::TempDir,
    etc: PathBuf,
    home: PathBuf,
    address: String,
}

impl Postfix {
    /// On a port that was free, with these settings besides; mail for others goes to the sink.
    fn start(port: u16, settings: &str, sink: &Sink) -> Postfix {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("postfix");
        for name in ["etc", "spool", "data", "log"] {
            std::fs::create_dir_all(home.join(name)).unwrap();
        }
        // Its daemons run as other users and have to reach their folders.
        for folder in [folder.path(), &home] {
            open(folder);
        }
        let (host, relay) = sink.address.rsplit_once(':').unwrap();
        let own = OWN
            .replace("HOME", home.to_str().unwrap())
            .replace("SINK", &format!("[{host}]:{relay}"));
        let etc = home.join("etc");
        std::fs::write(etc.join("main.cf"), format!("{own}{settings}\n")).unwrap();
        std::fs::write(etc.join("master.cf"), services(port)).unwrap();
        tools::run(as_root("chown").arg("postfix").arg(home.join("data")));
        let postfix = Postfix {
            _folder: folder,
            etc,
            home,
            address: format!("127.0.0.1:{port}"),
        };
        postfix.tell("start");
        postfix
    }

    fn tell(&self, word: &str) {
        let mut command = as_root("postfix");
        command.arg("-c").arg(&self.etc).arg(word);
        tools::run(command.env("MAIL_CONFIG", &self.etc));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("log/mail.log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Postfix's log:\n{}", self.log());
        }
        self.tell("stop");
    }
}

fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Postfix starts as root only.
fn as_root(program: &str) -> Command {
    let own = tools::run(Command::new("id").arg("-u"));
    if own.trim() == "0" {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", "--preserve-env=MAIL_CONFIG", program]);
    command
}

/// Postfix's own table of services: one port of our choice, and nothing in a change root, where no system files are.
fn services(port: u16) -> String {
    let table = std::fs::read_to_string("/etc/postfix/master.cf.proto")
        .expect("the package postfix is there; `tests/install` installs it");
    let mut out = String::new();
    for line in table.lines().filter(|l| !l.starts_with('#')) {
        let mut fields: Vec<&str> = line.split_whitespace().collect();
        if line.starts_with(' ') || fields.len() < 8 {
            out.push_str(line);
        } else {
            fields[4] = "n";
            let address = format!("127.0.0.1:{port}");
            if fields[..2] == ["smtp", "inet"] {
                fields[0] = &address;
            }
            out.push_str(&fields.join(" "));
        }
        out.push('\n');
    }
    if !out.contains("\npostlog ") {
        out.push_str("postlog unix-dgram n - n - 1 postlogd\n");
    }
    out
}

fn patch(name: &str, line: &str) -> Vec<u8> {
    format!(
        "From: Ana Lima <ana@example.org>\r\nTo: dev@lists.example.org\r\nSubject: [PATCH] data: {name}\r\n\
         Date: Mon, 24 Nov 2025 00:00:00 +0000\r\nMessage-ID: <{name}@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nŻółć.\r\n---\r\n\
         diff --git a/d b/d\r\n--- a/d\r\n+++ b/d\r\n@@ -1 +1 @@\r\n-a\r\n+{line}\r\n--\x20\r\n2.43.0\r\n"
    )
    .into_bytes()
}

#[test]
fn the_readme_s_postfix_hands_over_every_byte_and_refuses_unknown_lists_itself() {
    let sink = Sink::start();
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    let server = TestServer::start_with(&[
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &address.to_string()),
    ]);
    server.cli(&["list", "create", "dev", "--address", LIST]);
    server.cli(&["member", "add", "dev", "ben@example.com"]);
    let settings = lines_of_the_readme();
    assert!(settings.contains("lmtp:inet:127.0.0.1:2424"), "{settings}");
    let lmtp = format!("lmtp:inet:{}", server.addresses["lmtp"]);
    let settings = settings.replace("lmtp:inet:127.0.0.1:2424", &lmtp);
    drop(probe);
    let postfix = Postfix::start(address.port(), &settings, &sink);
    let mut smtp = server.wait_for("Postfix to listen", || {
        let up = TcpStream::connect(&postfix.address).is_ok();
        up.then(|| Smtp::connect(&postfix.address))
    });

    // The client itself is told, so that nobody gets a bounce.
    let reply = smtp.say("MAIL FROM:<forged@example.net>");
    assert!(reply.starts_with("250"), "{reply}");
    for unknown in ["nobody", "dev+nothing"] {
        let reply = smtp.say(&format!("RCPT TO:<{unknown}@lists.example.org>"));
        assert!(reply.starts_with("550 5.1.1"), "{reply}");
    }
    smtp.say("RSET");
    let reply = smtp.say("MAIL FROM:<forged@example.net> SIZE=10485761");
    assert!(reply.starts_with("552 5.3.4"), "{reply}");

    let key = Key::make(server.dir.path());
    let long = patch("long", &"x".repeat(5_000));
    let signed = wish(&patch("signed", &"ż".repeat(2_500)), "simple", &[]);
    let signed = key.sign(&[signed]).remove(0);
    for mail in [&long, &signed] {
        let (reply, _) = smtp.send("ana@example.org", &[LIST], mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let kept = [("long", &long), ("signed", &signed)].map(|(name, sent)| {
        let kept = arrived(&server, name);
        assert_only_traced(&kept, sent);
        kept
    });
    let copies = server.wait_for("the member's copies", || {
        Some(sink.all()).filter(|copies| copies.len() >= 2)
    });
    for copy in &copies {
        assert_eq!(copy.recipients, ["ben@example.com"]);
        let whole = [&long, &signed]
            .iter()
            .any(|sent| copy.bytes.ends_with(sent));
        assert!(whole, "{}", String::from_utf8_lossy(&copy.bytes));
    }
    let with_signature = copies.into_iter().find(|c| c.bytes.ends_with(&signed));
    let copy = with_signature.expect("a copy of the signed mail").bytes;
    assert_eq!(key.verify(&[kept[1].clone(), copy]), ["pass", "pass"]);
    server.drain();
    let series = server.json(&["series", "ls"]);
    assert_eq!(series.as_array().unwrap().len(), 2, "{series}");
}

/// A mail of the archive, once it is there.
fn arrived(server: &TestServer, name: &str) -> Vec<u8> {
    let path = format!("/dev/{name}@example.org/eml");
    server.wait_for("the mail to arrive", || {
        let answer = server.get(&path);
        (answer.status == 200).then_some(answer.body)
    })
}

/// Postfix puts its trace field on top; from there on nothing differs.
#[track_caller]
fn assert_only_traced(kept: &[u8], sent: &[u8]) {
    let shown = String::from_utf8_lossy(kept);
    assert!(kept.ends_with(sent), "it was changed:\n{shown}");
    let top = String::from_utf8_lossy(&kept[..kept.len() - sent.len()]);
    let (first, rest) = top.split_once('\n').unwrap();
    assert!(first.starts_with("Received: from "), "{top}");
    assert!(rest.lines().all(|l| l.starts_with(['\t', ' '])), "{top}");
}
