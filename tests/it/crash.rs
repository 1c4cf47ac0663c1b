//! Bad days: kill -9 under load, stopping under load, slow and odd clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::harness::{Smtp, TestServer, size};

fn random(seed: &AtomicU64) -> u64 {
    let mut x = seed.load(Ordering::Relaxed);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    seed.store(x, Ordering::Relaxed);
    x
}

/// Every mail that was answered 250 is there exactly once, whatever the moment of the kill.
#[test]
fn nothing_that_was_answered_250_is_lost_by_kill_9() {
    let kills = [5, 20, 50][size() - 1];
    let seed = AtomicU64::new(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64
            | 1,
    );
    println!("seed {}", seed.load(Ordering::Relaxed));
    let mut server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    let acked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (stop, counter) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let address = server.addresses["smtp"].clone();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (acked, stop, counter, address) = (
                Arc::clone(&acked),
                Arc::clone(&stop),
                Arc::clone(&counter),
                address.clone(),
            );
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut smtp) = std::panic::catch_unwind(|| Smtp::connect(&address)) else {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        continue;
                    };
                    while !stop.load(Ordering::Relaxed) {
                        let id = format!("{}@load", counter.fetch_add(1, Ordering::Relaxed));
                        let mail = format!(
                            "From: a@b.c\nMessage-ID: <{id}>\nSubject: load\n\n{}\n",
                            "text\n".repeat(200)
                        );
                        match smtp.try_send("a@b.c", &["dev@x.org"], mail.as_bytes()) {
                            Ok((reply, _)) if reply.starts_with("250") => {
                                acked.lock().unwrap().push(id)
                            }
                            Ok(_) => {}
                            Err(_) => break,
                        }
                    }
                }
            })
        })
        .collect();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for _ in 0..kills {
        std::thread::sleep(std::time::Duration::from_millis(100 + random(&seed) % 700));
        server.kill();
        server.launch();
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|c| c.join().unwrap());
    std::panic::set_hook(hook);
    server.drain();
    let path = server.dir.path().join("all.mbox");
    server.cli(&[
        "export",
        "dev",
        &path.display().to_string(),
        "--format",
        "mbox",
    ]);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut counts = std::collections::HashMap::new();
    for id in text.lines().filter_map(|l| l.strip_prefix("Message-ID: <")) {
        *counts
            .entry(id.trim_end_matches('>').to_owned())
            .or_insert(0) += 1;
    }
    let acked = acked.lock().unwrap();
    let lost: Vec<&String> = acked
        .iter()
        .filter(|id| !counts.contains_key(*id))
        .collect();
    assert_eq!(
        lost,
        Vec::<&String>::new(),
        "of {} answered 250",
        acked.len()
    );
    assert!(counts.values().all(|n| *n == 1), "each exactly once");
    assert!(acked.len() > 50, "there was load: {}", acked.len());
    println!("{kills} kills, {} answered 250, 0 lost", acked.len());
}

#[test]
fn sigterm_ends_in_time_and_tells_idle_clients() {
    let mut server = TestServer::start();
    let mut idle = Smtp::connect(&server.addresses["smtp"]);
    server.terminate();
    assert!(idle.reply().unwrap().starts_with("421 4.3.2"));
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let server = TestServer::start();
    let said = server.cli_fails(&["serve"]);
    assert!(said.contains("another `patchpost serve` runs on"), "{said}");
}

#[test]
fn smuggled_mails_stay_one_mail_and_are_refused() {
    let server = TestServer::start();
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    for ending in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r\n",
        "\r\n\0.\r\n",
        "\r\n.\r\r\n",
    ] {
        let mut smtp = Smtp::connect(&server.addresses["smtp"]);
        smtp.say("MAIL FROM:<a@b.c>");
        smtp.say("RCPT TO:<dev@x.org>");
        assert!(smtp.say("DATA").starts_with("354"));
        let second =
            "MAIL FROM:<evil@b.c>\r\nRCPT TO:<dev@x.org>\r\nDATA\r\nSubject: second\r\n\r\nx";
        let reply = smtp.say(&format!("Subject: first\r\n\r\ntext{ending}{second}\r\n."));
        assert!(reply.starts_with("550 5.5.2"), "{ending:?}: {reply}");
    }
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 0);
}
