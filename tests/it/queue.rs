//! What is owed is seen and steered, on both databases; each step is noted.

use serde_json::{Value, json};

use super::harness::{Database, TestServer, free_port, on_both, request};

on_both! {
    an_operator_sees_holds_retries_and_drops_what_is_owed,
}

fn ids(rows: &Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|r| r["id"].as_str().unwrap().to_owned()).collect()
}

fn an_operator_sees_holds_retries_and_drops_what_is_owed(database: Database) {
    // A port that nobody listens on: all copies stay owed.
    let relay = format!("127.0.0.1:{}", free_port());
    let server = TestServer::start_on_with(
        database,
        &[
            ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
            ("PATCHPOST_DELIVERY_RELAY", &relay),
        ],
    );
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let members = ["a@one.example", "b@one.example", "c@two.example"];
    server.cli(&[&["member", "add", "dev"][..], &members].concat());
    let mail = b"From: a@b.c\nSubject: s\nMessage-ID: <q@x>\n\ntext\n";
    assert!(server.send(&["dev@x.org"], mail).starts_with("250"));
    let owed = |filter: &[&str]| server.json(&[&["queue", "ls"][..], filter].concat());
    let due = || {
        let rows = owed(&["--state", "due"]);
        let noted = |r: &Value| r["problem"].as_str().unwrap().contains("cannot be used");
        let fine =
            rows.as_array().unwrap().len() == 3 && rows.as_array().unwrap().iter().all(noted);
        fine.then_some(rows)
    };
    let rows = server.wait_for("three owed copies", due);
    assert_eq!(
        (&rows[0]["what"], &rows[0]["list"]),
        (&json!("1"), &json!("dev"))
    );
    assert_eq!(ids(&owed(&["--to", "ONE.example"])).len(), 2);
    let metrics = request(
        &server.addresses["ops"],
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .text();
    assert!(metrics.contains("patchpost_mail_owed 3"), "{metrics}");

    server.cli(&["queue", "hold", "--to", "one.example"]);
    assert_eq!(ids(&owed(&["--state", "held"])).len(), 2);
    let counts = server.json(&["queue", "show"]);
    let shown: Vec<String> = counts
        .as_array()
        .unwrap()
        .iter()
        .map(|c| {
            format!(
                "{} {} {} {}",
                c["list"], c["domain"], c["state"], c["mails"]
            )
            .replace('"', "")
        })
        .collect();
    assert_eq!(shown, ["dev one.example held 2", "dev two.example due 1"]);
    let first = ids(&owed(&["--state", "held"]))[0].clone();
    server.cli(&["queue", "retry", &first]);
    assert_eq!(ids(&owed(&["--state", "held"])).len(), 1);
    server.cli(&["queue", "drop", "--state", "held"]);
    server.cli(&["queue", "drop", "--list", "dev", "--to", "two.example"]);
    assert_eq!(ids(&owed(&[])), [first]);
    let events = server.json(&["events", "dev"]);
    let noted = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["kind"] == "queue");
    let noted: Vec<&str> = noted.map(|e| e["detail"].as_str().unwrap()).collect();
    assert_eq!(noted.len(), 4, "{noted:?}");
    assert!(
        noted.contains(&"2 owed mails held back: to one.example"),
        "{noted:?}"
    );

    let refused = server.cli_fails(&["queue", "drop"]);
    assert!(refused.contains("say which"), "{refused}");
    let refused = server.cli_fails(&["queue", "retry", "x9"]);
    assert!(refused.contains("x9 is no number"), "{refused}");
    let refused = server.cli_fails(&["queue", "hold", "c999"]);
    assert!(refused.contains("no owed mail"), "{refused}");
}
