//! DNS gives no answer about some mails when they come, and does later: they count as if it had answered at once.

use std::path::PathBuf;

use super::authority::{ANA, patch};
use super::harness::Database;
use super::identity::{Site, mail};

const FAILING: &str = "s._domainkey.example.org FAIL\n";

/// A site whose zone is a file that a test can change, which says nothing of `example.org` yet.
struct Story {
    site: Site,
    zone: PathBuf,
    _folder: tempfile::TempDir,
}

impl Story {
    fn start(database: Database, environment: &[(&str, &str)]) -> Story {
        let folder = tempfile::tempdir().unwrap();
        let zone = folder.path().join("zone");
        std::fs::write(&zone, FAILING).unwrap();
        let path = zone.display().to_string();
        let mut all = vec![("PATCHPOST_DNS_ZONE", path.as_str())];
        all.extend(environment);
        Story {
            site: Site::start_on(database, &all),
            zone,
            _folder: folder,
        }
    }

    /// From now on the zone holds these records.
    fn change_zone(&mut self, records: &str) {
        std::fs::write(&self.zone, records).unwrap();
        self.site.server.terminate();
        self.site.server.launch();
    }

    fn answering(&self) -> String {
        format!("s._domainkey.example.org TXT {}\n", self.site.key.record)
    }

    /// DNS is asked at once, not in some minutes.
    fn ask_now(&self) -> String {
        let out = self
            .site
            .server
            .command()
            .args(["jobs", "--retry"])
            .output();
        self.site.server.drain();
        String::from_utf8(out.unwrap().stderr).unwrap()
    }

    fn jobs(&self) -> Vec<serde_json::Value> {
        let jobs = self.site.server.json(&["jobs"]);
        let jobs = jobs.as_array().unwrap().iter();
        jobs.filter(|j| j["kind"] == "verify").cloned().collect()
    }
}

fn a_patch_of_a_series_is_asked_about_again(database: Database) {
    let mut story = Story::start(database, &[]);
    let first = patch("p1@x", ANA, "[PATCH 1/2] first", "", 5);
    let second = patch("q1@x", ANA, "[PATCH 2/2] second", "p1@x", 15);
    story.site.send(&story.site.sign(&second));
    assert_eq!(
        story.site.said("q1@x"),
        "not authenticated: DNS gave no answer"
    );
    // The answer is there for the other half.
    story.change_zone(&story.answering());
    story.site.send(&story.site.sign(&first));
    assert_eq!(story.site.said("p1@x"), "authenticated: DKIM example.org");
    let before = story.site.server.json(&["series", "ls", "dev"]);
    assert_eq!(before.as_array().unwrap().len(), 2, "{before}");
    assert_eq!(story.jobs().len(), 1, "{:?}", story.jobs());

    let said = story.ask_now();
    assert!(said.contains("DNS is asked again about 1 mail\n"), "{said}");
    assert_eq!(story.site.said("q1@x"), "authenticated: DKIM example.org");
    let after = story.site.server.json(&["series", "ls", "dev"]);
    let all = after.as_array().unwrap();
    assert_eq!(all.len(), 1, "{after}");
    assert_eq!(all[0]["complete"], true, "{after}");
    assert!(story.jobs().is_empty());
    let list = story.site.server.json(&["list", "show", "dev"]);
    assert_eq!(list["postings"], 2, "nothing is posted twice");
}

#[test]
fn a_patch_of_a_series_is_asked_about_again_on_sqlite() {
    a_patch_of_a_series_is_asked_about_again(Database::Sqlite);
}

#[test]
fn a_patch_of_a_series_is_asked_about_again_on_postgresql() {
    a_patch_of_a_series_is_asked_about_again(Database::Postgres);
}

#[test]
fn dns_is_asked_until_it_answers_and_a_no_is_an_answer() {
    let mut story = Story::start(Database::Sqlite, &[]);
    story
        .site
        .send(&story.site.sign(&mail("a@x", ANA, "a", "text\n")));
    let forged = story.site.sign(&mail("b@x", ANA, "b", "text\n"));
    let forged = String::from_utf8(forged).unwrap().replace("text", "next");
    story.site.send(forged.as_bytes());
    story
        .site
        .send(mail("plain@x", ANA, "c", "text\n").as_bytes());
    // A body that was changed needs no answer, and what nobody signed has none to wait for.
    assert_eq!(story.jobs().len(), 1, "{:?}", story.jobs());
    // Still nothing: it waits, and says for what.
    story.ask_now();
    let jobs = story.jobs();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0]["state"], "waiting");
    assert_eq!(
        jobs[0]["problem"],
        "DNS gave no answer about its signatures"
    );
    assert_eq!(
        story.site.said("a@x"),
        "not authenticated: DNS gave no answer"
    );
    // The key is gone for good. What was shown of it before is not shown from memory.
    story.change_zone("example.org TXT v=spf1 -all\n");
    assert_eq!(
        story.site.said("a@x"),
        "not authenticated: DNS gave no answer"
    );
    story.ask_now();
    assert_eq!(story.site.said("a@x"), "not authenticated");
    assert!(story.jobs().is_empty());
}

