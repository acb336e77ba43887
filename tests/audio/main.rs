//! Audio before the features: files, encodings, the resampler and unusual input.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod both_ways;
mod caf;
mod cases;
mod encoded;
mod file_streams;
mod files;
mod formats;
mod grid;
mod narrow_band;
mod odd_audio;
mod odd_files;
mod pcm_files;
mod quicktime;
mod readings;
mod resample;
mod resample_golden;
