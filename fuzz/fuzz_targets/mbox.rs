//! Mboxes: any bytes are read to the end, and what was written is read back: as many mails, with the same bodies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::mail::{header, mbox};

fuzz_target!(|bytes: &[u8]| {
    let mails = read(bytes);
    let mut file = Vec::new();
    for mail in &mails {
        mbox::write(&mut file, mail).expect("memory has no I/O errors");
    }
    let again = read(&file);
    assert_eq!(again.len(), mails.len(), "one mail never becomes two");
    for (before, after) in mails.iter().zip(&again) {
        // A separator that was stored with the mail is left out, and what follows it is another header.
        if !before.starts_with(b"From ") {
            assert_eq!(body(before), body(after));
        }
    }
});

fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
    let reader = mbox::Reader::new(bytes);
    reader
        .map(|mail| mail.expect("memory has no I/O errors"))
        .collect()
}

/// Ends of line at the very end are the mbox's.
fn body(mail: &[u8]) -> &[u8] {
    let (_, body) = header::split(mail);
    let end = body.iter().rposition(|b| *b != b'\n' && *b != b'\r');
    &body[..end.map_or(0, |at| at + 1)]
}
