//! Voice activity detection: the share of each window that is speech, and whether a window has too little of
//! it.
//!
//! In data order: `gate` holds the configuration and the division of windows into blocks, `voice_activity` follows
//! one channel window by window, `interleaved_detector` is one of its interleaved detectors, and `detector` classifies one
//! frame after the other.
//!
//! Input: the samples of one channel at the model's rate.
//! Output: a share of speech for each window.
//! Invariants: everything here is pure; a window's share depends on its own samples only, as its features do,
//! so a window that is computed again after a restart, in chunks of any size, has the same share.
//!
//! # Interleaved detectors
//!
//! The detector is recurrent, so its decisions depend on everything since its last reset. A detector that
//! runs through the whole stream was rejected for that reason: after a restart it would have another history
//! and other decisions. A detector that is reset and run for each window was rejected because windows
//! overlap, and each sample would be classified once per window.
//!
//! Instead, a detector is reset at the start of a window and classifies frames up to the start of the next
//! window, and a window counts the frames of all blocks inside it. Each frame is classified once. Where the
//! hop is shorter than half a second, such a block would be too short for a useful decision. Blocks then last
//! for several hops, and as many detectors run interleaved, each of them starting one window after the
//! previous one; a window counts the blocks of the detector that started with it. After each reset the
//! detector is primed with the first frames of its own block, see `Gate::priming_frames`.
//!
//! # The library
//!
//! The library is [`earshot`]: a recurrent network of 40 kB in pure Rust, without dependencies, build script
//! or downloads, licensed as MIT or Apache-2.0 and maintained by the authors of `ort`. It processes frames of
//! 16 ms at 16 kHz with fixed-point arithmetic. The alternatives were tried on speech of CREMA-D and TESS
//! with silence between the clips, with white noise and babble, and on sounds without speech:
//!
//! - `webrtc-vad`: C code, last released in 2019. It has half the cost and the same quality in silence, white
//!   noise and babble, but keeps all windows of key clicks and two in three of a ringing line, of which
//!   earshot keeps none. (Both take hum and melodies for speech.)
//! - Silero (`voice_activity_detector`, `silero-vad-rust`): keeps none of those sounds and drops more of
//!   acted speech; 80 times the cost, and a session of ONNX Runtime per stream, through a different version
//!   of `ort`.
//! - `ten-vad-rs`: also requires a different version of `ort`, and the licence of its model adds conditions
//!   of its own.
//! - `nnnoiseless`: supports 48 kHz only.

mod detector;
mod gate;
mod interleaved_detector;
mod meter;
mod voice_activity;

pub use detector::SAMPLE_RATE_HZ;
pub use gate::Gate;
pub use meter::{ActivityMeter, MeterScratch, add_to_fingerprint};
pub use voice_activity::VoiceActivity;
mod options;
pub use options::{Mode, Options};
