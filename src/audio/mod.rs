//! Audio: formats, decoding, resampling and files.
//!
//! In data order: [`AudioFormat`] describes the bytes of a chunk, [`decode`] converts them to one buffer per
//! channel, [`ChannelLayout`] selects the channels, and [`Resampler`] converts them to the sample rate of the
//! model. Whole files are decoded by [`decode_file`] and [`decode_bytes`], or block by block by [`AudioFile`].
//!
//! Invariants: samples are f32 with full scale ±1 from the decoder on; the phase of the resampler follows
//! from the absolute sample index, so its output does not depend on how the audio was divided into chunks.

mod audio_file;
mod bad_audio;
mod channels;
mod container;
mod content_type;
mod decode;
mod decode_limit;
mod encode;
mod extensions;
mod file_bytes;
mod file_error;
mod file_header;
mod files;
mod format;
mod g711;
mod kernel;
mod multiply_rate;
mod options;
mod opus;
mod opus_streams;
mod resample;
mod resampler_plan;

pub use audio_file::*;
pub use bad_audio::*;
pub use channels::*;
pub use decode::*;
pub use decode_limit::DecodeLimit;
pub use encode::*;
pub use extensions::*;
pub use file_error::*;
pub use file_header::file_header;
pub use files::*;
pub use format::*;
pub use options::{FileAsSamples, Options};
pub use resample::*;
pub use resampler_plan::*;
