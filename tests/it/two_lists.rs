//! One person sends series without threads to two lists in the same minutes: each list's are by themselves.

use super::harness::{Database, TestServer, on_both};

on_both! {
    series_without_threads_to_two_lists_do_not_mix,
}

fn patch(id: &str, subject: &str) -> String {
    format!(
        "From: Ana <ana@example.org>\nMessage-ID: <{id}>\nSubject: {subject}\n\nWhy.\n---\ndiff --git a/f b/f\n\
         index 1234567..2345678 100644\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+{id}\n"
    )
}

/// Versions by the mails of which they consist.
fn shown(server: &TestServer) -> Vec<String> {
    let all = server.json(&["series", "ls"]);
    let line = |s: &serde_json::Value| {
        let names = s["patches"].as_array().unwrap().iter();
        let names: Vec<&str> = names.map(|p| p["message_id"].as_str().unwrap()).collect();
        let whole = s["complete"] == true;
        format!(
            "v{} {} {whole}",
            s["version"].as_str().unwrap(),
            names.join(" ")
        )
    };
    let mut lines: Vec<String> = all.as_array().unwrap().iter().map(line).collect();
    lines.sort();
    lines
}

fn series_without_threads_to_two_lists_do_not_mix(database: Database) {
    let server = TestServer::start_on(database);
    for list in ["dev", "too", "old"] {
        let address = format!("{list}@x.org");
        server.cli(&["list", "create", list, "--address", &address]);
    }
    let send = |to: &[&str], id: &str, subject: &str| {
        let reply = server.send(to, patch(id, subject).as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    };
    let (dev, too, old) = ("dev@x.org", "too@x.org", "old@x.org");
    send(&[dev], "k1@x", "[PATCH 1/2] kiwi");
    send(&[too], "l1@x", "[PATCH 1/2] lime");
    send(&[too], "l2@x", "[PATCH 2/2] more lime");
    send(&[dev], "k2@x", "[PATCH 2/2] more kiwi");
    // To both, and then the rest to one of them.
    send(&[dev, too], "p1@x", "[PATCH v3 1/2] pear");
    send(&[too], "p2@x", "[PATCH v3 2/2] more pear");
    // Half of a series here and half of another there.
    send(&[dev], "f1@x", "[PATCH v4 1/2] fig");
    send(&[too], "g2@x", "[PATCH v4 2/2] more grape");
    // These have one list in common.
    send(&[dev, old], "m1@x", "[PATCH v5 1/2] melon");
    send(&[too, old], "m2@x", "[PATCH v5 2/2] more melon");
    server.drain();
    let mut expected = vec![
        "v1 k1@x k2@x true",
        "v1 l1@x l2@x true",
        "v3 p1@x p2@x true",
        "v4 f1@x false",
        "v4 g2@x false",
        "v5 m1@x m2@x true",
    ];
    assert_eq!(shown(&server), expected);
    for list in ["dev", "too"] {
        let queue = server.page(&format!("/{list}/patches/"));
        let own = queue.contains("kiwi");
        assert!(
            own == (list == "dev") && queue.contains("lime") != own,
            "{queue}"
        );
    }
    let page = server.page("/dev/patches/1/");
    let words = "the same sender, list, version and count within 20 minutes";
    assert!(page.contains(words), "{page}");
    assert!(server.cli(&["reclassify"]).contains("nothing changes"));
    // The mail comes to the other list, too: now the two may be one.
    send(&[too], "f1@x", "[PATCH v4 1/2] fig");
    server.drain();
    expected.splice(3..5, ["v4 f1@x g2@x true"]);
    assert_eq!(shown(&server), expected);
    // The list that they had in common is gone.
    server.cli(&["list", "rm", "old", "--purge"]);
    server.drain();
    expected.splice(4.., ["v5 m1@x false", "v5 m2@x false"]);
    assert_eq!(shown(&server), expected);
    assert!(server.cli(&["reclassify"]).contains("nothing changes"));
}
