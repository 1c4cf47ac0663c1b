//! Trying a list out: `list+check@` tells the author alone what would become of a series, and leaves nothing behind.

use std::path::Path;

use super::dkim::wish;
use super::harness::{Database, change, git, on_both, project};
use super::identity::{LIST, Site, mail, sign};

on_both! {
    a_series_is_tried_as_a_whole_and_leaves_nothing,
}

const CHECK: &str = "dev+check@lists.example.org";
const ANA: &str = "Ana Lima <ana@example.org>";

/// A list with a repository, and the work tree of a contributor.
pub fn site(database: Database, environment: &[(&str, &str)]) -> (Site, std::path::PathBuf) {
    let site = Site::start_on(database, environment);
    let work = project(site.server.dir.path());
    let source = work.display().to_string();
    let add = ["repo", "add", "tool", "--path", &source, "--branch", "main"];
    site.server.cli(&add);
    site.server.cli(&["list", "set", "dev", "--repo", "tool"]);
    git(&work, &["checkout", "-q", "-b", "topic"]);
    (site, work)
}

fn patches(work: &Path, arguments: &[&str]) -> Vec<String> {
    patches_to(CHECK, work, arguments)
}

/// What `git format-patch` makes of the last commits, a mail each.
pub fn patches_to(to: &str, work: &Path, arguments: &[&str]) -> Vec<String> {
    let out = work.join("../patches");
    let _gone = std::fs::remove_dir_all(&out);
    let (to, folder) = (format!("--to={to}"), out.display().to_string());
    let mut all = vec!["format-patch", "-q", "--thread", "-o", &folder, &to];
    all.extend(arguments);
    git(work, &all);
    let mut files: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    files.iter().map(read).collect()
}

/// With names of its own, also where it answers one of its series: those which git gives to one commit in one second are the same.
pub fn named(mail: &str, run: &str) -> String {
    let (head, body) = mail.split_once("\n\n").unwrap();
    let head = head.replace(".git.ana@", &format!(".git.{run}@"));
    format!("{head}\n\n{body}")
}

pub fn signed(site: &Site, mails: &[String]) -> Vec<Vec<u8>> {
    let wishes: Vec<_> = mails
        .iter()
        .map(|m| wish(m.as_bytes(), "relaxed", &[]))
        .collect();
    sign(&site.key, &wishes)
}

/// A mail of Ana's, of today, to that address.
fn today(id: &str, subject: &str, to: &str) -> String {
    let now = patchpost::store::now().rfc5322();
    dated(&mail(id, ANA, subject, "text\n").replace(LIST, to), &now)
}

fn dated(mail: &str, date: &str) -> String {
    let (head, body) = mail.split_once("\n\n").unwrap();
    let own = |line: &str| match line.starts_with("Date: ") {
        true => format!("Date: {date}"),
        false => line.to_owned(),
    };
    let head: Vec<String> = head.split('\n').map(own).collect();
    format!("{}\n\n{body}", head.join("\n"))
}

