//! What is owed is seen and steered, on both databases; each step is noted.

use serde_json::{Value, json};

use super::harness::{Database, Sink, TestServer, free_port, on_both, request};

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
    let time = |row: &Value, name: &str| row[name].as_i64().unwrap();
    assert!(time(&rows[0], "since") > 0 && time(&rows[0], "since") < time(&rows[0], "next"));
    let shown = server.cli(&["queue", "ls"]);
    for words in [
        "SINCE",
        "NEXT TRY",
        "LAST ANSWER",
        "copy of 1",
        "cannot be used",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let metrics = request(
        &server.addresses["ops"],
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .text();
    assert!(metrics.contains("patchpost_mail_owed 3"), "{metrics}");

    server.cli(&["queue", "hold", "--to", "one.example"]);
    assert_eq!(ids(&owed(&["--state", "held"])).len(), 2);
    let shown = server.cli(&["queue", "ls", "--state", "held"]);
    assert_eq!(shown.matches("when it is let go").count(), 2, "{shown}");
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
    // What is being sent just then stays: the retry made all of it due.
    server.wait_for("the copy to be dropped", || {
        let mut drop = server.command();
        drop.args(["queue", "drop", "--list", "dev", "--to", "two.example"]);
        drop.output().unwrap().status.success().then_some(())
    });
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

/// Logs travel, and a list may be secret: what the relay says of a recipient stands in the queue, where the operator looks.
#[test]
fn the_log_names_nobody_whom_the_relay_names() {
    let sink = Sink::start();
    let ben = "ben@one.example";
    sink.refuse(ben, "421 4.3.2 <ben@one.example>: shutting down");
    let server = TestServer::start_with(&[
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &sink.address),
    ]);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server.cli(&["member", "add", "dev", ben]);
    let mail = b"From: a@b.c\nSubject: s\nMessage-ID: <q@x>\n\ntext\n";
    assert!(server.send(&["dev@x.org"], mail).starts_with("250"));
    let log = server.wait_for("the log to tell of the relay", || {
        Some(server.log()).filter(|log| log.contains("shutting down"))
    });
    assert!(!log.contains(ben), "{log}");
    let noted = server.wait_for("the queue to say why", || {
        let rows = server.json(&["queue", "ls"]);
        let why = rows[0]["problem"].as_str()?.to_owned();
        (!why.is_empty()).then_some(why)
    });
    assert!(noted.contains(ben), "{noted}");
}
