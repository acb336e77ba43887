//! Fuzz target: the decoder of Ogg files, with valid page checksums (the entry point is in `tests/support/decoder_entries.rs`).

#![no_main]

#[path = "../../tests/support/decoder_entries.rs"]
mod decoder_entries;
mod own_panics;

libfuzzer_sys::fuzz_target!(init: own_panics::are_findings(), |bytes: &[u8]| decoder_entries::ogg(bytes));
