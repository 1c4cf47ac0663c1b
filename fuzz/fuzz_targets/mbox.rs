//! Mboxes: any bytes are read to the end, and what was written is read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::mail::mbox;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = mbox::Reader::new(bytes);
    let mut mails = Vec::new();
    while let Some(mail) = reader.next_mail().expect("memory has no I/O errors") {
        mails.push(mail);
    }
    let mut file = Vec::new();
    for mail in &mails {
        mbox::write(&mut file, mail).expect("memory has no I/O errors");
    }
    let mut reader = mbox::Reader::new(file.as_slice());
    for mail in &mails {
        let again = reader
            .next_mail()
            .expect("memory has no I/O errors")
            .expect("as many as were written");
        // A mail without an end of line gets one.
        let end = |m: &[u8]| String::from_utf8_lossy(m).trim_end_matches('\n').to_owned();
        assert_eq!(end(&again), end(mail));
    }
    assert!(
        reader
            .next_mail()
            .expect("memory has no I/O errors")
            .is_none()
    );
});
