//! Trailers that reviewers give: kept by patches that a later version sends again unchanged, once a person, by authority.

use serde_json::Value;

use super::identity::{Site, mail};

const ANA: &str = "Ana Lima <ana@example.org>";
const BEN: &str = "Ben Ode <ben@example.org>";
const CHEN: &str = "Chen <chen@example.org>";

/// A patch that changes one line of a file; `at` moves the hunk, as a rebase does.
fn patch(id: &str, subject: &str, parent: &str, (file, line, at): (&str, &str, usize)) -> String {
    let body = format!(
        "Text of {id}.\n\nSigned-off-by: {ANA}\n---\n {file} | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\n\
         diff --git a/{file} b/{file}\nindex 1111111..222222{} 100644\n--- a/{file}\n+++ b/{file}\n@@ -{at} +{at} @@ in {id}\n-old\n+{line}\n-- \n2.47\n",
        at % 10
    );
    answer(&mail(id, ANA, subject, &body), parent)
}

fn answer(mail: &str, parent: &str) -> String {
    match parent {
        "" => mail.to_owned(),
        parent => format!("In-Reply-To: <{parent}>\nReferences: <{parent}>\n{mail}"),
    }
}

fn reply(id: &str, from: &str, parent: &str, text: &str) -> String {
    let body = format!("On that day, Ana Lima wrote:\n> Text.\n\n{text}\n");
    answer(&mail(id, from, "Re: [PATCH] something", &body), parent)
}

/// What the patches of a version were given: `number: Name: who`, a mark for claims, and the version it was given on.
fn given(site: &Site, version: usize) -> Vec<String> {
    let all = site.server.json(&["series", "show", "1"]);
    let mut out = Vec::new();
    for patch in all[version]["patches"].as_array().unwrap() {
        let trailers = patch["trailers"].as_array().unwrap().iter();
        for t in trailers.filter(|t| t["message_id"] != Value::Null) {
            let who = t["value"].as_str().unwrap().split(' ').next().unwrap();
            let claim = if t["matches"] == true { "" } else { " (claim)" };
            let on = t["given_on"]
                .as_str()
                .map_or(String::new(), |v| format!(" on v{v}"));
            out.push(format!(
                "{}: {} {who}{claim}{on}",
                patch["number"],
                t["name"].as_str().unwrap()
            ));
        }
    }
    out
}

