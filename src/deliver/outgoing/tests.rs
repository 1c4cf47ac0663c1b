use super::*;
use crate::types::{DeliveryId, ListId, MemberId, MessageId, Timestamp};
use std::path::Path;

fn posting(bytes: &[u8]) -> PostingToSend {
    PostingToSend {
        list: "dev".to_owned(),
        address: "dev@lists.example.org".to_owned(),
        description: "Development".to_owned(),
        message_id: MessageId::parse("<a/b@example.org>").expect("an id"),
        bytes: bytes.to_vec(),
        tls_only: false,
        verdict: Default::default(),
        unaligned: String::new(),
        treatment: String::new(),
    }
}

fn copy(bytes: &[u8]) -> Outgoing {
    Outgoing::new(&posting(bytes), "https://lists.example.org", "")
}

/// Every folder of `fixtures/deliver`: `mail.eml` as stored, `expected.eml` its copy, both with LF. `UPDATE=1` writes the latter.
#[test]
fn copies_are_as_the_fixtures_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/deliver");
    let mut count = 0;
    for folder in std::fs::read_dir(&root).expect("fixtures") {
        let folder = folder.expect("a folder").path();
        let stored = std::fs::read(folder.join("mail.eml")).expect("mail.eml");
        let made = copy(&stored);
        let key = [0; 32];
        let own = made.own_fields(&key, Some(MemberId(1)));
        let wire = [&own, &made.head[..], &made.body].concat();
        let crlf = copy(&mail::header::to_crlf(&stored));
        assert_eq!(crlf.body, made.body, "{folder:?} with CRLF");
        let (lf, pure) = mail::header::to_lf(&wire);
        assert!(pure, "{folder:?} has a line end that is not CRLF");
        let path = folder.join("expected.eml");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &lf).expect("written");
        }
        let expected = std::fs::read(&path).expect("expected.eml");
        let show = String::from_utf8_lossy;
        assert_eq!(show(&lf), show(&expected), "{folder:?}");
        assert_eq!(&*lf, expected, "{folder:?}");
        let (_, before) = mail::header::split(&stored);
        let (_, after) = mail::header::split(&lf);
        assert!(after.ends_with(before), "{folder:?}: another body");
        count += 1;
    }
    assert!(count >= 6, "only {count} fixtures");
}

/// All mails below a folder.
fn mails(folder: &Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            mails(&path, out);
        } else if path.extension().is_none_or(|e| e != "md" && e != "tsv") {
            out.push(path);
        }
    }
}

/// The corpus where it is there, and our own fixtures always.
#[test]
fn no_mail_whatever_its_make_is_changed_below_its_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("PATCHPOST_CORPUS")
        .map_or_else(|| root.join("../shared/corpus"), std::path::PathBuf::from);
    let mut paths = Vec::new();
    mails(&corpus.join("torture"), &mut paths);
    mails(&root.join("fixtures/deliver"), &mut paths);
    assert!(paths.len() >= 16);
    for path in paths {
        let stored = std::fs::read(&path).expect("a mail");
        let made = copy(&stored);
        if made.flaw.is_some() {
            continue;
        }
        let (stored, _) = mail::header::to_lf(&stored);
        let (_, before) = mail::header::split(&stored);
        assert!(
            made.body.ends_with(&mail::header::to_crlf(before)),
            "{path:?}"
        );
        let wire = [&made.head[..], &made.body].concat();
        assert!(mail::header::to_lf(&wire).1, "{path:?} has a bare line end");
        let (block, _) = mail::header::split(&wire);
        assert!(block.starts_with(&made.head), "{path:?}");
        let ours = mail::header::fields(&made.head).count();
        let last = mail::header::fields(block)
            .nth(ours - 1)
            .expect("our last field");
        assert_eq!(
            last.whole, b"X-Mailing-List: dev@lists.example.org\r\n",
            "{path:?}"
        );
        // What a receiver makes of the wire: dots undone, up to the one that ends it.
        let lines = made.stuffed.split_inclusive(|b| *b == b'\n');
        let undone = lines.map(|line| line.strip_prefix(b".").unwrap_or(line));
        assert!(
            !made
                .stuffed
                .split(|b| *b == b'\n')
                .any(|line| line == b".\r"),
            "{path:?}"
        );
        let received = undone.collect::<Vec<_>>().concat();
        assert!(received.starts_with(&made.body), "{path:?}");
        assert!(
            matches!(&received[made.body.len()..], b"" | b"\r\n"),
            "{path:?}"
        );
    }
}

