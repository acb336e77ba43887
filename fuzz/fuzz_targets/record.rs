//! Fuzz target: the decoder of Kafka records (the entry point is in `tests/support/decoder_entries.rs`).

#![no_main]

#[path = "../../tests/support/decoder_entries.rs"]
mod decoder_entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| decoder_entries::record(bytes));
