//! Everything that reads a mail: parsing, identity, recognition, what a page shows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::{mail, patchset, view};

fuzz_target!(
    // The MIME parser may break off; `mail::parse` catches that, and libFuzzer must not end the run over it.
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| {
        let message = mail::parse(bytes);
        let lines = mail::header::to_lf(bytes).0;
        let crlf = mail::header::to_crlf(&lines);
        assert_eq!(mail::identity(bytes), mail::identity(&crlf), "line ends are no part of the identity");
        assert_eq!(mail::parse(&crlf).message_id, message.message_id);
        assert!(message.parents.len() <= 64);
        let recognised = patchset::recognise(&message);
        let stored = serde_json::to_string(&recognised).expect("plain values are written as JSON");
        let read: patchset::Recognised = serde_json::from_str(&stored).expect("what was written is read");
        assert_eq!(format!("{read:?}"), format!("{recognised:?}"));
        for block in view::text::blocks(&message.text) {
            std::hint::black_box(block);
        }
        let lines: Vec<&str> = message.text.lines().collect();
        let mut at = 0;
        while at < lines.len() {
            if view::diff::starts(&lines[at..]) {
                let (_, used) = view::diff::parse_file(&lines[at..]);
                assert!(used > 0, "a diff that does not end");
                at += used;
            } else {
                at += 1;
            }
        }
        view::text::split_subject(&message.subject);
    }
);
