//! Voice activity: which share of a window is speech, and whether a window with too little of it is left out.
//!
//! `gate` (what is configured, and where windows lie) → `speech` (one channel, window by window) → `lane` (segments of it) → `detector`
//! (one frame after another). In: one channel's samples at the model's rate. Out: a share for each window. All pure.
//!
//! A window's share depends on its own samples alone, as its features do: a detector never hears what lies before the window. Windows
//! overlap, and yet each sample is judged once: a detector starts afresh at each window's start and is over at the next one's, and a
//! window counts the frames of all segments that lie in it. Where the hop is shorter than half a second, segments last for several hops,
//! side by side in as many lanes. So a window that is replayed, in whatever chunks, is judged as it was the first time.
//!
//! The library is [`earshot`]: a recurrent net of 40 kB in Rust alone, without a dependency, a build script or a download, MIT or Apache-2.0,
//! kept by the authors of `ort`; 16 ms of 16 kHz audio a frame, fixed-point inside. What else there is, tried on speech of CREMA-D and TESS
//! with silence between, white noise and babble, and on sounds without speech:
//!
//! - `webrtc-vad`: C, last released in 2019. Half the cost, and as good in silence, white noise and babble; but it keeps all windows of key
//!   clicks and two in three of a ringing line, of which earshot keeps none. (Hum and melodies pass for speech with both.)
//! - Silero (`voice_activity_detector`, `silero-vad-rust`): keeps none of those sounds, loses more of acted speech; 80 times the cost, and a
//!   session of ONNX Runtime for each stream, through another `ort` than ours.
//! - `ten-vad-rs`: through another `ort` too, and its model's licence adds conditions of its own.
//! - `nnnoiseless`: takes 48 kHz alone.

mod detector;
mod gate;
mod lane;
mod options;
mod speech;

pub use detector::SAMPLE_RATE_HZ;
pub use gate::Gate;
pub use options::{Mode, Options};
pub use speech::Speech;
