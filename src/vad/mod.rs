//! Voice activity detection: whether a window is digital silence or has too little speech.
//!
//! In data order: `gate` holds the configuration and the division of windows into blocks, `voice_activity` follows
//! one channel window by window, `speech_counter` counts the frames of speech in one block, `detector`
//! classifies one frame after the other, `tones` and `keys` find the frames that are call sounds or melodies, and
//! `levels` finds digital silence.
//!
//! Input: the samples of one channel at the model's rate.
//! Output: for each window, whether it is silent.
//! Invariants: everything here is pure; a window's decision depends on its own samples only, as its features do,
//! so a window that is computed again after a restart, in chunks of any size, has the same decision.
//!
//! # Blocks
//!
//! The detector is recurrent, so its decisions depend on everything since its last reset. A detector that
//! runs through the whole stream was rejected for that reason: after a restart it would have another history
//! and other decisions. A detector that is reset and run for each window was rejected because windows
//! overlap, and each sample would be classified once per window.
//!
//! Instead, the detector is reset at the start of a block. A block begins with a window and ends with the start of
//! the next window, and a window counts the frames of speech of all blocks inside it. Where the hop is shorter than
//! half a second, such a block would be too short for a useful decision. Blocks then last for several hops, and
//! windows that follow each other have different blocks. After each reset the detector is primed with the
//! first frames of its block, see `Gate::priming_frames`.
//!
//! A block is counted once, and only where a decision depends on it. A window is decided as soon as the counts that
//! are known reach the number that it needs. In continuous speech one block is enough for all windows that contain
//! it: at 3 s every 1 s two blocks in three are never counted, and the third one to about half.
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
mod keys;
mod levels;
mod meter;
mod options;
mod speech_counter;
mod tones;
mod voice_activity;

pub use detector::SAMPLE_RATE_HZ;
pub use gate::Gate;
pub use meter::{ActivityMeter, MeterScratch, add_to_fingerprint};
pub use options::{Mode, Options};
pub use speech_counter::SpeechCounter;
pub use voice_activity::VoiceActivity;
