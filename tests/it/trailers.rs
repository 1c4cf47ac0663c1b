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

    // The first patch is the same elsewhere in its file, the second is another, the third carries its ack by now.
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
        "1: Acked-by Chen on v1",
    ];
    assert_eq!(given(&site, 1), second);
    let mbox = site.server.page("/dev/patches/1/v2/mbox");
    assert_eq!(mbox.matches("\nReviewed-by: ").count(), 1, "{mbox}");
    assert_eq!(mbox.matches("\nAcked-by: ").count(), 2, "{mbox}");
    assert_eq!(mbox.matches("\nTested-by: ").count(), 0, "{mbox}");
    let folded = format!("Signed-off-by: {ANA}\nReviewed-by: {BEN}\nAcked-by: {CHEN}\n---\n");
    assert!(mbox.contains(&folded), "{mbox}");
    assert_eq!(site.server.cli(&["series", "mbox", "1"]), mbox);
    let page = site.server.page("/dev/patches/1/");
    for words in [
        "2 acks<",
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
    assert_eq!(again.len(), 3);
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