#[test]
fn a_better_copy_among_others_is_found_by_a_later_answer() {
    let mut story = Story::start(Database::Sqlite, &[]);
    let text = mail("two@x", ANA, "two ways", "text\n");
    story
        .site
        .send(format!("X-Relay: other\n{text}").as_bytes());
    let sound = story.site.sign(&text);
    story.site.send(&sound);
    assert_eq!(story.site.said("two@x"), "not authenticated");
    story.change_zone(&story.answering());
    story.ask_now();
    assert_eq!(story.site.said("two@x"), "authenticated: DKIM example.org");
    let served = story.site.server.get("/dev/two@x/eml");
    assert_eq!(served.text(), String::from_utf8(sound).unwrap());
}

#[test]
fn what_is_held_as_dns_was_silent_is_let_through_and_nothing_else() {
    let moderation = ("PATCHPOST_LISTS_MODERATION", "strangers");
    let mut story = Story::start(Database::Sqlite, &[moderation]);
    let server = &story.site.server;
    server.cli(&[
        "policy",
        "set",
        "dev",
        "--person",
        "ana@example.org=reply,post",
    ]);
    let own = mail("own@x", ANA, "own", "text\n");
    let bob = mail("bob@x", "Bob <bob@example.org>", "stranger", "text\n");
    let emergency = mail("later@x", ANA, "while the list stands still", "text\n");
    story.site.send(&story.site.sign(&own));
    story.site.send(&story.site.sign(&bob));
    server.cli(&["policy", "set", "dev", "--emergency", "on"]);
    story.site.send(&story.site.sign(&emergency));
    server.cli(&["policy", "set", "dev", "--emergency", "off"]);
    let names = |story: &Story| -> Vec<(String, bool)> {
        let all = story.site.server.json(&["held", "ls", "dev"]);
        let one = |h: &serde_json::Value| {
            let name = h["message_id"].as_str().unwrap().to_owned();
            (name, h["authenticated"] == true)
        };
        all.as_array().unwrap().iter().map(one).collect()
    };
    let held = names(&story);
    assert_eq!(held.len(), 3, "{held:?}");
    assert!(held.iter().all(|(_, authenticated)| !authenticated));
    story.change_zone(&story.answering());
    story.ask_now();
    let expected = [("bob@x".to_owned(), true), ("later@x".to_owned(), true)];
    assert_eq!(names(&story), expected);
    assert_eq!(story.site.said("own@x"), "authenticated: DKIM example.org");
    let events = story.site.server.cli(&["events", "dev"]);
    assert!(events.contains("own@x"), "{events}");
    // Whom a person lets through is authenticated by now.
    story
        .site
        .server
        .cli(&["held", "accept", "--all", "--list", "dev"]);
    story.site.server.drain();
    assert_eq!(story.site.said("bob@x"), "authenticated: DKIM example.org");
}

#[test]
fn a_wish_that_nobody_could_prove_is_met_when_dns_answers() {
    let mut story = Story::start(Database::Sqlite, &[]);
    let ben = "ben@example.org=reply,post,moderate";
    let server = &story.site.server;
    server.cli(&["policy", "set", "dev", "--person", ben]);
    let patch = patch("p1@x", ANA, "[PATCH] first", "", 5);
    story.site.send(&story.site.sign(&patch));
    let now = patchpost::store::now().rfc5322();
    let wish = mail(
        "w@x",
        "Ben <ben@example.org>",
        "Re: [PATCH] first",
        "/state rejected\n",
    )
    .replace("Mon, 01 Jan 2024 10:00:00 +0000", &now);
    let wish = format!("In-Reply-To: <p1@x>\n{wish}");
    story.site.send(&story.site.sign(&wish));
    let state = |story: &Story| {
        let all = story.site.server.json(&["series", "show", "1"]);
        all[0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&story), "new");
    story.change_zone(&story.answering());
    story.ask_now();
    assert_eq!(state(&story), "rejected");
}
