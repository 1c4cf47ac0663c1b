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
    answer(&mail(id, from, "Re: [PATCH v2] first", text), parent)
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
    post(&site, &site.sign(&field));
    assert_eq!(states(&site), "v1 rejected, v2 under review");
    let field = reply("r3@x", BEN, "r1@x", "Done.\n");
    post(
        &site,
        &site.sign(&format!("X-Patchwork-State: Accepted\n{field}")),
    );
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
