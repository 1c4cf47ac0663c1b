//! Everything that reads patch text: mailinfo, the parser, paths, placing, deltas, patch-id. The bytes are a patch, and, up to
//! the first NUL, the content that it is placed on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::diff::{self, Body, Limits, apply_delta, apply_hunks, mailinfo, patch_id, path};

const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    files: 100,
    hunks: 1_000,
    unpacked: 1 << 20,
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(letter) = mailinfo::mailinfo(bytes) {
        assert!(!letter.patch.is_empty() && !letter.name.is_empty());
        assert!(!letter.message.contains('\0'), "git refuses it");
        std::hint::black_box(patch_id::patch_id(&letter.patch));
    }
    std::hint::black_box(patch_id::patch_id(bytes));
    let at = bytes.iter().position(|b| *b == 0).unwrap_or(0);
    let (content, patch) = bytes.split_at(at);
    let made = apply_delta(content, patch, LIMITS.unpacked);
    assert!(made.ok().is_none_or(|m| m.len() <= LIMITS.unpacked));
    for strip in [0, 1] {
        let Ok(files) = diff::parse(patch, strip, &LIMITS) else {
            continue;
        };
        assert!(!files.is_empty() && files.len() <= LIMITS.files);
        for file in &files {
            if path::check(file.path(), diff::FILE).is_ok() {
                let parts: Vec<&[u8]> = file.path().split(|b| *b == b'/').collect();
                assert!(!parts.iter().any(|p| matches!(*p, b"" | b"." | b".." | b".git")));
            }
            let Body::Text(hunks) = &file.body else {
                continue;
            };
            std::hint::black_box(apply_hunks(content, hunks, u64::MAX).0).ok();
            // Each hunk fits on what it says to be there.
            for hunk in hunks {
                let (fits, _) = apply_hunks(&hunk.before().concat(), std::slice::from_ref(hunk), u64::MAX);
                assert_eq!(fits, Ok(hunk.after().concat()), "a hunk fits on its own context");
            }
        }
    }
});
