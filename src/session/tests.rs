use std::collections::VecDeque;

use super::*;
use proptest::prelude::*;

fn settings() -> Settings {
    Settings {
        hostname: "mx.example.org".to_owned(),
        max_size: 1000,
        max_recipients: 3,
        tls: true,
        trusted: false,
        normalise: false,
    }
}

/// A server without sockets: what comes in goes through the session as the edge does it.
///
/// Takes mail for `…@example.org`; `full@` has no room at the end of data and `closed@` refuses there.
struct Server {
    session: Session,
    lines: Lines,
    receiver: Option<DataReceiver>,
    input: Vec<u8>,
    said: VecDeque<String>,
    mails: Vec<String>,
    closed: bool,
}

impl Server {
    fn start(protocol: Protocol, settings: Settings) -> Server {
        let mut server = Server {
            session: Session::new(protocol, settings),
            lines: Lines::default(),
            receiver: None,
            input: Vec::new(),
            said: VecDeque::new(),
            mails: Vec::new(),
            closed: false,
        };
        let greeting = server.session.greeting();
        server.say(&greeting);
        server
    }

    fn say(&mut self, reply: &Reply) {
        let text = String::from_utf8(reply.render()).expect("replies are ASCII");
        self.said
            .extend(text.split_terminator("\r\n").map(str::to_owned));
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while !self.closed && self.step() {}
    }

    /// Does the next thing; `false` when more input is needed.
    fn step(&mut self) -> bool {
        if let Some(receiver) = &mut self.receiver {
            let (used, done) = receiver.feed(&self.input);
            self.input.drain(..used);
            if done {
                self.end_mail();
            }
            return done;
        }
        let input = std::mem::take(&mut self.input);
        let (action, used) = match self.lines.next(&input) {
            Line::Partial(used) => {
                self.input = input[used..].to_vec();
                return false;
            }
            Line::Full(line, used) => (self.session.line(line, &input[used..]), used),
            Line::TooLong(used) => (self.session.long_line(), used),
            Line::Endless => (Action::Close(self.session.endless_line()), input.len()),
        };
        self.input = input[used..].to_vec();
        self.act(action);
        true
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Reply(reply) | Action::CheckRoom(reply) => self.say(&reply),
            Action::CheckRecipient(address) => {
                let answer = match address.domain() {
                    "example.org" | "mx.example.org" => Ok(()),
                    _ => Err(Reply::new(550, "5.1.1", "There is no such list here")),
                };
                let action = self.session.recipient(address, answer);
                assert!(!matches!(action, Action::CheckRecipient(_)), "asked twice");
                self.act(action);
            }
            Action::Receive(reply) => {
                self.say(&reply);
                self.receiver = Some(self.session.receiver());
            }
            Action::StartTls(reply) => {
                self.say(&reply);
                self.input.clear();
                self.session.secured();
            }
            Action::Close(reply) => {
                self.say(&reply);
                self.closed = true;
            }
        }
    }

    fn end_mail(&mut self) {
        let receiver = self.receiver.take().expect("data was received");
        let recipients = self.session.envelope().1.to_vec();
        let received = self.session.received(receiver);
        if let Received::Mail(bytes) = &received {
            self.mails.push(String::from_utf8_lossy(bytes).into_owned());
        }
        let answer = |to: &Address| match (&received, to.local()) {
            (Received::Refused(reply), _) => Err(reply.clone()),
            (Received::Unwanted(_, why), _) => Err(Reply::dropped(why)),
            (Received::Mail(_), "full") => Err(Reply::new(452, "4.2.2", "The list is full")),
            (Received::Mail(_), "closed") => Err(Reply::new(550, "5.7.1", "The list is closed")),
            (Received::Mail(_), _) => Ok(()),
        };
        let answers = recipients.iter().map(answer).collect();
        for reply in self.session.submitted(answers) {
            self.say(&reply);
        }
    }
}

