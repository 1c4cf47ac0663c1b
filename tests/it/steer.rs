//! States and delegates by mail: whoever has the right gets his wish and a word about it; nobody else moves anything.

mod once;

use serde_json::Value;

use super::harness::TestServer;
use super::identity::{LIST, Site, mail};

const ANA: &str = "Ana Lima <ana@example.org>";
const BEN: &str = "Ben <ben@example.org>";
const KIM: &str = "Kim <kim@example.org>";

/// Two signed versions of one patch by Ana, and Ben as moderator.
fn site() -> Site {
    let site = Site::start(&[]);
    let ben = "ben@example.org=reply,post,moderate";
    site.server.cli(&["policy", "set", "dev", "--person", ben]);
    for (id, subject, parent) in [
        ("p1@x", "[PATCH] first", ""),
        ("p2@x", "[PATCH v2] first", "p1@x"),
    ] {
        let body = format!(
            "Text.\n---\n a | 1 +\n\ndiff --git a/a b/a\nnew file mode 100644\n--- /dev/null\n+++ b/a\n@@ -0,0 +1 @@\n+{id}\n-- \n2.40\n"
        );
        post(
            &site,
            &site.sign(&answer(&mail(id, ANA, subject, &body), parent)),
        );
    }
    site
}

fn answer(mail: &str, parent: &str) -> String {
    match parent {
        "" => mail.to_owned(),
        parent => format!("In-Reply-To: <{parent}>\nReferences: <{parent}>\n{mail}"),
    }
}

/// A reply to `parent` with these lines of text.
fn reply(id: &str, from: &str, parent: &str, text: &str) -> String {
    let now = patchpost::store::now().rfc5322();
    let mail = mail(id, from, "Re: [PATCH v2] first", text);
    let mail = mail.replace("Mon, 01 Jan 2024 10:00:00 +0000", &now);
    answer(&mail, parent)
}

/// What many providers sign: neither the name of the mail nor fields that they do not know.
const SIGNED: [&str; 6] = ["from", "to", "subject", "date", "in-reply-to", "references"];

/// A signed mail under another name, as whoever has it can send it.
fn renamed(mail: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(mail.to_vec()).unwrap();
    assert!(text.contains(from));
    text.replace(
        &format!("Message-ID: <{from}>"),
        &format!("Message-ID: <{to}>"),
    )
    .into_bytes()
}

#[track_caller]
fn post(site: &Site, mail: &[u8]) {
    let said = site.server.send(&[LIST], mail);
    assert!(said.starts_with("250"), "{said}");
    settle(&site.server);
}

/// Waits until all mail is filed and all wishes are answered.
#[track_caller]
fn settle(server: &TestServer) {
    server.wait_for("wishes to be answered", || {
        let jobs = server.json(&["jobs"]);
        let busy = |j: &Value| j["kind"] == "file" || j["kind"] == "steer";
        (!jobs.as_array().unwrap().iter().any(busy)).then_some(())
    });
}

