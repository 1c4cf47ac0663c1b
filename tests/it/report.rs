//! What authors hear of their own patches, and what they choose to hear.

use std::path::Path;

use super::harness::{Database, Sink, change, on_both};
use super::identity::{LIST, Site};
use super::rehearsal::{answer, has, named, outbox, patches_to, signed, site};
use super::visitor::{Visitor, to};

on_both! {
    a_first_series_is_answered_and_later_ones_if_they_do_not_apply,
    what_comes_is_what_was_chosen,
}

const ANA: &str = "ana@example.org";

/// Posts a series with names of its own.
pub fn post(site: &Site, work: &Path, run: &str, arguments: &[&str]) -> Vec<String> {
    let mails = patches_to(LIST, work, arguments);
    let mails: Vec<String> = mails.iter().map(|m| named(m, run)).collect();
    for mail in signed(site, &mails) {
        let reply = site.server.send(&[LIST], &mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
    mails
}

/// A change on top of one that nobody has.
fn on_a_secret(work: &Path) {
    change(work, "src/a.c", "line 20\n", "a secret\n", "Secret");
    change(work, "src/a.c", "a secret\n", "line twenty\n", "Twenty");
}

fn a_first_series_is_answered_and_later_ones_if_they_do_not_apply(database: Database) {
    let (site, work) = site(database, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    change(&work, "src/a.c", "line 9\n", "line nine\n", "Nine");
    let mails = post(&site, &work, "one", &["-2"]);
    let said = answer(&site, 1, "Your patches");
    has(
        &said,
        &[
            "To: ana@example.org",
            "Subject: Your patches at dev@lists.example.org",
            "Auto-Submitted: auto-replied",
            "Reply-To: dev@lists.example.org",
            "\"Three\", v1 of 2 patches",
            "All patches are there. They apply to tool at ",
            "/dev/patches/1/",
            "/me/",
        ],
    );
    let id = mails[0].lines().find_map(|l| {
        l.strip_prefix("Message-ID: ")
            .or(l.strip_prefix("Message-Id: "))
    });
    has(&said, &[&format!("In-Reply-To: {}", id.unwrap())]);
    let noted = site.server.cli(&["events", "dev"]);
    assert!(noted.contains("told") && noted.contains(ANA), "{noted}");

    for page in ["/dev/", "/dev/patches/1/", "/dev/_/text/help/"] {
        let shown = site.server.page(page);
        assert!(shown.contains("href=\"/tool.git\""), "{page}: {shown}");
    }

    // She is known by now: what applies needs no words, a part of a series neither, and what conflicts does.
    post(&site, &work, "two", &["-2", "-v2"]);
    site.server.drain();
    assert_eq!(outbox(&site).len(), 1);
    on_a_secret(&work);
    post(&site, &work, "three", &["-1"]);
    let said = answer(&site, 2, "do not apply");
    has(
        &said,
        &[
            "Subject: Your patches at dev@lists.example.org do not apply",
            "\"Twenty\", v1 of 1 patch",
            "Patch 1 does not apply to tool at ",
            "src/a.c, hunk 1",
            "with -v2 (git format-patch)",
        ],
    );
    // What a mail program broke, and what helps against it.
    change(&work, "src/a.c", "line 12\n", "a line that is cut\n", "Cut");
    let whole = named(&patches_to(LIST, &work, &["-1"])[0], "four");
    let broken = whole.replace("+a line that is cut", "+a line\nthat is cut");
    for mail in signed(&site, &[broken]) {
        assert!(site.server.send(&[LIST], &mail).starts_with("250"));
    }
    let said = answer(&site, 3, "Patch 1 cannot be used");
    has(
        &said,
        &[
            "Subject: Your patches at dev@lists.example.org do not apply",
            "Long lines were wrapped",
            "attach the one file",
        ],
    );
    // Whatever is thought about again, nobody hears it twice.
    site.server.cli(&["reclassify", "dev"]);
    site.server.drain();
    assert_eq!(outbox(&site).len(), 3);
}

/// What git leaves away without a word is said on the page and in the letter.
#[test]
fn what_stands_right_under_a_diff_is_told() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    let whole = named(&patches_to(LIST, &work, &["-1"])[0], "one");
    let cut = whole.replace("\n-- \n", "\nCelsius and more\n-- \n");
    for mail in signed(&site, &[cut]) {
        assert!(site.server.send(&[LIST], &mail).starts_with("250"));
    }
    let said = answer(&site, 1, "They apply to tool");
    let words = "right under the last line of a diff";
    has(
        &said,
        &[words, "Celsius and more", "with -v2 (git format-patch)"],
    );
    let page = site.server.page("/dev/patches/1/");
    assert!(
        page.contains(words) && page.contains("Celsius and more"),
        "{page}"
    );
}

/// A web mailer's mail with two files, and an answer with a third: what is not taken is told.
#[test]
fn files_that_are_not_taken_are_told_on_pages() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    change(&work, "src/a.c", "line 9\n", "line nine\n", "Nine");
    let git = "From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\n";
    let file = |mail: &str, name: &str| {
        format!(
            "--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename={name}\n\n{git}{mail}\n"
        )
    };
    let mails = patches_to(LIST, &work, &["-2"]);
    let head = |id: &str, subject: &str, more: &str| {
        format!(
            "From: Ana <ana@example.org>\nTo: {LIST}\nMessage-ID: <{id}>\nSubject: {subject}\nDate: Mon, 01 Jan 2024 10:00:00 +0000\n{more}\
             MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nHello.\n\n"
        )
    };
    let both = head("both@x", "two patches", "")
        + &file(&mails[0], "1.txt")
        + &file(&mails[1], "2.txt")
        + "--b--\n";
    let answer = head("answer@x", "Re: two patches", "In-Reply-To: <both@x>\n")
        + &file(&mails[1], "2.txt")
        + "--b--\n";
    for mail in [both, answer] {
        assert!(
            site.server
                .send(&[LIST], mail.as_bytes())
                .starts_with("250")
        );
    }
    site.server.drain();
    let page = site.server.page("/dev/patches/1/");
    for words in [
        "patch 2 did not arrive yet",
        "The mail of patch 1 holds a further patch, which is not taken",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let page = site.server.page("/dev/answer@x/");
    assert!(
        page.contains("holds a patch, but it is not taken: the mail is an answer"),
        "{page}"
    );
    let page = site.server.page("/dev/both@x/");
    assert!(!page.contains("holds a patch, but"), "{page}");
}

#[test]
fn nobody_unknown_hears_anything_and_old_mail_tells_nothing() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    let mail = patches_to(LIST, &work, &["-1"]).remove(0);
    let reply = site.server.send(&[LIST], mail.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    site.server.drain();
    let robot = mail.replacen("\n\n", "\nAuto-Submitted: auto-generated\n\n", 1);
    for signed in signed(&site, &[named(&robot, "robot")]) {
        site.server.send(&[LIST], &signed);
    }
    let old = signed(&site, &[named(&mail, "old")]).remove(0);
    let file = site.server.dir.path().join("old.mbox");
    let mbox = [
        b"From ana@example.org Thu Jan  1 00:00:00 2026\n",
        old.as_slice(),
        b"\n",
    ]
    .concat();
    std::fs::write(&file, mbox).unwrap();
    site.server
        .cli(&["import", "dev", &file.display().to_string()]);
    site.server.drain();
    assert_eq!(outbox(&site), Vec::<String>::new());
    assert_eq!(site.server.json(&["list", "show", "dev"])["postings"], 3);
}

/// The signature on a copy is the author's, its way here is not.
#[test]
fn an_author_hears_nothing_of_what_somebody_sends_again() {
    let (site, work) = site(Database::Sqlite, &[]);
    on_a_secret(&work);
    let mail = named(&patches_to(LIST, &work, &["-1"])[0], "own");
    let wish = serde_json::json!({
        "mail": mail, "canonicalization": "relaxed", "fields": ["from", "to", "subject", "date"],
    });
    let signed = super::identity::sign(&site.key, &[wish]).remove(0);
    let signed = String::from_utf8(signed).unwrap();
    let send = |mail: &str| {
        let reply = site.server.send(&[LIST], mail.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    };
    send(&signed);
    let said = answer(&site, 1, "Your patches");
    has(&said, &["Patch 1 does not apply to tool at "]);
    let copy = signed.replace(".git.own@", ".git.copy@");
    assert_ne!(copy, signed);
    send(&copy);
    site.server.drain();
    let all = site.server.json(&["series", "ls", "dev"]);
    let claims = all.as_array().unwrap().iter();
    assert_eq!(claims.filter(|s| s["claims"] == 1).count(), 1, "{all:#}");
    assert_eq!(outbox(&site).len(), 1);
}

#[test]
fn a_forged_patch_takes_no_receipt_from_its_author() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    let forged = patches_to(LIST, &work, &["-1"]).remove(0);
    let reply = site.server.send(&[LIST], forged.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    site.server.drain();
    change(&work, "src/a.c", "line 9\n", "line nine\n", "Nine");
    post(&site, &work, "own", &["-2"]);
    let said = answer(&site, 1, "Your patches");
    has(&said, &["To: ana@example.org", "All patches are there."]);
}

#[test]
fn an_incomplete_series_waits_for_its_rest() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    change(&work, "src/a.c", "line 9\n", "line nine\n", "Nine");
    let mails = signed(&site, &patches_to(LIST, &work, &["-2"]));
    // They may come in any order: the later one is no patch of before.
    site.server.send(&[LIST], &mails[1]);
    let later = patchpost::store::now().plus_secs(600).rfc3339();
    site.server.wait_for("the look that is put off", || {
        let jobs = site.server.json(&["jobs"]);
        let mut jobs = jobs.as_array().unwrap().iter();
        let put_off = |j: &serde_json::Value| j["run_at"].as_str() > Some(later.as_str());
        jobs.any(|j| j["kind"] == "report" && put_off(j))
            .then_some(())
    });
    assert_eq!(outbox(&site), Vec::<String>::new());
    site.server.send(&[LIST], &mails[0]);
    let said = answer(&site, 1, "Your patches");
    has(&said, &["v1 of 2 patches", "All patches are there."]);
}

fn what_comes_is_what_was_chosen(database: Database) {
    let sink = Sink::start();
    let (site, work) = site(database, &to(&sink));
    site.server.cli(&["member", "add", "dev", ANA]);
    site.server
        .cli(&["member", "set", "dev", ANA, "--mail", "off"]);
    let ana = Visitor::new(&site.server);
    ana.sign_in(&sink, ANA);
    let choose = |arrived: &str, conflict: &str| {
        let fields = [
            ("do", "reports"),
            ("arrived", arrived),
            ("conflict", conflict),
        ];
        let seen = ana.press("/me/", &fields);
        assert_eq!(seen.header("location").as_deref(), Some("/me/?done=saved"));
        let page = ana.get("/me/").body;
        for chosen in [arrived, conflict] {
            let option = format!("value=\"{chosen}\" selected");
            assert!(page.contains(&option), "{option} in {page}");
        }
    };
    let told = || {
        site.server.drain();
        let all = sink.all();
        let texts = all.iter().map(|c| String::from_utf8_lossy(&c.bytes));
        texts.filter(|t| t.contains("Your patches at")).count()
    };
    choose("never", "no");
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    post(&site, &work, "one", &["-1"]);
    assert_eq!(told(), 0);
    on_a_secret(&work);
    post(&site, &work, "two", &["-1"]);
    assert_eq!(told(), 0, "not of conflicts either");
    choose("always", "no");
    post(&site, &work, "three", &["-1", "-v2"]);
    site.server
        .wait_for("the mail that was chosen", || (told() == 1).then_some(()));
    let taken = ana.get("/me/export.json").body;
    assert!(taken.contains("\"arrived\": \"always\""), "{taken}");
}