/// `<CRLF>`, `<CR>`, `<LF>`, `<NUL>`, `<XFF>` and `<a*100>` (a hundred times `a`) stand for themselves.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (word, tail) = rest[at + 1..].split_once('>').unwrap_or(("", ""));
        let bytes = match (word, word.split_once('*')) {
            ("CRLF", _) => b"\r\n".to_vec(),
            ("CR", _) => b"\r".to_vec(),
            ("LF", _) => b"\n".to_vec(),
            ("NUL", _) => b"\0".to_vec(),
            ("XFF", _) => b"\xff".to_vec(),
            (_, Some((what, times))) if times.parse::<usize>().is_ok() => {
                what.repeat(times.parse().expect("just tried")).into_bytes()
            }
            _ => {
                out.push(b'<');
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.extend(bytes);
        rest = tail;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// A line as sent: with CRLF, unless it says itself how it ends.
fn sent(text: &str) -> Vec<u8> {
    let own_end = ["<CRLF>", "<CR>", "<LF>"]
        .iter()
        .any(|end| text.ends_with(end));
    let mut bytes = unescape(text);
    if !own_end {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Plays a dialogue file, pushing what the client says between two answers in pieces of `step` bytes.
///
/// `C:` is sent; `S:` is a prefix of the next line that must come back; `MAIL:` is what was taken last, to the byte;
/// `MAILS:` how many were; `CLOSED` says that the server hung up; `CLIENT:` who brings the mail that is
/// begun, where the connection comes from 198.51.100.9. `! whole`, `! no tls`, `! normalise`, `! trusted` are settings.
fn play(name: &str, dialogue: &str, step: usize) {
    let has = |setting: &str| {
        dialogue
            .lines()
            .any(|l| l.strip_prefix("! ") == Some(setting))
    };
    let protocol = if name.starts_with("lmtp") {
        Protocol::Lmtp
    } else {
        Protocol::Smtp
    };
    let settings = Settings {
        tls: !has("no tls"),
        normalise: has("normalise"),
        trusted: has("trusted"),
        ..settings()
    };
    let mut server = Server::start(protocol, settings);
    let step = if has("whole") { usize::MAX } else { step };
    let mut heard = Vec::new();
    let mut lines = dialogue
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.is_empty() && !l.starts_with(['#', '!']))
        .peekable();
    while let Some((at, line)) = lines.next() {
        let place = format!("{name}:{} by {step}: {line}", at + 1);
        if let Some(text) = line.strip_prefix("C: ").or_else(|| line.strip_prefix("C:")) {
            assert!(!server.closed, "{place}: the server has hung up");
            heard.extend(sent(text));
            if lines.peek().is_none_or(|(_, next)| !next.starts_with("C:")) {
                assert!(
                    server.said.is_empty(),
                    "{place}: unexpected {:?}",
                    server.said
                );
                heard
                    .chunks(step.min(heard.len()))
                    .for_each(|piece| server.hear(piece));
                heard.clear();
            }
        } else if let Some(expected) = line.strip_prefix("S: ") {
            let got = server
                .said
                .pop_front()
                .unwrap_or_else(|| panic!("{place}: nothing came"));
            assert!(got.starts_with(expected), "{place}: got {got}");
        } else if let Some(expected) = line.strip_prefix("MAIL: ") {
            let got = server
                .mails
                .last()
                .unwrap_or_else(|| panic!("{place}: no mail"));
            assert_eq!(got.as_bytes(), unescape(expected), "{place}");
        } else if let Some(expected) = line.strip_prefix("CLIENT: ") {
            let (ip, helo) = server.session.client("198.51.100.9".parse().ok());
            let ip = ip.map_or("-".to_owned(), |ip| ip.to_string());
            assert_eq!(format!("{ip} {helo}").trim(), expected, "{place}");
        } else if let Some(expected) = line.strip_prefix("MAILS: ") {
            assert_eq!(server.mails.len().to_string(), expected, "{place}");
        } else {
            assert_eq!(line, "CLOSED", "{place}: no such word");
            assert!(server.closed, "{place}: still open");
        }
    }
    assert!(
        server.said.is_empty(),
        "{name} by {step}: left over {:?}",
        server.said
    );
}

#[test]
fn dialogues_go_as_written_however_they_are_split() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/session");
    let entries = std::fs::read_dir(folder).expect("fixtures");
    let mut paths: Vec<_> = entries.map(|e| e.expect("entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "the dialogue files are there");
    for path in paths {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let dialogue = std::fs::read_to_string(&path).expect("reads");
        for step in [usize::MAX, 1, 2, 3, 7] {
            play(&name, &dialogue, step);
        }
    }
}

fn greeted() -> Server {
    let mut server = Server::start(Protocol::Smtp, settings());
    server.hear(b"EHLO client.example\r\n");
    server.said.clear();
    server
}

#[test]
fn a_thousand_noops_end_the_session() {
    let mut server = greeted();
    server.hear(&b"NOOP\r\n".repeat(1000));
    assert!(server.closed);
    assert!(server.said.len() < 200, "{} answers", server.said.len());
    assert!(
        server
            .said
            .back()
            .expect("an answer")
            .starts_with("421 4.7.0")
    );
}

#[test]
fn guessing_at_list_names_ends_the_session() {
    let mut server = greeted();
    server.hear(b"MAIL FROM:<a@b.example>\r\n");
    server.hear(&b"RCPT TO:<x@elsewhere.example>\r\n".repeat(30));
    assert!(
        server
            .said
            .back()
            .expect("an answer")
            .starts_with("421 4.7.0")
    );
}

#[test]
fn a_mail_server_before_us_keeps_its_connection_over_many_wrong_recipients() {
    let mut server = Server::start(Protocol::Lmtp, settings());
    server.hear(b"LHLO relay.example\r\n");
    for _ in 0..200 {
        server.hear(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<x@elsewhere.example>\r\nRSET\r\n");
        server.hear(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<dev@example.org>\r\nDATA\r\n");
        server.hear(b"x\r\n.\r\n");
    }
    assert!(!server.closed);
    assert_eq!(server.mails.len(), 200);
}

#[test]
fn a_line_without_end_is_given_up_and_held_nowhere() {
    let mut server = greeted();
    for _ in 0..1000 {
        server.hear(&[b'x'; 4096]);
        assert!(server.input.len() <= MAX_LINE + 1);
        if server.closed {
            return;
        }
    }
    panic!("4 MB of one line and still listening");
}

#[test]
fn lines_are_clean_again_behind_one_that_is_too_long() {
    let mut server = greeted();
    for length in [MAX_LINE, MAX_LINE + 1, MAX_LINE + 2, 5000] {
        let line = format!("NOOP {}\r\nNOOP\r\n", "x".repeat(length - 5));
        for step in [1, 1000, line.len()] {
            line.as_bytes()
                .chunks(step)
                .for_each(|piece| server.hear(piece));
            let first = if length == MAX_LINE {
                "250"
            } else {
                "500 5.5.6"
            };
            assert!(
                server.said[0].starts_with(first),
                "{length} by {step}: {:?}",
                server.said
            );
            assert!(
                server.said[1].starts_with("250"),
                "{length} by {step}: {:?}",
                server.said
            );
            assert_eq!(server.said.len(), 2);
            server.said.clear();
        }
    }
}

#[test]
fn smuggled_envelopes_are_one_mail_or_none() {
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\n",
        "\n.\r",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\r",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\n.\r\r\n",
    ];
    for end in ends {
        for normalise in [false, true] {
            let mut server = Server::start(
                Protocol::Smtp,
                Settings {
                    normalise,
                    ..settings()
                },
            );
            server.hear(
                b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<dev@example.org>\r\nDATA\r\n",
            );
            let forged = "MAIL FROM:<ceo@b.example>\r\nRCPT TO:<dev@example.org>\r\nDATA\r\nforged";
            server.hear(format!("text{end}{forged}\r\n.\r\n").as_bytes());
            let taken = usize::from(normalise && !end.contains('\0'));
            assert_eq!(server.mails.len(), taken, "{end:?}, normalise {normalise}");
            let last = server.said.back().expect("an answer");
            assert!(
                last.starts_with(if taken == 1 { "250" } else { "550 5.5.2" }),
                "{end:?}: {last}"
            );
        }
    }
}

#[test]
fn a_mail_that_nobody_answered_for_was_not_taken() {
    for (protocol, replies) in [(Protocol::Smtp, 1), (Protocol::Lmtp, 2)] {
        let mut session = Session::new(protocol, settings());
        session.line(
            if protocol == Protocol::Smtp {
                b"EHLO c"
            } else {
                b"LHLO c"
            },
            b"",
        );
        session.line(b"MAIL FROM:<>", b"");
        for _ in 0..2 {
            let address: Address = "dev@example.org".parse().expect("an address");
            session.recipient(address, Ok(()));
        }
        let said = session.submitted(vec![]);
        assert_eq!(said.len(), replies);
        assert!(said.iter().all(|r| r.code == 451), "{said:?}");
    }
}

proptest! {
    #[test]
    fn any_input_is_survived_and_every_reply_is_short(input in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
        let mut server = greeted();
        for piece in input.chunks(cut) {
            if !server.closed {
                server.hear(piece);
            }
        }
        prop_assert!(server.said.iter().all(|line| line.len() <= 510));
    }

    #[test]
    fn any_order_of_commands_is_survived_and_taken_mails_had_an_envelope(
        picks in proptest::collection::vec(0usize..9, 0..30), whole: bool,
    ) {
        let words: [&[u8]; 9] = [
            b"EHLO c\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<dev@example.org>\r\n", b"RCPT TO:<x@elsewhere.example>\r\n",
            b"DATA\r\n", b"text\r\n.\r\n", b"RSET\r\n", b"STARTTLS\r\n", b"HELO c\r\n",
        ];
        let mut server = Server::start(Protocol::Smtp, settings());
        let input = picks.iter().map(|&p| words[p]).collect::<Vec<_>>();
        if whole {
            server.hear(&input.concat());
        } else {
            input.iter().for_each(|piece| if !server.closed { server.hear(piece) });
        }
        let data = picks.iter().filter(|&&p| p == 4).count();
        prop_assert!(server.mails.len() <= data);
    }
}
