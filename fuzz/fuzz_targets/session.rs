//! The dialogue: whatever a client says, every answer is a well-formed reply, and a mail is only taken for recipients
//! that were answered 250.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::session::{Action, Protocol, Reply, Session, Settings};

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (lmtp, tls, bytes) = input;
    let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
    let settings = Settings {
        hostname: "mx.example.org".to_owned(),
        max_size: 1_000,
        max_recipients: 5,
        tls,
        trusted: lmtp,
        normalise: false,
    };
    let mut session = Session::new(protocol, settings);
    check(&session.greeting());
    for line in bytes.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match session.line(line, b"") {
            Action::Close(reply) => return check(&reply),
            Action::CheckRecipient(address) => {
                let known = address.domain() == "example.org";
                let answer = if known {
                    Ok(())
                } else {
                    Err(Reply::new(550, "5.1.1", "No such list"))
                };
                if let Action::Reply(reply) | Action::Close(reply) =
                    session.recipient(address, answer)
                {
                    check(&reply);
                }
            }
            Action::Receive(reply) => {
                check(&reply);
                let recipients = session.envelope().1.len();
                assert!(
                    (1..=5).contains(&recipients),
                    "data for {recipients} recipients"
                );
                let replies = session.submitted(vec![Ok(()); recipients]);
                assert_eq!(replies.len(), if lmtp { recipients } else { 1 });
                replies.iter().for_each(check);
            }
            Action::StartTls(reply) => {
                check(&reply);
                assert!(tls && !session.is_secure(), "TLS was not on offer");
                session.secured();
            }
            Action::Reply(reply) | Action::CheckRoom(reply) => check(&reply),
        }
    }
});

/// RFC 5321 section 4.2: three digits, blank or hyphen, text; at most 512 octets a line.
fn check(reply: &Reply) {
    let bytes = reply.render();
    assert!(bytes.ends_with(b"\r\n"));
    let text = String::from_utf8(bytes).expect("replies are ASCII");
    let lines: Vec<&str> = text.trim_end_matches("\r\n").split("\r\n").collect();
    for (at, line) in lines.iter().enumerate() {
        assert!(line.len() <= 510, "too long: {line}");
        assert!(
            line.is_ascii() && !line.contains(['\r', '\n', '\0']),
            "not a reply line: {line:?}"
        );
        assert_eq!(&line[..3], reply.code.to_string());
        let last = at + 1 == lines.len();
        assert_eq!(
            line.as_bytes().get(3).copied().unwrap_or(b' ') == b' ',
            last,
            "{line}"
        );
    }
}
