//! Memory limits of the decoders, and allocations of the audio front end.
//!
//! A binary of its own: these tests run on an allocator that counts, and it is the allocator of the whole binary.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod allocations;
mod audio_files;
mod decoders;
