use super::*;

fn read(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let pairs = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    parse("patchpost.toml", file, pairs)
}

/// `expected` is every problem, a line each.
#[track_caller]
fn check_error(file: &str, environment: &[(&str, &str)], expected: &str) {
    let error = read(file, environment).expect_err("must be refused");
    assert_eq!(
        error.to_string(),
        expected,
        "file:\n{file}\nenvironment: {environment:?}"
    );
}

/// How `key` is shown after `file` and `environment` were read.
#[track_caller]
fn check_shown(file: &str, environment: &[(&str, &str)], key: &str, expected: &str) {
    let config = read(file, environment).expect("fine");
    let found = KEYS
        .iter()
        .find(|k| format!("{}.{}", k.section, k.name) == key);
    let shown = (found.expect("a known key").render)(&config);
    assert_eq!(
        shown, expected,
        "file:\n{file}\nenvironment: {environment:?}"
    );
}

#[test]
fn no_file_at_all_is_a_working_set_up_on_loopback() {
    let config = read("", &[]).expect("defaults");
    assert_eq!(config, Config::default());
    for key in KEYS {
        let text = (key.render)(&config);
        assert!(
            key.name != "listen" || text.starts_with("\"127.0.0.1:"),
            "{}",
            key.section
        );
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let file = "[site]\nhostname = \"lists.example.org\"\n[smtp]\nmax_size = 100000";
    check_shown("", &[], "site.hostname", "\"localhost\"");
    check_shown(file, &[], "site.hostname", "\"lists.example.org\"");
    let environment = [
        ("PATCHPOST_SITE_HOSTNAME", "other.example"),
        ("PATCHPOST_SMTP_MAX_SIZE", "200000"),
    ];
    check_shown(file, &environment, "site.hostname", "\"other.example\"");
    check_shown(file, &environment, "smtp.max_size", "200000");
}

#[test]
fn several_addresses_are_separated_by_commas_or_stand_in_an_array() {
    let both = "\"[::1]:24, unix:/run/p.sock\"";
    check_shown(
        &format!("[lmtp]\nlisten = {both}"),
        &[],
        "lmtp.listen",
        both,
    );
    let array = "smtp.listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]";
    check_shown(array, &[], "smtp.listen", "\"127.0.0.1:1,127.0.0.1:2\"");
    check_shown("", &[("PATCHPOST_SMTP_LISTEN", "")], "smtp.listen", "\"\"");
    let list: Vec<&str> = addresses(" a ,b,, ").collect();
    assert_eq!(list, ["a", "b"]);
}

#[test]
fn errors_name_key_line_and_what_is_allowed() {
    check_error(
        "\n[smtp]\nlisten = \"127.0.0.1:2525\"\nbare_newline = \"maybe\"\n",
        &[],
        "patchpost.toml line 4: smtp.bare_newline cannot be \"maybe\"; allowed: \"reject\" or \"normalise\"",
    );
    check_error(
        "[lmtp]\nlisen = \"\"\n",
        &[],
        "patchpost.toml line 2: there is no key lmtp.lisen; allowed: listen",
    );
    check_error(
        "[stmp]\nlisten = \"\"\n",
        &[],
        "patchpost.toml line 1: there is no section stmp; allowed: site, smtp, lmtp, auth, spam, dns, http, ops, database, delivery, repos, limits, lists, log",
    );
    check_error(
        "smtp = 3\n",
        &[],
        "patchpost.toml line 1: smtp is a section: write [smtp], and its keys below",
    );
    check_error(
        "[http]\nlisten = \"127.0.0.1:1, localhost:80\"\n",
        &[],
        "patchpost.toml line 2: http.listen cannot be \"127.0.0.1:1, localhost:80\": \"localhost:80\" is not an address; \
         allowed: IP:PORT such as 127.0.0.1:2525 or [::1]:2525, or unix:PATH; several separated by commas; or empty",
    );
    check_error(
        "[delivery]\nfeedback_id = \"a:b\"\n",
        &[],
        "patchpost.toml line 2: delivery.feedback_id cannot be \"a:b\"; allowed: 5 to 15 letters and digits, or empty",
    );
    check_error(
        "[site]\nhostname = 1979-05-27\n",
        &[],
        "patchpost.toml line 2: site.hostname cannot be a table, date or fraction; allowed: a host name such as lists.example.org",
    );
}

#[test]
fn all_mistakes_are_told_at_once_from_the_top_of_the_file() {
    check_error(
        "[smtp]\nmax_size = 1\nmax_recipients = 99\n[delivery]\nconnections = \"many\"\n",
        &[("PATCHPOST_DELIVERY_TRANSPORT", "pigeon")],
        "patchpost.toml line 2: smtp.max_size cannot be \"1\"; allowed: a whole number from 65536 to 209715200\n\
         patchpost.toml line 3: smtp.max_recipients cannot be \"99\"; allowed: a whole number from 100 to 1000000\n\
         patchpost.toml line 5: delivery.connections cannot be \"many\"; allowed: a whole number from 1 to 1000\n\
         environment PATCHPOST_DELIVERY_TRANSPORT: delivery.transport cannot be \"pigeon\"; allowed: \"directory\" or \"smtp\"",
    );
}

#[test]
fn broken_toml_is_named_with_its_line() {
    let error = read("[site]\nname = \"a\n", &[]).expect_err("unclosed string");
    assert_eq!(error.problems[0].place, "patchpost.toml line 2");
    assert!(error.to_string().contains("not TOML: "), "{error}");
    let twice = read("[site]\nname = \"a\"\nname = \"b\"\n", &[]).expect_err("twice");
    assert_eq!(twice.problems[0].place, "patchpost.toml line 3");
}

#[test]
fn environment_names_that_set_nothing_are_mistakes() {
    check_error(
        "",
        &[("PATCHPOST_SMPT_LISTEN", ""), ("HOME", "/root")],
        "environment PATCHPOST_SMPT_LISTEN: there is no section smpt; `patchpost config` shows all settings",
    );
    check_error(
        "",
        &[("PATCHPOST_LMTP_LISEN", "x")],
        "environment PATCHPOST_LMTP_LISEN: there is no key lmtp.lisen; allowed: listen",
    );
    let other = [
        "DATA",
        "CONFIG",
        "CORPUS",
        "TOOLS",
        "TEST_SIZE",
        "BENCH_ROUNDS",
    ];
    for name in other {
        let name = format!("PATCHPOST_{name}");
        read("", &[(&name, "x")]).expect("no setting, and no mistake");
    }
}

#[test]
fn settings_that_need_each_other_are_checked_together() {
    check_error(
        "delivery.transport = \"smtp\"",
        &[],
        "delivery.relay: delivery.transport = \"smtp\" needs it: the mail server, such as 127.0.0.1:25",
    );
    let relay = [("PATCHPOST_DELIVERY_RELAY", "mail.example.org:25")];
    check_shown(
        "delivery.transport = \"smtp\"",
        &relay,
        "delivery.transport",
        "\"smtp\"",
    );
    check_error(
        "smtp.tls_cert = \"cert.pem\"",
        &[],
        "smtp.tls_cert: smtp.tls_cert and smtp.tls_key belong together: set both or none",
    );
}

#[test]
fn a_password_in_a_url_is_never_shown() {
    let url = "postgres://ann:geh:e@im@db.example/patchpost?sslmode=require";
    let environment = [("PATCHPOST_DATABASE_URL", url)];
    let shown = "\"postgres://ann:***@db.example/patchpost?sslmode=require\"";
    check_shown("", &environment, "database.url", shown);
    assert_eq!(read("", &environment).expect("fine").database.url, url);
    check_error(
        "",
        &[("PATCHPOST_DATABASE_URL", "mysql://ann:geheim@db/x")],
        "environment PATCHPOST_DATABASE_URL: database.url cannot be \"mysql://ann:***@db/x\"; \
         allowed: empty for SQLite, or a URL such as postgres://user:password@host/name",
    );
}

#[test]
fn what_is_printed_explains_every_key_and_can_be_read() {
    let file = "[site]\nname = 'Ann \"and\" C:\\Ben'\n[smtp]\nlisten = \"127.0.0.1:1,[::]:2\"\nmax_size = 123456\n\
                [lmtp]\nlisten = \"unix:/run/a b\"\n[delivery]\ndirectory = \"/x\"\n";
    let config = read(file, &[]).expect("fine");
    assert_eq!(read(&render(&config), &[]), Ok(config));
    let reference = render(&Config::default());
    for key in KEYS {
        assert!(
            !key.doc.is_empty(),
            "{}.{} has no words",
            key.section,
            key.name
        );
        assert!(reference.contains(&format!("\n{} = ", key.name)));
    }
}

#[test]
fn bad_names_and_urls_are_refused() {
    for (key, bad) in [
        ("site.hostname", "-a.example"),
        ("site.hostname", "a..b"),
        ("site.hostname", ""),
        ("http.base_url", "lists.example.org"),
        ("http.base_url", "https:///x"),
        ("http.base_url", "https://x/"),
        ("http.base_url", "https://a b"),
        ("delivery.relay", "mail.example.org"),
        ("delivery.relay", "mail.example.org:0"),
        ("delivery.relay", "::1:25"),
        ("lmtp.listen", "unix:"),
        ("repos.fetch_minutes", "-1"),
        ("limits.free_disk_mb", "99999999999999999999"),
        ("site.name", "a\nb"),
    ] {
        let name = format!("PATCHPOST_{}", key.replace('.', "_").to_uppercase());
        let error = read("", &[(&name, bad)]).expect_err(bad);
        let begin = format!("{key} cannot be");
        assert!(error.problems[0].text.starts_with(&begin), "{error}");
    }
    for (key, good) in [
        ("delivery.relay", "[::1]:25"),
        ("http.base_url", "https://lists.example.org/mail"),
        ("lmtp.listen", "unix:/run/patchpost.sock"),
    ] {
        let name = format!("PATCHPOST_{}", key.replace('.', "_").to_uppercase());
        read("", &[(&name, good)]).expect(good);
    }
}
