use super::*;
use proptest::prelude::*;

fn settings() -> Settings {
    Settings {
        hostname: "mx.example.org".to_owned(),
        max_size: 1000,
        max_recipients: 3,
        tls: true,
        normalise: false,
    }
}

/// The body and whether the end was found, or `continues`.
fn receive(input: &[u8], step: usize) -> String {
    let mut receiver = DataReceiver::new(1000);
    let mut used = 0;
    for chunk in input.chunks(step) {
        let (taken, done) = receiver.feed(chunk);
        used += taken;
        if done {
            let (bytes, faults) = receiver.finish();
            return format!(
                "{:?} {} of {}, faults {}",
                String::from_utf8_lossy(&bytes),
                used,
                input.len(),
                faults.any()
            );
        }
    }
    "continues".to_owned()
}

#[track_caller]
fn check(input: &str, expected: &str) {
    for step in [1, 2, 3, 1000] {
        assert_eq!(
            receive(input.as_bytes(), step),
            expected,
            "input {input:?} by {step}"
        );
    }
}

#[test]
fn only_crlf_dot_crlf_ends_data() {
    check("a\r\n.\r\n", r#""a\r\n" 6 of 6, faults false"#);
    check(".\r\n", r#""" 3 of 3, faults false"#);
    check("\r\n.\r\nMAIL", r#""\r\n" 5 of 9, faults false"#);
    check("a\r\r\n.\r\n", r#""a\r\r\n" 7 of 7, faults true"#);
    for smuggled in [
        "a\n.\n",
        "a\n.\r\n",
        "a\r\n.\n",
        "a\r.\n",
        "a\n.\r",
        "a\r.\r",
        "a\r.\r\n",
        "a\r\n.\r",
        "a\r\n\0.\r\n",
        "a\r\n.\0\r\n",
        "a\r\n.\r\r\n",
    ] {
        check(smuggled, "continues");
    }
}

#[test]
fn stuffed_dots_are_taken_off() {
    check(
        "..\r\n..x\r\n.y\r\n.\r\n",
        r#"".\r\n.x\r\ny\r\n" 16 of 16, faults false"#,
    );
}

#[test]
fn too_big_mail_is_drained_to_its_true_end() {
    let mut receiver = DataReceiver::new(10);
    assert_eq!(
        receiver.feed(b"123456789012\r\nmore\r\n.\r\nQUIT\r\n"),
        (23, true)
    );
    let (bytes, faults) = receiver.finish();
    assert!(faults.too_big && bytes.len() <= 10);
}

proptest! {
    #[test]
    fn splitting_the_input_changes_nothing(input in "[a.\r\n]{0,40}", cuts in proptest::collection::vec(1usize..5, 0..40)) {
        let whole = receive(input.as_bytes(), 1000);
        let mut receiver = DataReceiver::new(1000);
        let mut rest = input.as_bytes();
        let mut used = 0;
        let mut end = None;
        for cut in cuts.into_iter().chain(std::iter::repeat(7)) {
            if rest.is_empty() || end.is_some() { break; }
            let (taken, done) = receiver.feed(&rest[..cut.min(rest.len())]);
            used += taken;
            rest = &rest[cut.min(rest.len())..];
            end = done.then_some(used);
        }
        let naive = ("\r\n".to_owned() + &input).find("\r\n.\r\n").map(|at| at + 3);
        prop_assert_eq!(end, naive);
        prop_assert_eq!(whole == "continues", naive.is_none());
    }

    #[test]
    fn any_line_gets_an_answer(line in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut session = Session::new(Protocol::Smtp, settings());
        session.line(b"EHLO x");
        session.line(&line);
    }
}

/// Plays a dialogue file: `C:` is sent, `S:` is a prefix that must come back.
fn play(name: &str, dialogue: &str) {
    let protocol = if name.starts_with("lmtp") {
        Protocol::Lmtp
    } else {
        Protocol::Smtp
    };
    let mut session = Session::new(protocol, settings());
    let mut said: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    let say = |said: &mut std::collections::VecDeque<String>, reply: &Reply| {
        said.extend(
            String::from_utf8_lossy(&reply.render())
                .lines()
                .map(str::to_owned),
        );
    };
    say(&mut said, &session.greeting());
    let mut receiver: Option<DataReceiver> = None;
    for (at, line) in dialogue
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.starts_with('#') && !l.is_empty())
    {
        let place = format!("{name} line {}: {line}", at + 1);
        if let Some(expected) = line.strip_prefix("S: ") {
            let got = said
                .pop_front()
                .unwrap_or_else(|| panic!("{place}: nothing came"));
            assert!(got.starts_with(expected), "{place}: got {got}");
            continue;
        }
        assert!(said.is_empty(), "{place}: unexpected {said:?}");
        let text = line
            .strip_prefix("C: ")
            .unwrap_or_else(|| panic!("{place}: C: or S:"));
        let bytes = text
            .replace("<CR>", "\r")
            .replace("<LF>", "\n")
            .replace("<NUL>", "\0")
            + "\r\n";
        if let Some(data) = &mut receiver {
            if data.feed(bytes.as_bytes()).1 {
                let count = session.envelope().1.len();
                let answers = match session.received(receiver.take().expect("just fed")) {
                    Ok(_) => vec![Ok(()); count],
                    Err(reply) => vec![Err(reply); count],
                };
                session
                    .submitted(answers)
                    .iter()
                    .for_each(|r| say(&mut said, r));
            }
            continue;
        }
        let mut action = session.line(text.replace("<LF>", "\n").replace("<CR>", "\r").as_bytes());
        if let Action::CheckRecipient(address) = action {
            let known = address.domain() == "example.org";
            let refusal = Reply::new(550, "5.1.1", "There is no such list here");
            action = session.recipient(address, if known { Ok(()) } else { Err(refusal) });
        }
        match action {
            Action::Receive(reply) => {
                say(&mut said, &reply);
                receiver = Some(DataReceiver::new(settings().max_size));
            }
            Action::StartTls(reply) => {
                say(&mut said, &reply);
                session.secured();
            }
            Action::Reply(reply) | Action::CheckRoom(reply) | Action::Close(reply) => {
                say(&mut said, &reply)
            }
            Action::CheckRecipient(_) => panic!("{place}: asked twice"),
        }
    }
    assert!(said.is_empty(), "{name}: left over {said:?}");
}

#[test]
fn dialogues_go_as_written() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/session");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("fixtures")
        .map(|e| e.expect("entry").path())
        .collect();
    names.sort();
    assert!(names.len() >= 8, "the dialogue files are there");
    for path in names {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        play(&name, &std::fs::read_to_string(&path).expect("reads"));
    }
}
