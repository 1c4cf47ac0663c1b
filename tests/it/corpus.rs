//! Real, odd and hostile mail over SMTP: nothing is lost, nothing is changed, nothing falls over.

use super::harness::{Smtp, TestServer, corpus, size};

/// Files whose bytes mail does not allow are refused; all others are archived as they were on the wire.
#[test]
fn torture_mails_are_archived_byte_for_byte_or_refused_for_a_reason() {
    let Some(corpus) = corpus() else {
        println!("the corpus is not here; the fixtures of the other tests stand in");
        return;
    };
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let mut files = Vec::new();
    for folder in std::fs::read_dir(corpus.join("torture"))
        .unwrap()
        .flatten()
        .filter(|f| f.path().is_dir())
    {
        files.extend(
            std::fs::read_dir(folder.path())
                .unwrap()
                .flatten()
                .map(|f| f.path()),
        );
    }
    files.sort();
    let step = if size() == 1 { 4 } else { 1 };
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let (mut taken, mut refused) = (
        Vec::new(),
        std::collections::BTreeMap::<String, usize>::new(),
    );
    for file in files.iter().step_by(step) {
        let bytes = std::fs::read(file).unwrap();
        let (reply, wire) = smtp.send("a@b.c", &["dev@x.org"], &bytes);
        let bare = wire.windows(2).any(|w| w[0] == b'\r' && w[1] != b'\n');
        let name = file.display();
        if wire.contains(&0) || bare {
            assert!(reply.starts_with("550 5.5.2"), "{name}: {reply}");
        } else if !reply.starts_with("250") {
            assert!(
                reply.starts_with("550 5.6.1") || reply.starts_with("554 5.4.6"),
                "{name}: {reply}"
            );
        }
        if reply.starts_with("250") {
            taken.push(wire);
        } else {
            *refused.entry(reply[..9].to_owned()).or_default() += 1;
        }
    }
    server.drain();
    println!("{} archived, refused: {refused:?}", taken.len());
    let postings = server.json(&["list", "show", "dev"])["postings"]
        .as_u64()
        .unwrap();
    let mut distinct = taken
        .iter()
        .map(|w| patchpost::mail::identity(w))
        .collect::<Vec<_>>();
    distinct.sort();
    distinct.dedup();
    assert_eq!(postings as usize, distinct.len(), "one posting each");
    for wire in taken.iter().step_by(7) {
        let message = patchpost::mail::parse(wire);
        let path = format!(
            "/dev/{}/",
            patchpost::view::url::message_id(&message.message_id)
        );
        assert_eq!(server.get(&path).status, 200, "{path}");
        let stored = server.get(&format!("{path}eml")).body;
        let same = taken.contains(&stored);
        assert!(same, "{path} gives back bytes that were sent");
    }
    assert_eq!(server.get("/dev/new.atom").status, 200);
    assert_eq!(server.json(&["jobs"]).as_array().unwrap().len(), 0);
}
