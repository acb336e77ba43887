//! The audio front end without a daemon: features, windows, resumption and voice activity.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod chunking;
mod golden;
mod properties;
mod voice_activity;
mod waveform;
mod windows;
mod windows_resume;
