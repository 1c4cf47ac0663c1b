//! Clients that mean ill or are ill: endless lines, hundreds of slow connections, no descriptors left, no disk left.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use super::harness::{Sink, Smtp, TestServer, size};
use super::tools;

fn with_list(environment: &[(&str, &str)]) -> TestServer {
    let server = TestServer::start_with(environment);
    server.cli(&["list", "create", "dev", "--address", "dev@x.org"]);
    server
}

fn mail(n: usize) -> String {
    format!("From: a@b.c\nSubject: {n}\nMessage-ID: <{n}@ingress>\n\ntext\n")
}

#[track_caller]
fn delivers(server: &TestServer, n: usize) {
    let reply = server.send(&["dev@x.org"], mail(n).as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
}

/// The most memory the server ever had, in megabytes.
fn peak(server: &TestServer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim_end_matches("kB").trim().parse::<u64>().unwrap() / 1024
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let megabytes = [64, 256, 1024][size() - 1];
    let server = with_list(&[]);
    delivers(&server, 0);
    let before = peak(&server);
    let block = vec![b'x'; 1 << 20];
    // As a command: the server hangs up long before.
    let mut stream = TcpStream::connect(&server.addresses["smtp"]).unwrap();
    let sent = (0..megabytes)
        .take_while(|_| stream.write_all(&block).is_ok())
        .count();
    assert!(
        sent < megabytes,
        "the server listened to a command of {megabytes} MB"
    );
    // As a line of a mail: read to its end, refused, and the connection is good for the next mail.
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    smtp.say("MAIL FROM:<a@b.c>");
    smtp.say("RCPT TO:<dev@x.org>");
    assert!(smtp.say("DATA").starts_with("354"));
    for _ in 0..megabytes {
        smtp.write(&block);
    }
    assert!(smtp.say("\r\n.").starts_with("552 5.3.4"));
    let (reply, _) = smtp.send("a@b.c", &["dev@x.org"], mail(1).as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let grown = peak(&server) - before;
    println!("{megabytes} MB in one line: {grown} MB more memory");
    assert!(
        grown < 40,
        "the largest mail has 10 MB; memory grew by {grown} MB"
    );
}

#[test]
fn a_crowd_of_monstrous_mails_shares_memory_and_lets_others_by() {
    let server = with_list(&[]);
    server.cli(&["policy", "set", "dev", "--max-size", "20000000"]);
    let address = server.addresses["smtp"].clone();
    let senders: Vec<_> = (0..24)
        .map(|n| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mail = format!(
                    "Message-ID: <{n}@crowd>\nCc: {}\nSubject: {}\n\ntext\n",
                    "a:b@c.d;, ".repeat(200_000),
                    "=?utf-8?q?=5B?= ".repeat(200_000)
                );
                Smtp::connect(&address)
                    .send("a@b.c", &["dev@x.org"], mail.as_bytes())
                    .0
            })
        })
        .collect();
    for n in 0..10 {
        delivers(&server, n);
    }
    for sender in senders {
        let reply = sender.join().unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
    server.drain();
    println!("24 mails of 5 MB at once: peak {} MB", peak(&server));
    assert!(peak(&server) < 900, "peak {} MB", peak(&server));
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 34);
}

#[test]
fn hundreds_of_slow_clients_keep_no_mail_out() {
    let count = [300, 600, 600][size() - 1];
    let mut server = with_list(&[("PATCHPOST_SMTP_MAX_CONNECTIONS", "700")]);
    let slow: Vec<Smtp> = (0..count)
        .map(|n| {
            let mut smtp = Smtp::connect(&server.addresses["smtp"]);
            // Half of them begin a command, the others a mail.
            if n % 2 == 0 {
                smtp.write(b"MAIL FR");
                return smtp;
            }
            smtp.say("MAIL FROM:<a@b.c>");
            smtp.say("RCPT TO:<dev@x.org>");
            smtp.say("DATA");
            smtp.write(b"Subject: never finished\r\nX");
            smtp
        })
        .collect();
    let mut longest = 0;
    for n in 0..50 {
        let started = Instant::now();
        delivers(&server, n);
        longest = longest.max(started.elapsed().as_millis());
    }
    println!("beside {count} slow clients the slowest of 50 mails took {longest} ms");
    server.drain();
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 50);
    // They do not keep it from stopping either.
    server.terminate();
    drop(slow);
}

#[test]
fn without_descriptors_the_server_waits_and_goes_on_when_there_are_some() {
    let server = with_list(&[]);
    delivers(&server, 0);
    server.drain();
    let pid = server.pid().to_string();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    let limit = format!("--nofile={}:", open + 5);
    tools::run(Command::new("prlimit").args(["--pid", &pid, &limit]));
    let mut crowd: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(&server.addresses["smtp"]).unwrap())
        .collect();
    server.wait_for("the server to be out of descriptors", || {
        let now = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count();
        (now >= open + 5).then_some(())
    });
    // The first of the crowd was let in before, and hears so.
    let mut greeting = [0; 3];
    crowd[0].read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220");
    drop(crowd);
    delivers(&server, 1);
    server.drain();
    assert_eq!(server.json(&["list", "show", "dev"])["postings"], 2);
}

