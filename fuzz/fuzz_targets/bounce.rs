//! Mail that comes back to a return path, and answers of the next hop.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::list::bounce;

fuzz_target!(
    // The MIME parser may break off; `mail::parse` catches that, and libFuzzer must not end the run over it.
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| {
        let report = bounce::parse(bytes);
        assert!(report.text.chars().count() <= 400);
        assert!(!report.text.chars().any(char::is_control), "one clean line");
        assert_eq!(bounce::Class::parse(report.class.word()), Some(report.class));
        std::hint::black_box(bounce::read_answer(&String::from_utf8_lossy(bytes)));
    }
);
