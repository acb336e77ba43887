//! Fuzz target: the parser of `content-type` headers (the entry point is in `tests/support/decoder_entries.rs`).

#![no_main]

#[path = "../../tests/support/decoder_entries.rs"]
mod decoder_entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoder_entries::content_type(bytes));