#[test]
fn a_full_disk_is_said_before_the_mail_and_over_when_there_is_room() {
    let probe = tempfile::tempdir().unwrap();
    let path = probe.path().display().to_string();
    let free = tools::run(Command::new("df").args(["--output=avail", "-BM", &path]));
    let free: u64 = free
        .lines()
        .last()
        .unwrap()
        .trim()
        .trim_end_matches('M')
        .parse()
        .unwrap();
    // Room enough on both sides for what other programs do meanwhile.
    let step = (free / 4).min(2048);
    assert!(
        step > 100,
        "{free} MB free on the disk of {path}: too little for this test"
    );
    let floor = (free - step).to_string();
    let server = with_list(&[("PATCHPOST_LIMITS_FREE_DISK_MB", &floor)]);
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    let (reply, _) = smtp.send("a@b.c", &["dev@x.org"], mail(0).as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let ballast = server.dir.path().join("ballast");
    let length = format!("{}MiB", 2 * step);
    tools::run(
        Command::new("fallocate")
            .args(["--length", &length])
            .arg(&ballast),
    );
    assert!(smtp.say("MAIL FROM:<a@b.c>").starts_with("452 4.3.1"));
    assert_eq!(server.get("/dev/").status, 200, "reading goes on");
    std::fs::remove_file(&ballast).unwrap();
    let (reply, _) = smtp.send("a@b.c", &["dev@x.org"], mail(1).as_bytes());
    assert!(reply.starts_with("250"), "over without a restart: {reply}");
}

/// Whatever a recipient is spelled like, nobody gets mail by us who did not ask for it.
#[test]
fn nobody_has_us_send_mail_on_to_whom_he_likes() {
    let sink = Sink::start();
    let server = with_list(&[
        ("PATCHPOST_DELIVERY_TRANSPORT", "smtp"),
        ("PATCHPOST_DELIVERY_RELAY", &sink.address),
        ("PATCHPOST_SITE_DOMAIN", "x.org"),
    ]);
    server.cli(&["member", "add", "dev", "ben@example.com"]);
    let foreign = [
        "<victim@far.example>",
        "<VICTIM@FAR.EXAMPLE>",
        "<victim@far.example.>",
        "<dev@far.example>",
        "<victim%far.example@x.org>",
        "<dev%far.example@x.org>",
        "<@x.org:victim@far.example>",
        "<@x.org,@x.org:victim@far.example>",
        "<\"victim@far.example\"@x.org>",
        "<\"victim%far.example\"@x.org>",
        "<far.example!victim@x.org>",
        "<far.example!victim>",
        "<victim@far.example@x.org>",
        "<victim@[127.0.0.1]>",
        "<victim@[192.0.2.1]>",
        "<victim@[IPv6:::1]>",
        "<victim>",
        "<dev+victim=far.example@x.org>",
        "<dev+owner+victim=far.example@x.org>",
        // An o of another script.
        "<dev@x.\u{43e}rg>",
        "<dev@xn--x-rlc.org>",
        "<dev@x.org.far.example>",
        "<dev@sub.x.org>",
    ];
    for path in foreign {
        for sender in ["<eve@far.example>", "<dev@x.org>", "<>"] {
            let mut smtp = Smtp::connect(&server.addresses["smtp"]);
            let reply = smtp.say(&format!("MAIL FROM:{sender}"));
            assert!(reply.starts_with("250"), "{reply}");
            let reply = smtp.say(&format!("RCPT TO:{path}"));
            let refused = ["550 5.", "501 5.", "553 5."];
            assert!(
                refused.iter().any(|r| reply.starts_with(r)),
                "{sender} {path}: {reply}"
            );
            let reply = smtp.say("DATA");
            assert!(
                reply.contains("5.5.1 No recipient was taken"),
                "{sender} {path}: {reply}"
            );
        }
    }
    // Beside recipients of ours: these alone, however they are spelled, and nobody whom the header names.
    let mut smtp = Smtp::connect(&server.addresses["smtp"]);
    smtp.say("MAIL FROM:<eve@far.example>");
    for ours in ["<DEV@X.Org>", "<postmaster>", "<Postmaster@x.org>"] {
        let reply = smtp.say(&format!("RCPT TO:{ours}"));
        assert!(reply.starts_with("250"), "{ours}: {reply}");
    }
    let reply = smtp.say("RCPT TO:<victim@far.example>");
    assert!(reply.starts_with("550 5."), "{reply}");
    assert!(smtp.say("DATA").starts_with("354"));
    smtp.write(
        b"From: Eve <eve@far.example>\r\nTo: victim@far.example\r\nCc: victim@far.example\r\nBcc: victim@far.example\r\n\
          Resent-To: victim@far.example\r\nReply-To: victim@far.example\r\nDisposition-Notification-To: victim@far.example\r\n\
          Return-Receipt-To: victim@far.example\r\nErrors-To: victim@far.example\r\nMessage-ID: <one@far.example>\r\n\
          Subject: s\r\n\r\ntext\r\n.\r\n",
    );
    let reply = smtp.reply().unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    server.wait_for("the member's copy", || sink.all().into_iter().next());
    server.drain();
    let owed = server.json(&["queue", "ls"]);
    assert_eq!(owed, serde_json::json!([]));
    for copy in sink.all() {
        assert_eq!(copy.recipients, ["ben@example.com"]);
    }
}
