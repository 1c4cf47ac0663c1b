//! The search language: any text is a query or is refused in words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use patchpost::query;
use patchpost::types::Timestamp;

fuzz_target!(|text: &str| {
    match query::parse(text, Timestamp::from_secs(1_700_000_000)) {
        Ok(query) => drop(query.shown_words()),
        Err(error) => assert!(!error.0.is_empty()),
    }
});
