use super::*;
use proptest::prelude::*;

/// Feeds `input` in pieces of these lengths (the last one for ever); returns where data ended, if it did, and the rest.
fn receive(
    input: &[u8],
    cuts: &[usize],
    policy: BareNewlines,
) -> (Option<usize>, (Vec<u8>, Faults)) {
    let mut receiver = DataReceiver::new(1000, policy);
    let mut used = 0;
    let mut cuts = cuts.iter().copied().chain(std::iter::repeat(7));
    while used < input.len() {
        let cut = cuts.next().expect("endless").clamp(1, input.len() - used);
        let (taken, done) = receiver.feed(&input[used..used + cut]);
        used += taken;
        if done {
            return (Some(used), receiver.finish());
        }
        assert_eq!(taken, cut, "all is taken until the end");
    }
    (None, receiver.finish())
}

/// Where data ended, what was received, and whether there were bare CR, bare LF and NUL.
type Outcome = (usize, Vec<u8>, (bool, bool, bool));

/// What the receiver must come to, written plainly: the whole buffer at once, many passes.
fn reference(input: &[u8], policy: BareNewlines) -> Option<Outcome> {
    let text = format!("\r\n{}", String::from_utf8(input.to_vec()).expect("ASCII"));
    let end = text.find("\r\n.\r\n")?;
    let body = &text[2.min(end)..end];
    let lines: Vec<&str> = match end {
        0 => vec![],
        _ => body.split("\r\n").collect(),
    };
    let without = body.replace("\r\n", "");
    let faults = (
        without.contains('\r'),
        without.contains('\n'),
        without.contains('\0'),
    );
    let mut out = String::new();
    for line in lines {
        let line = line.strip_prefix('.').unwrap_or(line);
        match policy {
            BareNewlines::Refused => out.push_str(line),
            BareNewlines::Normalised => out.push_str(&mended(line)),
        }
        out.push_str("\r\n");
    }
    Some((end + 3, out.into_bytes(), faults))
}

fn mended(line: &str) -> String {
    let mut line = line.trim_end_matches('\r').to_owned();
    while line.contains("\r\r") {
        line = line.replace("\r\r", "\r");
    }
    let line = line.replace('\r', "\n");
    let mut parts = line.split('\n');
    let mut out = parts.next().expect("one at least").to_owned();
    for part in parts {
        let part = if part.starts_with("..") {
            &part[1..]
        } else {
            part
        };
        out.push_str("\r\n");
        out.push_str(part);
    }
    out
}

/// The end-of-data table: what follows some text either ends the mail or does not, whatever the policy.
#[track_caller]
fn check(variant: &str, ends: &str) {
    let input = format!("text{variant}");
    let expected = (ends == "END").then_some(input.len());
    for policy in [BareNewlines::Refused, BareNewlines::Normalised] {
        for step in [1, 2, 3, 1000] {
            let steps = vec![step; input.len()];
            let (end, _) = receive(input.as_bytes(), &steps, policy);
            assert_eq!(end, expected, "{variant:?} by {step}, {policy:?}");
        }
    }
    // The forged envelope behind it stays content: one mail, never two.
    let forged = format!("{input}MAIL FROM:<a@b.example>\r\nDATA\r\nforged\r\n.\r\n");
    let (end, _) = receive(forged.as_bytes(), &[], BareNewlines::Refused);
    assert_eq!(end, expected.or(Some(forged.len())), "{variant:?}, forged");
}

#[test]
fn crlf_dot_crlf_ends_data() {
    check("\r\n.\r\n", "END");
}
#[test]
fn lf_dot_lf_goes_on() {
    check("\n.\n", "continue");
}
#[test]
fn lf_dot_crlf_goes_on() {
    check("\n.\r\n", "continue");
}
#[test]
fn crlf_dot_lf_goes_on() {
    check("\r\n.\n", "continue");
}
#[test]
fn cr_dot_lf_goes_on() {
    check("\r.\n", "continue");
}
#[test]
fn lf_dot_cr_goes_on() {
    check("\n.\r", "continue");
}
#[test]
fn cr_dot_cr_goes_on() {
    check("\r.\r", "continue");
}
#[test]
fn cr_dot_crlf_goes_on() {
    check("\r.\r\n", "continue");
}
#[test]
fn crlf_dot_cr_goes_on() {
    check("\r\n.\r", "continue");
}
#[test]
fn crlf_nul_dot_crlf_goes_on() {
    check("\r\n\0.\r\n", "continue");
}
#[test]
fn crlf_dot_nul_crlf_goes_on() {
    check("\r\n.\0\r\n", "continue");
}
#[test]
fn crlf_dot_cr_crlf_goes_on() {
    check("\r\n.\r\r\n", "continue");
}
#[test]
fn a_doubled_cr_before_the_end_is_still_the_end() {
    check("\r\r\n.\r\n", "END");
}
#[test]
fn two_dots_are_a_line_of_one() {
    check("\r\n..\r\n", "continue");
}
#[test]
fn a_dot_and_a_blank_are_a_line() {
    check("\r\n. \r\n", "continue");
}

