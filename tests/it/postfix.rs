//! Behind and before a real Postfix that is set up by `patchpost print postfix`, and by nothing else that matters.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dkim::{Key, wish};
use super::harness::{Sink, Smtp, TestServer, free_port, report};
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
myhostname = lists.example.org
mydestination = $myhostname, localhost.$mydomain, localhost
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
relayhost = SINK
disable_dns_lookups = yes
smtpd_peername_lookup = no
maillog_file = HOME/log/mail.log
maillog_file_prefixes = HOME/log
import_environment = MAIL_CONFIG TZ
";

pub struct Postfix {
    _folder: tempfile::TempDir,
    etc: PathBuf,
    home: PathBuf,
    pub address: String,
}

impl Postfix {
    /// On a port that was free, with these settings besides; mail for others goes to the sink.
    pub fn start(port: u16, settings: &str, sink: &Sink) -> Postfix {
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
        std::fs::write(etc.join("main.cf"), last(&format!("{own}{settings}\n"))).unwrap();
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

    /// Runs a line that `patchpost print postfix` wants given once, on this Postfix.
    pub fn obey(&self, line: &str) {
        let own = format!("postconf -c {} ", self.etc.display());
        let line = line.replacen("postconf ", &own, 1);
        tools::run(as_root("sh").arg("-c").arg(line));
        self.tell("reload");
    }

    /// Tries again to send what waits.
    /// Puts a mail into its queue, unasked.
    fn take(&self, from: &str, to: &str) {
        let mut command = as_root("sendmail");
        command
            .env("MAIL_CONFIG", &self.etc)
            .arg("-C")
            .arg(&self.etc);
        command.args(["-i", "-f", from, to]);
        tools::run(command.stdin(std::process::Stdio::null()));
    }

    pub fn flush(&self) {
        self.tell("flush");
    }

    pub fn tell(&self, word: &str) {
        // Whatever keeps it from ending must not keep the tests from it.
        let mut command = as_root("timeout");
        command.args(["60", "postfix", "-c"]);
        command.arg(&self.etc).arg(word);
        tools::run(command.env("MAIL_CONFIG", &self.etc));
    }

    /// Adds a setting, which wins over those above it.
    fn set(&self, line: &str) {
        let file = self.etc.join("main.cf");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, last(&format!("{text}{line}\n"))).unwrap();
        self.tell("reload");
    }