#[track_caller]
fn check(site: &Site, mails: &[Vec<u8>]) {
    for mail in mails {
        let reply = site.server.send(&[CHECK], mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
}

/// All mail that went out; its envelopes stand beside it.
pub fn outbox(site: &Site) -> Vec<String> {
    let folder = site.server.data().join("outbox");
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let texts = files.filter_map(|f| std::fs::read_to_string(f.unwrap().path()).ok());
    texts.filter(|t| t.contains("\nAuto-Submitted: ")).collect()
}

/// Waits until so many mails went out; the one that has this word.
#[track_caller]
pub fn answer(site: &Site, count: usize, word: &str) -> String {
    let all = site.server.wait_for("the answer", || {
        Some(outbox(site)).filter(|all| all.len() >= count)
    });
    site.server.drain();
    assert_eq!(outbox(site).len(), count);
    let found = all.into_iter().find(|m| m.contains(word));
    found.unwrap_or_else(|| panic!("no answer has {word}"))
}

#[track_caller]
pub fn has(text: &str, all: &[&str]) {
    // Lines are wrapped.
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in all {
        assert!(flat.contains(words), "{words:?} in {text}");
    }
}

fn a_series_is_tried_as_a_whole_and_leaves_nothing(database: Database) {
    let (site, work) = site(database, &[("PATCHPOST_LISTS_MODERATION", "strangers")]);
    let signed_off = "canary three\n\nSigned-off-by: Ana Lima <ana@example.org>\n";
    change(&work, "src/a.c", "line 3\n", "line three\n", signed_off);
    change(&work, "src/a.c", "line 9\n", "line nine\n", "canary nine");
    let cover = ["--cover-letter", "--cover-from-description=subject", "-2"];
    let mails = signed(&site, &patches(&work, &cover));
    assert_eq!(mails.len(), 3);
    check(&site, &mails);
    // The same mail again is the same mail.
    check(&site, &mails[2..]);
    let said = answer(&site, 1, "your 3 mails");
    has(
        &said,
        &[
            "To: ana@example.org",
            "Auto-Submitted: auto-replied",
            "Subject: Rehearsal at dev@lists.example.org: [PATCH",
            "Reply-To: dev+check@lists.example.org",
            "It would be held until a moderator has looked at it: the first mail of ana@example.org here.",
            "strangers the first mail of ana@example.org here",
            "v1 of 2 patches with a cover letter. One thread: the same sender, version and count.",
            "On tool at ",
            "(the tip of main, where the index blobs match): it applies.",
            "Nothing that can be seen.",
            "1/2 Signed-off-by: Ana Lima <ana@example.org>",
            "Hello, This can be sent as it is; a moderator looks at it before it is posted.",
            "To post it, send the same mails to dev@lists.example.org.",
        ],
    );
    assert!(!said.contains("DKIM-Signature"), "{said}");
    // It was neither archived, held nor applied, and nothing of it is left.
    assert_eq!(site.server.json(&["list", "show", "dev"])["postings"], 0);
    assert!(
        site.server
            .json(&["held", "ls", "dev"])
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(
        site.server
            .json(&["series", "ls", "dev"])
            .as_array()
            .unwrap()
            .is_empty()
    );
    for page in [
        "/",
        "/dev/",
        "/dev/patches/",
        "/dev/?q=canary",
        "/dev/new.atom",
    ] {
        assert!(!site.server.page(page).contains("canary three"), "{page}");
    }
    let refs = site.server.data().join("repos/tool.patches.git");
    if refs.exists() {
        assert_eq!(git(&refs, &["for-each-ref", "refs/patches"]), "");
    }
    // The real thing is the real thing.
    let reply = site.server.send(&[LIST], &mails[1]);
    assert!(reply.starts_with("250"), "{reply}");
    let held = site.server.json(&["held", "ls", "dev"]);
    assert_eq!(held.as_array().unwrap().len(), 1);
}

#[test]
fn what_is_missing_and_what_it_is_a_version_of_is_said() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    change(&work, "src/a.c", "line 9\n", "line nine\n", "Nine");
    let first = patches(&work, &["-2"]);
    let first = [0, 1].map(|i| named(&first[i], "first"));
    for mail in signed(&site, &first) {
        site.send(&mail);
    }
    let id = first[0].lines().find_map(|l| {
        l.strip_prefix("Message-ID: ")
            .or(l.strip_prefix("Message-Id: "))
    });
    let answered = format!("--in-reply-to={}", id.unwrap());
    let second = patches(&work, &["-2", "-v2", &answered]);
    change(&work, "src/a.c", "line 20\n", "line twenty\n", "Twenty");
    change(&work, "src/a.c", "line 30\n", "line thirty\n", "Thirty");
    let other = patches(&work, &["-2", "--subject-prefix=PATCH other"]);
    let other = named(&other[1], "other");
    check(&site, &signed(&site, &[second[0].clone(), other]));
    // Beside both answers she hears of her first series.
    let said = answer(&site, 3, "[PATCH v2 1/2]");
    has(
        &said,
        &[
            "your mail at dev@lists.example.org",
            "\"Three\", v2-r1 of 2 patches.",
            "A partial reroll: the other patches are taken over from v1.",
            "It would be a version of patchset 1, which has v1.",
            "it applies.",
            "It would be accepted.",
        ],
    );
    let said = answer(&site, 3, "[PATCH other 2/2]");
    has(
        &said,
        &[
            "\"Thirty\", v1 of 2 patches.",
            "Do not send this yet: patch 1 of 2 is missing.",
            "It is incomplete: patch 1 is missing.",
            "It was not tried, as it is incomplete.",
        ],
    );
    // A whole new version is one, however it came.
    let later = patchpost::store::now().plus_secs(60).rfc5322();
    let second: Vec<String> = second.iter().map(|m| dated(m, &later)).collect();
    check(&site, &signed(&site, &second));
    let said = answer(&site, 4, "your 2 mails");
    has(&said, &["\"Three\", v2 of 2 patches.", "it applies."]);
    let versions = site.server.json(&["series", "show", "1"]);
    assert_eq!(versions.as_array().unwrap().len(), 1);
}

/// Whoever posts from another address of hers hears beforehand what posting makes of it.
#[test]
fn a_linked_address_is_the_same_person() {
    let (site, work) = site(Database::Sqlite, &[]);
    // Of linked addresses the first by the alphabet stands for all; this is not it.
    let link = ["member", "link", "ana@example.org", "lima@example.org"];
    site.server.cli(&link);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    let first = named(&patches_to(LIST, &work, &["-1"])[0], "first");
    site.send(&signed(&site, std::slice::from_ref(&first))[0]);
    let id = first
        .lines()
        .find_map(|l| l.split_once('<')?.1.split_once(".git.first@"));
    let answered = format!("--in-reply-to={}.git.first@example.org", id.unwrap().0);
    let second = patches(&work, &["-1", "-v2", &answered]).remove(0);
    let second = second.replacen("<ana@example.org>", "<lima@example.org>", 1);
    assert!(
        second.contains("\nFrom: Ana Lima <lima@example.org>\n"),
        "{second}"
    );
    let second = named(&second, "second");
    check(&site, &signed(&site, std::slice::from_ref(&second)));
    let said = answer(&site, 2, "To: lima@example.org");
    has(
        &said,
        &[
            "The same change as v1: it was sent in reply to it.",
            "It would be a version of patchset 1, which has v1.",
        ],
    );
    assert!(!said.contains("claims"), "{said}");
    let posted = second.replace("dev+check@", "dev@");
    site.send(&signed(&site, &[posted])[0]);
    let versions = site.server.json(&["series", "show", "1"]);
    assert_eq!(versions.as_array().unwrap().len(), 2, "{versions:#}");
}

#[test]
fn conflicts_and_what_a_mail_program_broke_are_said() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    let whole = patches(&work, &["-1"]).remove(0);
    let (head, body) = whole.split_once("\n\n").unwrap();
    let broken = body.replace(" line 2\n", " line 2 or\nnot\n");
    let flowed = format!(
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8; format=flowed\n{head}\n\n{broken}"
    );
    check(&site, &signed(&site, &[flowed]));
    let said = answer(&site, 1, "Rehearsal");
    has(
        &said,
        &[
            "1 patch. A patch by itself.",
            "[PATCH] Three: It is sent as format=flowed",
            "Do not send this yet: lines of the patch were wrapped by your mail program.",
            "When that is mended, try again at dev+check@lists.example.org; an answer",
            "Long lines were wrapped: line",
            "begins with neither blank, + nor -",
            "attach the one file that `git format-patch` made",
        ],
    );
    assert!(!said.contains("it applies"), "{said}");
    let other = whole
        .replace("line 2\n", "line two\n")
        .replace("-line 3", "-line III");
    check(
        &site,
        &signed(&site, &[other.replace("Message-I", "X-Old-I")]),
    );
    let said = answer(&site, 2, "does not apply");
    has(
        &said,
        &[
            "Do not send this yet: it does not apply.",
            "patch 1 does not apply: src/a.c: hunk 1,",
            "Nothing that can be seen.",
        ],
    );
    // It applies, and lacks what may be the end of its last line.
    let cut = whole.replace("\n-- \n", "\nand the rest\n-- \n");
    check(
        &site,
        &signed(&site, &[cut.replace("Message-I", "X-Older-I")]),
    );
    let said = answer(&site, 3, "right under");
    has(
        &said,
        &[
            "Do not send this yet: text stands right under its diff",
            "it applies",
            "\"and the rest\"",
        ],
    );
    // Neither patch nor answer to one.
    check(&site, &signed(&site, &[today("talk@x", "hello", CHECK)]));
    let said = answer(&site, 4, "It is no patch");
    has(&said, &["It would be accepted."]);
}

#[test]
fn nobody_is_answered_who_is_not_known_to_have_written() {
    let (site, _) = site(Database::Sqlite, &[]);
    let text = today("c1@x", "[PATCH] x", CHECK);
    let refused = site.server.send(&[CHECK], text.as_bytes());
    assert!(refused.starts_with("550 5.7.1"), "{refused}");
    let machine = format!("Auto-Submitted: auto-generated\n{text}");
    check(&site, &signed(&site, &[machine]));
    let of_list = text.replace(ANA, "dev@lists.example.org");
    check(&site, &[of_list.into_bytes()]);
    let list = [
        "list",
        "create",
        "secret",
        "--address",
        "secret@lists.example.org",
        "--private",
    ];
    site.server.cli(&list);
    let to = "secret+check@lists.example.org";
    let mine = signed(&site, &[text.replace(CHECK, to)]).remove(0);
    let outside = site.server.send(&[to], &mine);
    assert!(outside.starts_with("550 5.7.1"), "{outside}");
    site.server.drain();
    assert!(outbox(&site).is_empty());
    site.server
        .cli(&["member", "add", "secret", "ana@example.org"]);
    let inside = site.server.send(&[to], &mine);
    assert!(inside.starts_with("250"), "{inside}");
    answer(&site, 1, "at secret@lists.example.org");
    let noted = site.server.cli(&["events", "dev"]);
    assert!(noted.contains("an automatic mail"), "{noted}");
}

#[test]
fn nobody_is_flooded_with_rehearsals_of_what_he_wrote_to_others() {
    let (site, _) = site(Database::Sqlite, &[]);
    let send = |mail: &[u8]| site.server.send(&[CHECK], mail);
    let others = today("o1@x", "hello", "eve@example.org");
    let old = mail("o2@x", ANA, "hello", "text\n").replace(LIST, CHECK);
    for mail in signed(&site, &[others, old]) {
        let refused = send(&mail);
        assert!(refused.starts_with("550 5.7.1"), "{refused}");
    }
    // The name of a mail is not signed by many.
    let fields = ["from", "to", "subject", "date"];
    let once = site.sign_only(&today("one@x", "hello", CHECK), &fields);
    check(&site, std::slice::from_ref(&once));
    answer(&site, 1, "hello");
    let again = String::from_utf8(once).unwrap();
    for name in ["two@x", "three@x", "one@x"] {
        check(
            &site,
            &[again.replace("<one@x>", &format!("<{name}>")).into()],
        );
    }
    site.server.drain();
    assert_eq!(outbox(&site).len(), 1);
}

#[test]
fn what_goes_over_tls_only_is_in_no_answer() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(
        &work,
        "src/a.c",
        "line 3\n",
        "line three\n",
        "canary\n\nSigned-off-by: Ana Lima <ana@example.org>",
    );
    let first = patches_to(LIST, &work, &["-1"]);
    site.send(&signed(&site, &first)[0]);
    site.server
        .cli(&["policy", "set", "dev", "--tls-only", "on"]);
    let id = first[0]
        .lines()
        .find_map(|l| l.split_once("<")?.1.split_once(".git.ana@"));
    let answered = format!("--in-reply-to={}.git.ana@example.org", id.unwrap().0);
    let fits = patches(&work, &["-1", "-v2", &answered]).remove(0);
    check(&site, &signed(&site, std::slice::from_ref(&fits)));
    let said = answer(&site, 2, "Rehearsal at");
    has(
        &said,
        &[
            "A series, v2 of 1 patch.",
            "a patchset that is here",
            "On the list's repository: it applies.",
        ],
    );
    let broken = fits
        .replace(" line 2\n", " canary 2\nnot a canary\n")
        .replace(".git.ana@", ".git.other@");
    check(&site, &signed(&site, &[broken]));
    let all = answer(&site, 3, "were wrapped");
    has(
        &all,
        &[
            "patch 1 cannot be used.",
            "begins with neither blank, + nor -",
        ],
    );
    for mail in outbox(&site) {
        if !mail.contains("Rehearsal at") {
            continue;
        }
        for word in ["canary", "src/a.c", "patchset 1", "Signed-off-by", "tool"] {
            assert!(!mail.contains(word), "{word} in {mail}");
        }
    }
}

