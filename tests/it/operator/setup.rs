//! What root runs for a site: the printed script on another `/etc`, with programs that note what they were asked; and the printed unit.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::super::tools;
use super::{Desk, Said, site};

const INIT: &str = "init --hostname lists.example.org --operator ana@example.net --address 192.0.2.10 --list dev --yes";

/// A machine of Debian with Postfix, nginx and certbot, as far as the script sees it.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine {
            folder: tempfile::tempdir().unwrap(),
        };
        for name in [
            "bin",
            "etc/postfix",
            "etc/systemd/system",
            "etc/nginx/sites-enabled",
        ] {
            std::fs::create_dir_all(machine.path(name)).unwrap();
        }
        // All other programs of the machine that runs the tests are out of reach.
        for name in [
            "cat", "cp", "grep", "mkdir", "postconf", "rm", "sed", "tail", "tr",
        ] {
            let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
            let found = folders.iter().map(|f| f.join(name)).find(|p| p.exists());
            let found = found.unwrap_or_else(|| panic!("tests need {name}"));
            std::os::unix::fs::symlink(found, machine.path("bin").join(name)).unwrap();
        }
        let main = "compatibility_level = 3.6\nmyhostname = lists.example.org\n\
             mydestination = $myhostname, box.example.org, localhost\n\
             smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n";
        std::fs::write(machine.path("etc/postfix/main.cf"), main).unwrap();
        let master = "lmtp unix - - n - - lmtp\n";
        std::fs::write(machine.path("etc/postfix/master.cf"), master).unwrap();
        machine.program("id", "echo 0");
        let note = format!(
            "echo \"${{0##*/}} $*\" >>{}",
            machine.path("asked").display()
        );
        let live = machine.path("etc/letsencrypt/live/lists.example.org");
        let live = live.display();
        let got = format!(
            "[ $1 != plugins ] || {{ echo '* nginx'; exit; }}; {note}; mkdir -p {live}; : >{live}/fullchain.pem"
        );
        machine.program("postfix", &format!("{note}; [ $1 != status ]"));
        machine.program("certbot", &got);
        machine.program("nginx", &note);
        machine.program("systemctl", &format!("{note}; [ $1 != is-enabled ]"));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", self.path("bin"));
        command.env("MAIL_CONFIG", self.path("etc/postfix"));
        command
    }

    /// Gives the printed script as the manual says; what programs were asked.
    fn set_up(&self, script: &str) -> (Said, Vec<String>) {
        let _none = std::fs::remove_file(self.path("asked"));
        let here = script.replace("/etc/", &format!("{}/", self.path("etc").display()));
        let out = tools::output(self.command("/bin/sh").args(["-c", &here]));
        let said = Said {
            fine: out.status.success(),
            out: String::from_utf8(out.stdout).unwrap(),
            err: String::from_utf8(out.stderr).unwrap(),
        };
        let asked = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
        (said, asked.lines().map(str::to_owned).collect())
    }

    fn postfix(&self, name: &str) -> String {
        tools::run(
            self.command(self.path("bin/postconf").to_str().unwrap())
                .args(["-h", name]),
        )
        .trim()
        .to_owned()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

#[test]
fn one_script_sets_up_postfix_server_and_web_server_and_may_be_given_again() {
    let desk = Desk::new();
    desk.good(&format!("{INIT} --postfix"));
    let machine = Machine::new();
    let main = machine.read("etc/postfix/main.cf");
    let script = desk.good("print setup");
    let (said, asked) = machine.set_up(&script);
    assert!(said.fine, "{}{}", said.out, said.err);
    assert!(
        said.out
            .contains("setup: done; look whether all is well: runuser "),
        "{}",
        said.out
    );
    let expected = [
        "postfix status",
        "postfix start",
        "systemctl is-enabled --quiet patchpost",
        "systemctl daemon-reload",
        "systemctl enable --now patchpost",
        "certbot certonly --nginx --domain lists.example.org",
        "nginx -t",
        "systemctl reload-or-restart nginx",
    ];
    assert_eq!(asked, expected);
    let one = "check_recipient_access inline:{{lists.example.org = reject_unverified_recipient}}";
    let theirs = "permit_mynetworks, reject_unauth_destination";
    let restrictions = "smtpd_recipient_restrictions";
    assert_eq!(machine.postfix(restrictions), format!("{one}, {theirs}"));
    assert_eq!(
        machine.postfix("mydestination"),
        "box.example.org, localhost"
    );
    assert_eq!(machine.postfix("local_header_rewrite_clients"), "");
    // Each line that is printed for main.cf is there.
    for line in desk
        .good("print postfix")
        .lines()
        .filter(|l| !l.starts_with(['#', 'm']) || l.starts_with("message"))
    {
        let (name, value) = line.split_once('=').unwrap();
        let value = value.trim();
        let is = machine.postfix(name.trim());
        assert!(is.starts_with(value), "{line}: {is}");
    }
    let unit = machine.read("etc/systemd/system/patchpost.service");
    assert_eq!(unit, desk.good("print systemd"));
    let web = "etc/nginx/sites-enabled/patchpost";
    let nginx = desk.good("print nginx");
    let etc = format!("{}/", machine.path("etc").display());
    assert_eq!(machine.read(web), nginx.replace("/etc/", &etc));

    // Later: another domain, a list whose copies go over TLS only, and a site that was changed by hand.
    desk.good("list create users --address users@lists.example.net");
    desk.good("list create closed --style security");
    let by_hand = machine.read(web) + "# ours\n";
    std::fs::write(machine.path(web), &by_hand).unwrap();
    let script = desk.good("print setup");
    for _ in 0..2 {
        let (said, asked) = machine.set_up(&script);
        assert!(said.fine, "{}{}", said.out, said.err);
        assert!(!asked.iter().any(|a| a.starts_with("certbot")), "{asked:?}");
        let both = one.replace(
            "}}",
            "}, {lists.example.net = reject_unverified_recipient}}",
        );
        let sorted = |text: &str| {
            let mut words: Vec<String> = text
                .split(", ")
                .map(|w| w.replace(['{', '}'], ""))
                .collect();
            words.sort();
            words
        };
        let is = machine.postfix(restrictions);
        assert!(is.ends_with(&format!("}}}}, {theirs}")), "{is}");
        assert_eq!(is.matches("check_recipient_access").count(), 1, "{is}");
        assert_eq!(
            sorted(&is.replace("check_recipient_access inline:", "")),
            sorted(&format!("{both}, {theirs}").replace("check_recipient_access inline:", ""))
        );
        assert_eq!(machine.read(web), by_hand);
        assert_eq!(machine.read("etc/postfix/main.cf.before-patchpost"), main);
        assert!(
            machine
                .read("etc/postfix/master.cf")
                .contains("smtp_tls_security_level=encrypt")
        );
        assert!(
            machine
                .postfix("sender_dependent_default_transport_maps")
                .contains("closed")
        );
    }
}

#[test]
fn a_script_that_has_to_stop_says_what_is_missing_and_goes_on_when_given_again() {
    let desk = Desk::new();
    desk.good(&format!("{INIT} --direct --relay smtp.example.net:587"));
    let script = desk.good("print setup");
    assert!(!script.contains("postconf"), "{script}");
    let machine = Machine::new();
    machine.program("certbot", ":");
    let (said, _) = machine.set_up(&script);
    let words = "certbot has no plugin for nginx";
    assert!(!said.fine && said.err.contains(words), "{}", said.err);
    let plugin = "[ $1 != plugins ] || { echo '* nginx'; exit; }";
    machine.program(
        "certbot",
        &format!("{plugin}; echo 'no such name' >&2; exit 1"),
    );
    let (said, asked) = machine.set_up(&script);
    assert!(
        !said.fine && said.err.contains("the address of lists.example.org"),
        "{}",
        said.err
    );
    assert_eq!(
        asked.last().unwrap(),
        "systemctl enable --now patchpost",
        "mail comes in all the same"
    );
    machine.program("certbot", plugin);
    let (said, asked) = machine.set_up(&script);
    assert!(said.fine, "{}", said.err);
    assert_eq!(asked.last().unwrap(), "systemctl reload-or-restart nginx");
    // Another web server, and none.
    std::fs::remove_file(machine.path("bin/nginx")).unwrap();
    let (said, _) = machine.set_up(&script);
    let words = "there is no web server here; apt-get install nginx";
    assert!(!said.fine && said.err.contains(words), "{}", said.err);
    machine.program("apache2", "");
    let (said, _) = machine.set_up(&script);
    assert!(said.fine && said.out.contains("Apache is here"));
    machine.program("caddy", "");
    std::fs::create_dir(machine.path("etc/caddy")).unwrap();
    let file = "etc/caddy/Caddyfile";
    std::fs::write(machine.path(file), ":80 {\n}").unwrap();
    for _ in 0..2 {
        let (said, asked) = machine.set_up(&script);
        assert!(said.fine, "{}", said.err);
        assert_eq!(asked.last().unwrap(), "systemctl reload-or-restart caddy");
        let expected = format!(":80 {{\n}}\n{}", desk.good("print caddy"));
        assert_eq!(machine.read(file), expected);
    }
    machine.program("id", "echo 1000");
    let (said, asked) = machine.set_up(&script);
    assert!(
        !said.fine && said.err.contains("this is for root") && asked.is_empty(),
        "{}",
        said.err
    );
}

/// What somebody else set up stays as it is, and the script says what it would have cost.
#[test]
fn a_script_does_not_take_what_serves_something_else() {
    let desk = Desk::new();
    desk.good(&format!("{INIT} --postfix"));
    let script = desk.good("print setup");
    let machine = Machine::new();
    let main = machine.read("etc/postfix/main.cf");
    let stops = |words: &str| {
        let (said, asked) = machine.set_up(&script);
        assert!(!said.fine && said.err.contains(words), "{}", said.err);
        asked
    };
    for (line, words) in [
        (
            "virtual_mailbox_domains = Lists.Example.org, users.example\n",
            "takes mail for users.example ",
        ),
        (
            "virtual_mailbox_maps = hash:/x/users\n",
            "takes mail for hash:/x/users ",
        ),
        (
            "virtual_transport = lmtp:unix:private/dovecot-lmtp\n",
            "to lmtp:unix:private/dovecot-lmtp;",
        ),
    ] {
        let theirs = format!("{main}{line}");
        std::fs::write(machine.path("etc/postfix/main.cf"), &theirs).unwrap();
        assert!(stops(words).is_empty(), "nothing is begun");
        assert_eq!(machine.read("etc/postfix/main.cf"), theirs);
    }
    std::fs::write(machine.path("etc/postfix/main.cf"), main).unwrap();

    let unit = "etc/systemd/system/patchpost.service";
    std::fs::write(machine.path(unit), "[Service]\n").unwrap();
    stops("patchpost.service is there and is not what would be written");
    assert_eq!(machine.read(unit), "[Service]\n");
    std::fs::remove_file(machine.path(unit)).unwrap();
    machine.program("systemctl", "");
    stops("runs another folder or program");
    assert!(!machine.path(unit).exists());
    machine.program("systemctl", "[ $1 != is-enabled ]");

    let web = "etc/nginx/sites-enabled/patchpost";
    let site = "server { server_name other.example; }\n";
    std::fs::write(machine.path(web), site).unwrap();
    stops("has no server_name lists.example.org;");
    assert_eq!(machine.read(web), site);
    std::fs::remove_file(machine.path(web)).unwrap();
    machine.program("nginx", "exit 1");
    stops("is taken away again");
    assert!(!machine.path(web).exists());
    machine.program("nginx", "");
    let (said, _) = machine.set_up(&script);
    assert!(said.fine, "{}", said.err);
}

/// The user that runs the server writes what the script is made of.
#[test]
fn no_script_is_made_without_a_site_or_of_words_that_a_shell_could_read() {
    let desk = Desk::new();
    for what in ["setup", "postfix"] {
        desk.refused(&format!("print {what}"), "there is no site with a name");
    }
    desk.good(&format!("{INIT} --postfix"));
    let file = desk.data().join("patchpost.toml");
    let fine = std::fs::read_to_string(&file).unwrap();
    for (from, to, words) in [
        (
            "https://lists.example.org",
            "https://$(id)",
            "is no host name",
        ),
        (
            "https://lists.example.org",
            "https://x';id;'",
            "is no host name",
        ),
    ] {
        std::fs::write(&file, fine.replace(from, to)).unwrap();
        desk.refused("print setup", words);
    }
    std::fs::write(&file, &fine).unwrap();
    for variable in ["PATCHPOST_HTTP_LISTEN", "PATCHPOST_LMTP_LISTEN"] {
        let mut command = desk.command();
        command
            .env(variable, "unix:/run/$(id)")
            .args(["print", "setup"]);
        let out = tools::output(&mut command);
        let said = String::from_utf8_lossy(&out.stderr);
        let refused = said.contains("a socket's path for root's programs");
        assert!(!out.status.success() && refused, "{said}");
    }
    let mut elsewhere = desk.command();
    elsewhere.env("PATCHPOST_SITE_HOSTNAME", "lists.example.org");
    let mistyped = elsewhere.args(["print", "setup", "--data", "/nonexistent/patchpost"]);
    assert!(!tools::output(mistyped).status.success());
}

#[test]
fn the_unit_that_is_printed_names_the_program_that_runs() {
    let desk = Desk::new();
    let unit = desk.good("print systemd --data /var/lib/patchpost");
    let runs = format!(
        "\nExecStart={} serve --data /var/lib/patchpost\n",
        env!("CARGO_BIN_EXE_patchpost")
    );
    assert!(
        unit.contains(&runs) && unit.contains("\nStateDirectory=patchpost\n"),
        "{unit}"
    );
    let other = desk.good("print systemd --data /srv/lists");
    assert!(other.contains("serve --data /srv/lists\n"), "{other}");
    assert!(other.contains("\nReadWritePaths=/srv/lists\n") && !other.contains("\nStateDirectory"));
    assert!(!other.contains("/var/lib/patchpost"), "{other}");
}

#[test]
fn commands_that_messages_name_can_be_pasted() {
    let desk = Desk::new();
    desk.good(&format!("{INIT} --postfix"));
    let (data, file) = (desk.data(), desk.data().join("patchpost.toml"));
    let say = |options: &[&str]| {
        let mut command = desk.command();
        command
            .env_remove("PATCHPOST_DATA")
            .args(["list", "show", "nope"])
            .args(options);
        String::from_utf8(tools::output(&mut command).stderr).unwrap()
    };
    let folder = data.display().to_string();
    assert!(say(&["--data", &folder]).contains("dev"), "it is there");
    desk.good("list rm dev");
    let hint = format!("`patchpost list create nope --data {folder}`");
    let said = say(&["--data", &folder]);
    assert!(said.contains(&hint), "{said}");
    let file = file.display().to_string();
    let said = say(&["--data", &folder, "--config", &file]);
    assert!(
        said.contains(&format!("--data {folder} --config {file}`")),
        "{said}"
    );
    desk.refused("list show nope", "`patchpost list create nope`");
    let mut doctor = desk.command();
    doctor
        .env_remove("PATCHPOST_DATA")
        .args(["doctor", "--data", &folder]);
    let found = String::from_utf8(tools::output(&mut doctor).stdout).unwrap();
    assert!(
        found.contains(&format!("`patchpost backup FILE --data {folder}`")),
        "{found}"
    );
    // Another user, who mends it, has another environment.
    let found = desk.run("doctor", "").out;
    assert!(
        found.contains(&format!("`patchpost backup FILE --data {folder}`")),
        "{found}"
    );
    // The folder of another user, which root alone can make one.
    if std::os::unix::fs::chown(&data, Some(1), None).is_ok() {
        let found = desk.run("doctor", "").out;
        let whole = format!("`runuser --user=daemon -- patchpost backup FILE --data {folder}`");
        assert!(found.contains(&whole), "{found}");
        let whole = "`runuser --user=daemon -- patchpost list create nope`";
        desk.refused("list show nope", whole);
        let unit = desk.good("print systemd");
        assert!(unit.contains("\nUser=daemon\n"), "{unit}");
    }
}

/// A list in another domain wants all that the first domain has.
#[test]
fn doctor_looks_at_every_domain_that_has_a_list() {
    let (desk, printed) = site();
    desk.good("list create users --address users@lists.example.net");
    desk.zone.set(&printed);
    let of_other = |found: &[Value], state: &str| -> Vec<String> {
        let other = |f: &&Value| {
            f["what"].as_str().unwrap().contains("lists.example.net") && f["state"] == state
        };
        found
            .iter()
            .filter(other)
            .map(|f| {
                f["what"]
                    .as_str()
                    .unwrap()
                    .replace("lists.example.net", "D")
            })
            .collect()
    };
    let missing = ["dns MX D", "dns SPF D", "dns DKIM D", "dns DMARC D"];
    assert_eq!(of_other(&desk.doctor(), "bad"), missing);
    desk.good("dkim rotate lists.example.net");
    let printed = desk.good("print dns");
    desk.zone.set(&printed);
    let found = desk.doctor();
    assert!(of_other(&found, "bad").is_empty(), "{found:#?}");
    let well = of_other(&found, "ok");
    for what in [
        "dkim keys D",
        "dns MX D",
        "dns SPF D",
        "dns DMARC D",
        "mail in D",
    ] {
        assert!(well.iter().any(|w| w == what), "{what}: {well:?}");
    }
    assert!(
        found
            .iter()
            .any(|f| f["what"] == "mail in lists.example.org")
    );

    // One format, whoever prints a record; in parts, for forms, where that is asked for.
    let lines = desk.good("dkim show lists.example.net");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    for line in lines.lines() {
        assert!(
            printed.lines().any(|l| l.trim_start_matches("; ") == line),
            "{line}"
        );
    }
    let parts: Value = serde_json::from_str(&desk.good("print dns --json")).unwrap();
    let parts = parts.as_array().unwrap();
    let needed = printed.lines().filter(|l| !l.starts_with(';'));
    let shown = parts.iter().filter(|p| p["needed"] == true);
    let shown: Vec<&str> = shown.map(|p| p["zone"].as_str().unwrap()).collect();
    let mut needed: Vec<&str> = needed.collect();
    let mut sorted = shown.clone();
    needed.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(sorted, needed);
    let helo = parts
        .iter()
        .find(|p| p["name"] == "mx.example.org" && p["type"] == "TXT");
    assert_eq!(helo.unwrap()["value"], "v=spf1 a -all");
    let keys: Value =
        serde_json::from_str(&desk.good("dkim show lists.example.net --json")).unwrap();
    let key = parts.iter().find(|p| p["name"] == keys[0]["name"]).unwrap();
    assert_eq!(key["value"], keys[0]["value"]);
    // A domain that no list is in may be a slip.
    assert_eq!(desk.run("dkim rotate lists.example.org", "").err, "");
    let words = "no list has an address in lists.example.com, and no key was made; lists are in lists.example.net, lists.example.org. \
        Is it for lists to come, say so: `patchpost dkim rotate lists.example.com --new`";
    desk.refused("dkim rotate lists.example.com", words);
    assert!(!desk.data().join("dkim/lists.example.com").exists());
    assert_eq!(
        desk.good("dkim rotate lists.example.com --new")
            .lines()
            .count(),
        2
    );
    desk.good("dkim rotate lists.example.com");
}

/// Nobody is told to set what may be there already, nor sent to another place than the one that is wrong.
#[test]
fn doctor_says_what_to_do_where_dns_gives_no_answer() {
    let (desk, printed) = site();
    let file = desk.dir.path().join("zone");
    let look = |text: &str| -> Vec<Value> {
        std::fs::write(&file, text).unwrap();
        let mut command = desk.command();
        command
            .args(["doctor", "--json"])
            .env("PATCHPOST_DNS_ZONE", &file);
        serde_json::from_slice(&tools::output(&mut command).stdout).unwrap()
    };
    let key = printed.lines().find(|l| l.contains("_domainkey")).unwrap();
    let key = key.split_once(' ').unwrap().0;
    let silent = ["10.2.0.192.in-addr.arpa", key].map(|name| format!("{name} FAIL\n"));
    let found = look(&format!("{printed}\n{}", silent.concat()));
    let what = |f: &&Value, start: &str| f["what"].as_str().unwrap().starts_with(start);
    for start in ["dns PTR 192.0.2.10", "dns DKIM "] {
        let one = found.iter().find(|f| what(f, start) && f["state"] == "bad");
        let one = one.unwrap_or_else(|| panic!("{start}: {found:#?}"));
        let mend = one["mend"].as_str().unwrap();
        assert!(mend.starts_with("look again when DNS answers"), "{one:#?}");
    }
    let found = look("what is this\n");
    let one = found.iter().find(|f| f["what"] == "dns").unwrap();
    assert!(one["mend"].as_str().unwrap().contains("set dns.zone to"));
}
