//! The DATA receiver against a plain reading of RFC 5321: where data ends, what it holds, and which faults are seen,
//! however the bytes are cut. One message must never become two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::session::{BareNewlines, DataReceiver, Faults};

const LIMIT: usize = 4_000;

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = receive(bytes, bytes.len().max(1), BareNewlines::Refused);
    assert_eq!(
        whole,
        receive(bytes, usize::from(cut).max(1), BareNewlines::Refused)
    );
    let end = whole.0;
    assert_eq!(
        end,
        find_end(bytes),
        "data ends at CRLF.CRLF and nowhere else"
    );
    let mended = receive(bytes, usize::from(cut).max(1), BareNewlines::Normalised);
    assert_eq!(mended.0, end, "mending moves no end");
    if end.is_some() && !mended.2.too_big {
        let clean = String::from_utf8_lossy(&mended.1).replace("\r\n", "");
        assert!(
            !clean.contains(['\r', '\n']),
            "what was mended has no bare CR or LF"
        );
    }
});

type Outcome = (Option<usize>, Vec<u8>, Faults);

fn receive(bytes: &[u8], cut: usize, policy: BareNewlines) -> Outcome {
    let mut receiver = DataReceiver::new(LIMIT, policy);
    let mut used = 0;
    for piece in bytes.chunks(cut) {
        let (taken, done) = receiver.feed(piece);
        used += taken;
        if done {
            let (kept, faults) = receiver.finish();
            return (Some(used), kept, faults);
        }
        assert_eq!(taken, piece.len(), "all is taken until the end");
    }
    let (kept, faults) = receiver.finish();
    (None, kept, faults)
}

/// The offset behind the first CRLF.CRLF; the start of data counts as behind a CRLF.
fn find_end(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b".\r\n") {
        return Some(3);
    }
    bytes
        .windows(5)
        .position(|w| w == b"\r\n.\r\n")
        .map(|at| at + 5)
}