#[test]
fn a_part_of_a_series_is_tried_where_the_whole_begins() {
    let (site, work) = site(Database::Sqlite, &[]);
    change(&work, "src/a.c", "line 3\n", "line three\n", "Three");
    change(&work, "src/a.c", "line 9\n", "line nine\n", "Nine");
    // Made within one second, its parts would have the names of the later ones.
    let first: Vec<String> = patches_to(LIST, &work, &["-2"])
        .iter()
        .map(|m| named(m, "whole"))
        .collect();
    for mail in signed(&site, &first) {
        site.send(&mail);
    }
    let id = first[1]
        .lines()
        .find_map(|l| l.split_once("<")?.1.split_once(".git.whole@"));
    let answered = format!("--in-reply-to={}.git.whole@example.org", id.unwrap().0);
    let second = patches(&work, &["-1", "-n", "--start-number=2", "-v2", &answered]);
    // The branch moves on, in the same file.
    git(&work, &["checkout", "-q", "main"]);
    change(&work, "src/a.c", "line 30\n", "line thirty\n", "Thirty");
    site.server.cli(&["repo", "fetch", "tool"]);
    check(&site, &signed(&site, &second));
    let said = answer(&site, 2, "Rehearsal at");
    has(
        &said,
        &[
            "v2-r1 of 2 patches.",
            "where the index blobs match): it applies.",
            "At the tip of main, ",
        ],
    );
    // The same version again, changed.
    git(&work, &["checkout", "-q", "topic"]);
    let later = patchpost::store::now().plus_secs(60).rfc5322();
    let again = patches(&work, &["-2", "-v1", &answered]);
    let again: Vec<String> = again
        .iter()
        .map(|m| dated(&named(m, "again"), &later).replace("+line three", "+line III"))
        .collect();
    check(&site, &signed(&site, &again));
    let said = answer(&site, 3, "your 2 mails");
    has(
        &said,
        &["Do not send this yet: v1 is there already; a new version would be sent with -v2."],
    );
}

#[test]
fn a_day_has_thirty_rehearsals() {
    let (site, _) = site(Database::Sqlite, &[]);
    let one = |n: usize| today(&format!("r{n}@x"), &format!("question {n}"), CHECK);
    let mails = signed(&site, &(0..31).map(one).collect::<Vec<_>>());
    check(&site, &mails[..30]);
    answer(&site, 30, "question 7");
    let refused = site.server.send(&[CHECK], &mails[30]);
    assert!(refused.starts_with("450 4.7.1"), "{refused}");
}