    pub fn log(&self) -> String {
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

/// Each setting once, as it was written last: of one that stands twice Postfix warns whenever it reads them, and its log daemon,
/// which then writes to itself, may wait for itself for ever.
fn last(text: &str) -> String {
    let name = |line: &str| {
        let setting = !line.starts_with(['#', ' ', '\t']);
        let name = line.split_once('=').filter(|_| setting)?.0.trim();
        Some(name.to_owned())
    };
    let lines: Vec<&str> = text.lines().collect();
    let overridden = |at: usize| {
        let own = name(lines[at]);
        own.is_some() && lines[at + 1..].iter().any(|l| name(l) == own)
    };
    let kept = (0..lines.len()).filter(|at| !overridden(*at));
    kept.map(|at| lines[at].to_owned() + "\n").collect()
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

/// What `patchpost print postfix` says for this server.
pub fn printed(server: &TestServer) -> String {
    let mut print = server.command();
    print.env("PATCHPOST_LMTP_LISTEN", &server.addresses["lmtp"]);
    tools::run(print.args(["print", "postfix"]))
}

/// A patch with a body that somebody on the way may want to change, and fields besides.
fn patch(name: &str, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "From: Ana Lima <ana@example.org>\r\nTo: dev@lists.example.org\r\nSubject: [PATCH] data: {name}\r\n\
         Date: Mon, 24 Nov 2025 00:00:00 +0000\r\nMessage-ID: <{name}@example.org>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n{fields}\r\nŻółć.\r\n---\r\n\
         diff --git a/d b/d\r\n--- a/d\r\n+++ b/d\r\n@@ -1 +1 @@\r\n-a\r\n+{body}\r\n--\x20\r\n2.43.0\r\n"
    )
    .into_bytes()
}

/// What is signed, by name: the form, fields that are signed besides, and the mail.
fn signed() -> Vec<(&'static str, &'static str, Vec<&'static str>, Vec<u8>)> {
    let long = "ż".repeat(2_500);
    let ends = "x \t \r\n+\r\n \r\n.\r\n..\r\n.x\r\nFrom here on, dots\r\n+\tżółw\t \r\n\r\n\r\n";
    let wide = format!("X-Wide: {}\r\n", "w".repeat(3_000));
    // Postfix would complete addresses and fields of clients on its own machine, as we are.
    let bare = "Cc: ben, \"Chen (c)\"  <chen>\r\nX-Tab:\ta  b \r\n";
    vec![
        ("long", "simple", vec![], patch("long", "", &long)),
        ("ends", "simple", vec![], patch("ends", "", ends)),
        (
            "ends-relaxed",
            "relaxed",
            vec![],
            patch("ends-relaxed", "", ends),
        ),
        ("wide", "simple", vec!["x-wide"], patch("wide", &wide, "x")),
        ("bare", "simple", vec!["x-tab"], patch("bare", bare, "x")),
    ]
}

#[test]
fn the_printed_postfix_hands_every_byte_in_and_out_and_refuses_unknown_lists_itself() {
    // The strictest next hop: it does not say that it takes eight bits.
    let sink = Sink::start_without_8bit();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let folder = tempfile::tempdir().unwrap();
    let key = Key::make(folder.path());
    let zone = folder.path().join("zone");
    std::fs::write(
        &zone,
        format!("s._domainkey.example.org TXT {}\n", key.record),
    )
    .unwrap();
    let server = TestServer::start_with(&[
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &address.to_string()),
        ("PATCHPOST_DNS_ZONE", zone.to_str().unwrap()),
        ("PATCHPOST_SITE_HOSTNAME", "lists.example.org"),
        ("PATCHPOST_SITE_DOMAIN", "lists.example.org"),
    ]);
    server.cli(&["list", "create", "dev"]);
    server.cli(&["member", "add", "dev", "ben@example.com"]);
    let other = "talk@lists.example.net";
    server.cli(&["list", "create", "talk", "--address", other]);
    let settings = printed(&server);
    let postfix = Postfix::start(address.port(), &settings, &sink);
    let mut smtp = server.wait_for("Postfix to listen", || {
        let up = TcpStream::connect(&postfix.address).is_ok();
        up.then(|| Smtp::connect(&postfix.address))
    });

    // The client itself is told, so that nobody gets a bounce.
    let reply = smtp.say("MAIL FROM:<forged@example.net>");
    assert!(reply.starts_with("250"), "{reply}");
    for unknown in [
        "nobody@lists.example.org",
        "dev+nothing@lists.example.org",
        "dev@lists.example.net",
    ] {
        let reply = smtp.say(&format!("RCPT TO:<{unknown}>"));
        assert!(reply.starts_with("550 5.1.1"), "{unknown}: {reply}");
    }
    let reply = smtp.say(&format!("RCPT TO:<{other}>"));
    assert!(reply.starts_with("250"), "{reply}");
    smtp.say("RSET");
    let mut large = Smtp::connect(&postfix.address);
    let reply = large.say("MAIL FROM:<forged@example.net> SIZE=10485761");
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    let doctor = server.command().arg("doctor").output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let content = format!(
        "ok   mail in lists.example.org: {address} takes mail for {LIST} and refuses unknown lists"
    );
    assert!(
        doctor.contains(&content) && doctor.contains("ok   helo: "),
        "{doctor}"
    );
    let content = format!("ok   mail in lists.example.net: {address} takes mail for {other} and");
    assert!(doctor.contains(&content), "{doctor}");

    let mails = signed();
    let wishes: Vec<_> = mails
        .iter()
        .map(|(_, form, fields, mail)| wish(mail, form, fields))
        .collect();
    let sent = key.sign(&wishes);
    for mail in &sent {
        let (reply, _) = smtp.send("ana@example.org", &[LIST], mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
    for ((name, ..), sent) in mails.iter().zip(&sent) {
        assert_only_traced(&arrived(&server, name), sent);
        let page = server.page(&format!("/dev/{name}@example.org/"));
        assert!(
            page.contains("authenticated: DKIM example.org"),
            "{name}: {page}"
        );
    }
    let copies = server.wait_for("the member's copies", || {
        Some(sink.posted()).filter(|copies| copies.len() >= sent.len())
    });
    let mut longest = 0;
    for sent in &sent {
        let copy = copies.iter().find(|c| c.bytes.ends_with(sent));
        let copy = copy.unwrap_or_else(|| panic!("changed: {}", String::from_utf8_lossy(sent)));
        assert_eq!(copy.recipients, ["ben@example.com"]);
        let lines = copy.bytes.split(|b| *b == b'\n').map(<[u8]>::len);
        longest = longest.max(lines.max().unwrap_or_default());
    }
    let bytes: Vec<Vec<u8>> = copies.iter().map(|c| c.bytes.clone()).collect();
    assert_eq!(key.verify(&bytes), vec!["pass"; sent.len()]);
    assert!(longest > 5_000, "the longest line came whole: {longest}");
    report(&format!(
        "Postfix before and behind: {} signed mails whole, the longest line {longest} octets",
        sent.len()
    ));
    server.drain();
    let series = server.json(&["series", "ls"]);
    assert_eq!(series.as_array().unwrap().len(), sent.len(), "{series}");

    // As Debian has it: the machine's name is its own, so that it looks for users in the place of lists.
    postfix.set("mydestination = $myhostname, localhost");
    server.wait_for("doctor to name what makes Postfix refuse all lists", || {
        let doctor = server.command().arg("doctor").output().unwrap();
        let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let refused =
            format!("BAD  mail in lists.example.org: {address} refuses {LIST}: 550 5.1.1");
        let mend = "take it, and $myhostname if that is the same, out of mydestination";
        (doctor.contains(&refused) && doctor.contains(mend)).then_some(())
    });
}

#[test]
fn postfix_takes_mail_soon_after_patchpost_is_back() {
    let sink = Sink::start();
    let lmtp = format!("127.0.0.1:{}", free_port());
    let mut server = TestServer::start_with(&[
        ("PATCHPOST_LMTP_LISTEN", &lmtp),
        ("PATCHPOST_SITE_HOSTNAME", "lists.example.org"),
        ("PATCHPOST_SITE_DOMAIN", "lists.example.org"),
    ]);
    server.cli(&["list", "create", "dev"]);
    let postfix = Postfix::start(free_port(), &printed(&server), &sink);
    let answer = |to: &str| {
        let mut smtp = Smtp::connect(&postfix.address);
        smtp.say("MAIL FROM:<ana@example.net>");
        smtp.say(&format!("RCPT TO:<{to}>"))
    };
    server.wait_for("Postfix to listen", || {
        TcpStream::connect(&postfix.address).ok()
    });
    server.kill();
    // What was taken before and waits: Postfix tries it again and again, and would take the place for dead.
    for _ in 0..10 {
        postfix.take("ana@example.net", LIST);
    }
    for other in ["a", "b", "c", "d", "e", "dev"] {
        let reply = answer(&format!("{other}@lists.example.org"));
        assert!(reply.starts_with("450"), "{other}: {reply}");
    }
    server.launch();
    let began = std::time::Instant::now();
    server.wait_for("Postfix to take mail", || {
        answer(LIST).starts_with("250").then_some(())
    });
    let took = began.elapsed().as_secs();
    report(&format!(
        "Postfix takes mail {took} s after patchpost is back"
    ));
    assert!(took < 25, "{took} s");
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