#[test]
fn an_empty_message_ends_at_once() {
    let (end, (bytes, faults)) = receive(b".\r\nQUIT\r\n", &[], BareNewlines::Refused);
    assert_eq!((end, bytes, faults), (Some(3), vec![], Faults::default()));
}

#[track_caller]
fn check_text(input: &str, policy: BareNewlines, expected: &str) {
    let (end, (bytes, _)) = receive(input.as_bytes(), &[], policy);
    assert_eq!(end, Some(input.len()), "{input:?}");
    assert_eq!(String::from_utf8_lossy(&bytes), expected, "{input:?}");
}

#[test]
fn stuffed_dots_are_taken_off() {
    let wire = "..\r\n...\r\n..foo\r\n.foo\r\na..\r\n.\r\n";
    check_text(
        wire,
        BareNewlines::Refused,
        ".\r\n..\r\n.foo\r\nfoo\r\na..\r\n",
    );
}

#[test]
fn stuffing_survives_a_split_at_any_byte() {
    let wire = b"a\r\n..\r\n...\r\n..foo\r\n.\r\n";
    for cut in 1..wire.len() {
        let (end, (bytes, _)) = receive(wire, &[cut, 1000], BareNewlines::Refused);
        assert_eq!(
            (end, &bytes[..]),
            (Some(wire.len()), &b"a\r\n.\r\n..\r\n.foo\r\n"[..])
        );
    }
}

#[test]
fn old_line_ends_are_mended_where_the_operator_wants_it() {
    let policy = BareNewlines::Normalised;
    check_text("a\nb\n\nc\r\n.\r\n", policy, "a\r\nb\r\n\r\nc\r\n");
    check_text("a\rb\r\n.\r\n", policy, "a\r\nb\r\n");
    // Converted twice: no blank lines appear.
    check_text("a\r\r\nb\r\r\r\n.\r\n", policy, "a\r\nb\r\n");
    // A sender of LF stuffs dots behind LF; a lone dot there neither ends the mail nor vanishes.
    check_text("a\n..b\n.\nc\r\n.\r\n", policy, "a\r\n.b\r\n.\r\nc\r\n");
}

#[test]
fn eight_bit_bytes_come_through() {
    let every: Vec<u8> = (1..=255).filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let wire = [&every[..], b"\r\n.\r\n"].concat();
    let (_, (bytes, faults)) = receive(&wire, &[3, 100], BareNewlines::Refused);
    assert_eq!(
        (bytes, faults),
        ([&every[..], b"\r\n"].concat(), Faults::default())
    );
}

#[test]
fn too_big_mail_is_drained_to_its_true_end() {
    let mut receiver = DataReceiver::new(10, BareNewlines::Refused);
    let wire = b"123456789012\r\nmore\r\n.\r\nQUIT\r\n";
    assert_eq!(receiver.feed(wire), (23, true));
    let (bytes, faults) = receiver.finish();
    assert!(faults.too_big && bytes.is_empty());
}

#[test]
fn a_mail_of_just_the_allowed_size_is_taken() {
    let mut receiver = DataReceiver::new(4, BareNewlines::Refused);
    assert_eq!(receiver.feed(b"..b\r\n.\r\n"), (8, true));
    assert_eq!(receiver.finish(), (b".b\r\n".to_vec(), Faults::default()));
}

proptest! {
    #[test]
    fn random_splits_agree_with_the_plain_reference(
        input in "[a.\r\n\0]{0,40}|(a|\\.|\r\n|\r|\n){0,30}\r\n\\.\r\n(a|\r\n){0,3}",
        cuts in proptest::collection::vec(1usize..5, 0..40),
        normalise: bool,
    ) {
        let policy = if normalise { BareNewlines::Normalised } else { BareNewlines::Refused };
        let (end, (bytes, faults)) = receive(input.as_bytes(), &cuts, policy);
        let got = end.map(|end| (end, bytes, (faults.bare_cr, faults.bare_lf, faults.nul)));
        prop_assert_eq!(got, reference(input.as_bytes(), policy));
    }

    #[test]
    fn whatever_is_stuffed_comes_back(lines in proptest::collection::vec("[.a ]{0,6}", 0..12), cut in 1usize..9) {
        let mail: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
        let stuffed: String = lines.iter().map(|l| if l.starts_with('.') { format!(".{l}\r\n") } else { format!("{l}\r\n") }).collect();
        let wire = stuffed + ".\r\n";
        let (end, (bytes, faults)) = receive(wire.as_bytes(), &vec![cut; wire.len()], BareNewlines::Refused);
        prop_assert_eq!(end, Some(wire.len()));
        prop_assert_eq!(String::from_utf8_lossy(&bytes), mail);
        prop_assert_eq!(faults, Faults::default());
    }
}