#[track_caller]
fn check_wire(stored: &[u8], expected: &[u8]) {
    let made = copy(stored);
    let show = String::from_utf8_lossy;
    assert_eq!(show(&made.stuffed), show(expected));
    assert_eq!(made.flaw, None);
}

#[test]
fn the_wire_gives_back_what_arrived() {
    check_wire(b"Subject: s\n\nb\n", b"Subject: s\r\n\r\nb\r\n");
    check_wire(b"Subject: s\r\n\r\nb\r\n", b"Subject: s\r\n\r\nb\r\n");
    check_wire(
        b"Subject: s\n\nb  \n\n\n",
        b"Subject: s\r\n\r\nb  \r\n\r\n\r\n",
    );
    check_wire(
        b"Subject: s\n\n\xff\xe9\n",
        b"Subject: s\r\n\r\n\xff\xe9\r\n",
    );
}

#[test]
fn dots_are_doubled_at_line_starts_only() {
    check_wire(b"A: s\n\n.\n", b"A: s\r\n\r\n..\r\n");
    check_wire(b"A: s\n\n..\n.a\na.\n", b"A: s\r\n\r\n...\r\n..a\r\na.\r\n");
    check_wire(b"A: s\n\na\n.", b"A: s\r\n\r\na\r\n..\r\n");
    // Under our block, a first line that is no field is set off by a blank line.
    check_wire(b".\n\nb\n", b"\r\n..\r\n\r\nb\r\n");
}

#[test]
fn the_last_line_ends_on_the_wire_and_not_in_the_copy() {
    check_wire(b"A: s\n\nb", b"A: s\r\n\r\nb\r\n");
    check_wire(b"A: s", b"A: s\r\n");
    assert_eq!(&copy(b"A: s\n\nb").body[..], b"A: s\r\n\r\nb");
    assert!(copy(b"").stuffed.is_empty());
}

#[test]
fn what_smtp_does_not_allow_is_found() {
    for mail in [
        &b"A: s\n\na\rb\n"[..],
        b"A: s\r\n\r\na\nb\r\n",
        b"A: s\n\na\r\nb\n",
        b"A: s\n\na\r\r\nb\n",
        b"A: s\r\n\r\na\r\n.\r",
    ] {
        assert!(
            copy(mail).flaw.is_some_and(|f| f.contains("bare CR")),
            "{mail:?}"
        );
    }
    assert!(
        copy(b"A: s\n\n\0\n")
            .flaw
            .is_some_and(|f| f.contains("NUL"))
    );
    assert_eq!(copy(b"A: s\n\n\x0b\x1a\x7f\n").flaw, None);
}

#[test]
fn long_lines_and_eight_bits_are_kept_and_told() {
    let line = "x".repeat(5_000);
    let made = copy(format!("A: s\n\n{line}\n").as_bytes());
    assert!(made.stuffed.ends_with(format!("{line}\r\n").as_bytes()));
    assert!(!made.eight_bit);
    assert!(copy("A: s\n\n\u{e9}\n".as_bytes()).eight_bit);
    assert_eq!(made.size(), made.head.len() + made.body.len());
}

#[test]
fn every_copy_has_a_return_path_of_its_own() {
    let made = copy(b"A: s\n\nb\n");
    let delivery = |member| Delivery {
        id: DeliveryId(1),
        list: ListId(1),
        number: 2,
        member: MemberId(member),
        address: "m@y.org".to_owned(),
        attempts: 1,
        until: Timestamp(0),
        started: Timestamp(0),
        wanted: true,
        archive: false,
        refused: false,
    };
    let path = made.return_path(b"key", &delivery(3)).expect("a path");
    assert_ne!(Some(&path), made.return_path(b"key", &delivery(4)).as_ref());
    let token = path
        .strip_prefix("dev+b-")
        .and_then(|p| p.strip_suffix("@lists.example.org"))
        .expect("a token");
    let bounce = token::parse_bounce(b"key", token).expect("ours");
    assert_eq!((bounce.number, bounce.member), (2, MemberId(3)));
    assert!(!path.contains("m@y"));
}

#[test]
fn a_site_that_is_known_by_a_name_says_it_in_every_copy() {
    let mail = b"From: a@x.org\nSubject: s\n\nx\n";
    let made = Outgoing::new(&posting(mail), "https://x.org", "Lists12345");
    let head = String::from_utf8_lossy(&made.head).into_owned();
    assert_eq!(head.matches("\r\nFeedback-ID: ").count(), 1, "{head}");
    assert!(!String::from_utf8_lossy(&copy(mail).head).contains("Feedback-ID"));
}