fn story(environment: &[(&str, &str)]) {
    let site = Site::start(environment);
    let send = |text: &str| site.send(&site.sign(text));
    send(&mail("c1@x", ANA, "[PATCH 0/3] three things", "Three.\n"));
    send(&patch(
        "a1@x",
        "[PATCH 1/3] first",
        "c1@x",
        ("a", "one", 10),
    ));
    send(&patch(
        "b1@x",
        "[PATCH 2/3] second",
        "c1@x",
        ("b", "two", 10),
    ));
    send(&patch(
        "d1@x",
        "[PATCH 3/3] third",
        "c1@x",
        ("d", "three", 10),
    ));
    let reviewed = format!("Reviewed-by: {BEN}");
    send(&reply("r1@x", BEN, "a1@x", &reviewed));
    send(&reply("r2@x", BEN, "b1@x", &reviewed));
    // The same person once more, from an address with detail.
    send(&reply(
        "r3@x",
        BEN,
        "a1@x",
        "Reviewed-by: ben ode <ben+git@example.org>",
    ));
    send(&reply("r4@x", CHEN, "c1@x", &format!("Acked-by: {CHEN}")));
    // Nobody speaks for this sender, and the name is not hers to give.
    site.send(reply("r5@x", CHEN, "a1@x", &format!("Tested-by: {CHEN}")).as_bytes());
    let first = [
        "1: Reviewed-by Ben",
        "1: Tested-by Chen (claim)",
        "1: Acked-by Chen",
        "2: Reviewed-by Ben",
        "2: Acked-by Chen",
        "3: Acked-by Chen",
    ];
    assert_eq!(given(&site, 0), first);

    // The first patch is the same elsewhere in its file, the second is another, the third carries its ack by now. What was
    // given to the cover letter was given to the series as it was.
    send(&mail(
        "c2@x",
        ANA,
        "[PATCH v2 0/3] three things",
        "Three again.\n",
    ));
    send(&patch(
        "a2@x",
        "[PATCH v2 1/3] first",
        "c2@x",
        ("a", "one", 17),
    ));
    send(&patch(
        "b2@x",
        "[PATCH v2 2/3] second",
        "c2@x",
        ("b", "zwei", 10),
    ));
    let third = patch("d2@x", "[PATCH v2 3/3] third", "c2@x", ("d", "three", 10));
    send(&third.replace("Signed-off-by", &format!("Acked-by: {CHEN}\nSigned-off-by")));
    let second = [
        "1: Reviewed-by Ben on v1",
        "1: Tested-by Chen (claim) on v1",
    ];
    assert_eq!(given(&site, 1), second);
    let mbox = site.server.page("/dev/patches/1/v2/mbox");
    assert_eq!(mbox.matches("\nReviewed-by: ").count(), 1, "{mbox}");
    assert_eq!(mbox.matches("\nAcked-by: ").count(), 1, "{mbox}");
    assert_eq!(mbox.matches("\nTested-by: ").count(), 0, "{mbox}");
    let folded = format!("Signed-off-by: {ANA}\nReviewed-by: {BEN}\n---\n");
    assert!(mbox.contains(&folded), "{mbox}");
    assert_eq!(site.server.cli(&["series", "mbox", "1"]), mbox);
    let page = site.server.page("/dev/patches/1/");
    for words in [
        "1 ack<",
        "<bdi>Ben Ode</bdi></a> (patch 1, on v1)",
        "(patch 1, on v1, sent by",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }

    // Given again: it is that of this version.
    send(&reply("r6@x", BEN, "a2@x", &reviewed));
    let again = given(&site, 1);
    assert!(
        again.contains(&"1: Reviewed-by Ben".to_owned()),
        "{again:?}"
    );
    assert_eq!(again.len(), 2);
    assert_eq!(given(&site, 0), first, "the first version is as it was");
}

#[test]
fn an_unchanged_patch_keeps_its_reviews_on_sqlite() {
    story(&[]);
}

#[test]
fn an_unchanged_patch_keeps_its_reviews_on_postgresql() {
    let url = super::postgres::new_database();
    story(&[("PATCHPOST_DATABASE_URL", &url)]);
}

#[test]
fn what_an_unauthenticated_version_was_given_is_a_claim_on_an_authenticated_one() {
    let site = Site::start(&[]);
    let first = patch("a1@x", "[PATCH] first", "", ("a", "one", 10));
    site.send(first.as_bytes());
    site.send(reply("r1@x", BEN, "a1@x", &format!("Reviewed-by: {BEN}")).as_bytes());
    assert_eq!(
        given(&site, 0),
        ["1: Reviewed-by Ben"],
        "nobody is authenticated here"
    );
    let second = patch("a2@x", "[PATCH v2] first", "a1@x", ("a", "one", 10));
    site.send(&site.sign(&second));
    assert_eq!(given(&site, 1), ["1: Reviewed-by Ben (claim) on v1"]);
    assert!(
        !site
            .server
            .page("/dev/patches/1/mbox")
            .contains("Reviewed-by")
    );
}

/// Imported mails have whole seconds: two of one moment stand in the same order, in whichever they were filed.
#[test]
fn folded_trailers_stand_in_one_order() {
    let answers: Vec<String> = (0..6)
        .map(|n| {
            let who = format!("P{n} <p{n}@example.org>");
            reply(
                &format!("r{n}@x"),
                &who,
                "a1@x",
                &format!("Acked-by: {who}"),
            )
        })
        .collect();
    let folded = |turned: bool| {
        let server = super::harness::TestServer::start();
        server.cli(&["list", "create", "dev"]);
        let mut mails = vec![patch("a1@x", "[PATCH] first", "", ("a", "one", 10))];
        mails.extend(answers.iter().cloned());
        if turned {
            mails.reverse();
        }
        let path = server.dir.path().join("all.mbox");
        let separated = |m: &String| format!("From mboxrd@z Thu Jan  1 00:00:00 1970\n{m}\n");
        std::fs::write(&path, mails.iter().map(separated).collect::<String>()).unwrap();
        server.cli(&[
            "import",
            "dev",
            &path.display().to_string(),
            "--format",
            "mbox",
        ]);
        server.drain();
        server.cli(&["series", "mbox", "1"])
    };
    let one = folded(false);
    assert_eq!(one.matches("\nAcked-by: ").count(), 6, "{one}");
    assert_eq!(folded(true), one);
}