/// `v1 superseded, v2 accepted`
fn states(site: &Site) -> String {
    let versions: Vec<Value> =
        serde_json::from_value(site.server.json(&["series", "show", "1"])).unwrap();
    let one = |v: &Value| {
        let text = |name: &str| v[name].as_str().unwrap_or("?").to_owned();
        format!("v{} {}", text("version"), text("state"))
    };
    versions.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What automatic mail went to that address, one text a mail.
fn letters(site: &Site, to: &str) -> Vec<String> {
    let folder = site.server.data().join("outbox");
    let files = std::fs::read_dir(folder).into_iter().flatten();
    let texts = files.filter_map(|f| std::fs::read_to_string(f.unwrap().path()).ok());
    let ours = |t: &String| t.contains("Auto-Submitted:") && t.contains(&format!("To: {to}"));
    texts.filter(ours).collect()
}

#[track_caller]
fn wait_for_letter(site: &Site, to: &str, words: &str) {
    site.server.wait_for(words, || {
        letters(site, to)
            .iter()
            .any(|l| l.contains(words))
            .then_some(())
    });
}

#[test]
fn a_moderator_sets_states_and_delegates_by_mail() {
    let site = site();
    assert_eq!(states(&site), "v1 superseded, v2 new");
    let lines = "Thanks.\n\n/state under-review\n/delegate kim@example.org\n";
    post(&site, &site.sign(&reply("r1@x", BEN, "p2@x", lines)));
    assert_eq!(states(&site), "v1 superseded, v2 under review");
    wait_for_letter(&site, "ben@example.org", "Its state is: under review.");
    let page = site.server.page("/dev/patches/1/");
    assert!(
        page.contains("looked after by <bdi>kim@example.org</bdi>"),
        "{page}"
    );
    assert!(
        page.contains("v2: under review") && page.contains("ben@example.org"),
        "{page}"
    );

    // Fields of aerc, mutt and the like; the version that is answered is meant.
    let field = reply("r2@x", BEN, "p1@x", "Old.\n");
    let field = format!("X-Sourcehut-Patchset-Update: REJECTED\n{field}");
    let with = |name: &'static str| [&SIGNED[..], &[name]].concat();
    post(
        &site,
        &site.sign_only(&field, &with("x-sourcehut-patchset-update")),
    );
    assert_eq!(states(&site), "v1 rejected, v2 under review");
    let field = reply("r3@x", BEN, "r1@x", "Done.\n");
    let field = format!("X-Patchwork-State: Accepted\n{field}");
    post(&site, &site.sign_only(&field, &with("x-patchwork-state")));
    assert_eq!(states(&site), "v1 rejected, v2 accepted");

    // It holds through a reading anew, and `auto` takes it back.
    site.server.cli(&["reclassify", "dev"]);
    assert_eq!(states(&site), "v1 rejected, v2 accepted");
    post(
        &site,
        &site.sign(&reply("r4@x", BEN, "p2@x", "/state auto\n/delegate none\n")),
    );
    assert_eq!(states(&site), "v1 rejected, v2 new");
    assert!(!site.server.page("/dev/patches/1/").contains("looked after"));
}

#[test]
fn who_sent_a_series_takes_it_back_and_no_more() {
    let site = site();
    post(
        &site,
        &site.sign(&reply("r1@x", ANA, "p2@x", "/state accepted\n")),
    );
    assert_eq!(states(&site), "v1 superseded, v2 new");
    wait_for_letter(&site, "ana@example.org", "the rest is for moderators");
    post(
        &site,
        &site.sign(&reply("r2@x", ANA, "p2@x", "Not good.\n/state rejected\n")),
    );
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
    post(
        &site,
        &site.sign(&reply("r3@x", ANA, "p2@x", "/state changes-requested\n")),
    );
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
    wait_for_letter(&site, "ana@example.org", "it was decided on already");
    wait_for_letter(&site, "ana@example.org", "dev+owner@lists.example.org");
    wait_for_letter(
        &site,
        "ana@example.org",
        "Subject: About \"first\", v2 of dev",
    );
}

#[test]
fn nobody_else_moves_anything_and_no_stranger_is_answered() {
    let site = site();
    let before = states(&site);
    // A member without the right, well authenticated: told.
    post(
        &site,
        &site.sign(&reply("r1@x", KIM, "p2@x", "/state accepted\n")),
    );
    wait_for_letter(&site, "kim@example.org", "only moderators of the list");
    // In the moderator's name, without his signature: not told, noted.
    post(
        &site,
        reply("r2@x", BEN, "p2@x", "/state accepted\n").as_bytes(),
    );
    assert_eq!(states(&site), before);
    assert!(letters(&site, "ben@example.org").is_empty());
    let notes = site.server.cli(&["events", "dev"]);
    assert!(
        notes.contains("nothing proves who sent the mail"),
        "{notes}"
    );
    // A signed mail of his to somebody else, sent here by a third person.
    let other = reply("r3@x", BEN, "p2@x", "/state accepted\n");
    let other = other.replace(&format!("To: {LIST}"), "To: kim@example.org");
    post(&site, &site.sign(&other));
    assert_eq!(states(&site), before);
    assert!(letters(&site, "ben@example.org").is_empty());
    // Written by a machine in his name.
    let machine = reply("r4@x", BEN, "p2@x", "/state accepted\n");
    post(
        &site,
        &site.sign(&format!("Auto-Submitted: auto-replied\n{machine}")),
    );
    assert_eq!(states(&site), before);
    // Quoted by somebody who answers him.
    post(
        &site,
        &site.sign(&reply("r5@x", BEN, "p2@x", "> /state accepted\nNo.\n")),
    );
    assert_eq!(states(&site), before);
    // Not a word that exists, and not a series.
    post(
        &site,
        &site.sign(&reply("r6@x", BEN, "p2@x", "/state fine\n")),
    );
    wait_for_letter(&site, "ben@example.org", "there is no such state");
    post(&site, &site.sign(&mail("talk@x", BEN, "talk", "Hello.\n")));
    post(
        &site,
        &site.sign(&reply("r7@x", BEN, "talk@x", "/state accepted\n")),
    );
    wait_for_letter(&site, "ben@example.org", "answers no patch series");
    assert_eq!(states(&site), before);
}

/// Who is faster with an unsigned copy of a signed mail does not keep it from being obeyed, and a mail that comes again is
/// obeyed once.
#[test]
fn copies_of_one_mail_are_obeyed_once_and_only_for_what_is_signed() {
    let site = site();
    let wish = reply("r1@x", BEN, "p2@x", "/state rejected\n");
    post(&site, wish.as_bytes());
    assert_eq!(states(&site), "v1 superseded, v2 new");
    let signed = site.sign(&wish);
    post(&site, &signed);
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
    site.server.cli(&["series", "state", "1", "deferred"]);
    post(&site, &signed);
    assert_eq!(states(&site), "v1 superseded, v2 deferred");
}

#[test]
fn fields_that_a_stranger_put_on_a_signed_mail_move_nothing() {
    let site = site();
    let before = states(&site);
    let mail = reply("r1@x", BEN, "p2@x", "Looks good to me.\n");
    let mail = site.sign_only(&mail, &SIGNED);
    post(&site, &mail);
    let field = b"X-Patchwork-State: rejected\r\nX-Patchwork-Delegate: eve@example.net\r\n";
    let forged = [field.as_slice(), &renamed(&mail, "r1@x", "f1@x")].concat();
    post(&site, &forged);
    assert_eq!(states(&site), before);
    assert!(!site.server.page("/dev/patches/1/").contains("looked after"));
    // Nor does the list's address on a mail that was for somebody else.
    let other = reply("r2@x", BEN, "p2@x", "/state rejected\n");
    let other = other.replace(&format!("To: {LIST}\n"), "");
    let other = site.sign_only(
        &other,
        &["from", "subject", "date", "in-reply-to", "references"],
    );
    let forged = [format!("To: {LIST}\r\n").as_bytes(), &other].concat();
    post(&site, &forged);
    assert_eq!(states(&site), before);
    let notes = site.server.cli(&["events", "dev"]);
    assert!(notes.contains("or nobody signed that it does"), "{notes}");
}

#[test]
fn a_signed_wish_counts_once_and_for_some_days() {
    let site = site();
    let wish = site.sign_only(&reply("r1@x", BEN, "p2@x", "/state rejected\n"), &SIGNED);
    post(&site, &wish);
    assert_eq!(states(&site), "v1 superseded, v2 rejected");
    site.server.cli(&["series", "state", "1", "deferred"]);
    post(&site, &renamed(&wish, "r1@x", "again@x"));
    assert_eq!(states(&site), "v1 superseded, v2 deferred");
    let old = mail("r2@x", BEN, "Re: [PATCH v2] first", "/state rejected\n");
    post(&site, &site.sign(&answer(&old, "p2@x")));
    assert_eq!(states(&site), "v1 superseded, v2 deferred");
}

#[test]
fn a_moderator_of_another_list_moves_nothing_here() {
    let site = site();
    let users = "users@lists.example.org";
    let kim = "kim@example.org=reply,post,moderate";
    site.server
        .cli(&["list", "create", "users", "--address", users]);
    site.server
        .cli(&["policy", "set", "users", "--person", kim]);
    let before = states(&site);
    for (id, to, lists) in [
        ("r1@x", users.to_owned(), vec![users]),
        ("r2@x", format!("{LIST}, {users}"), vec![LIST, users]),
    ] {
        let wish = reply(id, KIM, "p2@x", "/state rejected\n");
        let wish = wish.replace(&format!("To: {LIST}"), &format!("To: {to}"));
        let said = site.server.send(&lists, &site.sign(&wish));
        assert!(said.starts_with("250"), "{said}");
        settle(&site.server);
        assert_eq!(states(&site), before, "{to}");
    }
    wait_for_letter(
        &site,
        "kim@example.org",
        "is not on a list that the mail names",
    );
    wait_for_letter(&site, "kim@example.org", "only moderators of the list");
}

#[test]
fn a_list_that_is_not_public_answers_its_own_people_only() {
    let site = site();
    let core = "core@lists.example.org";
    site.server.cli(&[
        "list",
        "create",
        "core",
        "--style",
        "security",
        "--address",
        core,
    ]);
    let ben = "ben@example.org=reply,post,moderate";
    site.server.cli(&["policy", "set", "core", "--person", ben]);
    let to_core = |mail: String| mail.replace(&format!("To: {LIST}"), &format!("To: {core}"));
    let body = "Text.\n---\ndiff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n";
    let patch = to_core(mail("hole@x", ANA, "[PATCH] hole", body));
    for text in [
        patch,
        to_core(reply("k1@x", KIM, "hole@x", "/state rejected\n")),
        to_core(reply("b1@x", BEN, "hole@x", "/state rejected\n")),
    ] {
        let said = site.server.send(&[core], &site.sign(&text));
        assert!(said.starts_with("250"), "{said}");
        settle(&site.server);
    }
    wait_for_letter(&site, "ben@example.org", "Its state is: rejected.");
    let told = letters(&site, "ben@example.org").concat();
    assert!(!told.contains("/patches/"), "no number travels: {told}");
    assert!(letters(&site, "kim@example.org").is_empty());
}
