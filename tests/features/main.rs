//! Streams without a daemon: features, windows, resumption, voice activity and input sessions.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod call_sounds;
mod chunking;
mod golden;
mod properties;
mod session;
mod voice_activity;
mod waveform;
mod windows;
mod windows_resume;