/// Trailer lines of an mbox, sorted: b4's order of carried ones follows no rule that could be seen.
fn trailer_lines(mbox: &str) -> Vec<&str> {
    let given =
        |l: &&str| l.contains("-by: ") || l.starts_with("Fixes: ") || l.starts_with("Link: ");
    let mut all: Vec<&str> = mbox.lines().filter(given).collect();
    all.sort_unstable();
    all
}

/// What real `b4 am` makes of the same mails.
#[test]
fn trailers_are_carried_to_an_unchanged_patch_as_b4_carries_them() {
    let dee = "Dee <dee@example.com>";
    let on = |id: &str, from: &str, parent: &str, text: &str| reply(id, from, parent, text);
    let by = |word: &str, who: &str| format!("{word}-by: {who}");
    let version = |n: usize, parent: &str, line: &str| {
        let subject = format!("[PATCH v{n}] first");
        patch(&format!("a{n}@x"), &subject, parent, ("a", line, 10 + n))
    };
    let three = vec![
        version(1, "", "one"),
        on("r1@x", BEN, "a1@x", &by("Reviewed", BEN)),
        version(2, "a1@x", "one"),
        on("r2@x", CHEN, "a2@x", &by("Acked", CHEN)),
        version(3, "a2@x", "one"),
        on("r3@x", dee, "a3@x", &by("Tested", dee)),
    ];
    let mut again = three.clone();
    again.push(on("r4@x", BEN, "a3@x", &by("Reviewed", BEN)));
    let two = |second: &str, given: &str| {
        vec![
            version(1, "", "one"),
            on("r1@x", BEN, "a1@x", given),
            version(2, "a1@x", second),
        ]
    };
    let stories = [
        ("three", 3, three),
        ("again", 3, again),
        ("changed", 2, two("two", &by("Reviewed", BEN))),
        ("blanks", 2, two("  one", &by("Reviewed", BEN))),
        ("claim", 2, two("one", &by("Reviewed", CHEN))),
        (
            "fields",
            2,
            two(
                "one",
                "Fixes: 0123456789ab (\"x\")\nLink: https://x.example/",
            ),
        ),
    ];
    let server = super::harness::TestServer::start();
    for (name, last, mails) in stories {
        let list = format!("l{name}");
        server.cli(&["list", "create", &list, "--private"]);
        let dir = server.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let path = dir.join("all.mbox").display().to_string();
        // b4 looks at dates, too: a reply that is no older than the next version may be meant for that.
        let dated = |(day, m): (usize, &String)| {
            let m = m.replace("Mon, 01 Jan", &format!("Mon, {:02} Jan", day + 1));
            format!("From mboxrd@z Thu Jan  1 00:00:00 1970\n{m}\n")
        };
        let mails = mails.iter().enumerate().map(dated);
        std::fs::write(&path, mails.collect::<String>()).unwrap();
        server.cli(&["import", &list, &path, "--format", "mbox"]);
        server.drain();
        let number = server.json(&["series", "ls", &list])[0]["patchset"].to_string();
        let ours = server.cli(&["series", "mbox", &number]);
        let mut b4 = super::tools::tool("b4");
        b4.current_dir(&dir).env("HOME", &dir);
        b4.args(["--offline-mode", "am", "-m", &path, "-o", "out"]);
        super::tools::run(b4.arg(format!("a{last}@x")));
        let made = std::fs::read_dir(dir.join("out")).unwrap();
        let made = made.map(|e| e.unwrap().path());
        let theirs = made
            .into_iter()
            .find(|p| p.extension().is_some_and(|e| e == "mbx"));
        let theirs = std::fs::read_to_string(theirs.unwrap()).unwrap();
        assert_eq!(trailer_lines(&ours), trailer_lines(&theirs), "{name}");
    }
}
