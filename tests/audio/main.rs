//! Audio before the features: files, encodings, the resampler and unusual input.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod file_streams;
mod files;
mod formats;
mod narrow_band;
mod odd_audio;
mod resample;
mod resample_golden;
