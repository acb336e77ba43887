//! From bytes to samples: formats, decoding, resampling, files.
//!
//! In data order: [`AudioFormat`] (what the bytes are) → [`decode`] (bytes to one buffer a channel) →
//! [`Resampler`] (to the model's rate, its phase from the absolute sample index). Samples are f32 at full scale ±1
//! from the decoder on. Whole files go through [`decode_file`] instead.

mod bad_audio;
mod channels;
mod content_type;
mod decode;
mod file_error;
mod files;
mod format;
mod g711;
mod kernel;
mod multiply_rate;
mod options;
mod opus;
mod resample;
mod resampler_plan;
mod wav_header;

pub use bad_audio::*;
pub use channels::*;
pub use decode::*;
pub use file_error::*;
pub use files::*;
pub use format::*;
pub use options::Options;
pub use resample::*;
pub use resampler_plan::*;
