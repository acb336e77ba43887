//! The chunks that a client sends for one recording, with their positions in the audio.
//!
//! Input: samples or the bytes of a file. Output: a [`Script`]. Invariants: neither a clock nor a socket is used here.

use std::time::Duration;

use prost::bytes::Bytes;

use crate::audio::ChannelPolicy;
use crate::audio::{encode, sample_bytes};
use crate::proto::{AudioChunk, AudioFormat, Encoding};

/// The options for cutting a recording into chunks.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkOptions {
    /// The stream id, which every chunk carries.
    pub stream_id: String,
    /// The length of one chunk; above 0.
    pub chunk: Duration,
    /// The encoding of the samples.
    pub encoding: Encoding,
    /// Whether each chunk carries the index of its first sample; ignored for files.
    pub first_sample: bool,
    /// The requested channel policy and names, on every chunk.
    pub channels: ChannelRequest,
    /// The requested model, on every chunk; empty for the default model.
    pub model: String,
}

/// The channel policy and names that a stream requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelRequest {
    /// The policy; `None` uses the daemon's configuration.
    pub policy: Option<ChannelPolicy>,
    /// One name for each channel, or none.
    pub names: Vec<String>,
}

/// The chunks of one stream; the last one has `last` set.
#[derive(Debug, Clone)]
pub struct Script {
    chunks: Vec<AudioChunk>,
    ends: Vec<Duration>,
}

impl Script {
    /// Cuts samples into chunks; `channels` holds one vector per channel, all of the same length.
    pub fn of_samples(channels: &[Vec<f32>], sample_rate_hz: u32, options: &ChunkOptions) -> Self {
        Self::of_encoded(&encode(channels, options.encoding), channels.len(), sample_rate_hz, options)
    }

    /// Cuts interleaved samples of `channels` channels, in the encoding of `options`, into chunks.
    ///
    /// # Panics
    /// Panics for an encoding without a sample size, and for no channels.
    pub fn of_encoded(bytes: &Bytes, channels: usize, sample_rate_hz: u32, options: &ChunkOptions) -> Self {
        let format = AudioFormat {
            encoding: options.encoding.into(),
            sample_rate_hz,
            channels: u32::try_from(channels).expect("few channels"),
        };
        let frame_bytes = channels * sample_bytes(options.encoding).expect("the encoding holds samples");
        let frames = bytes.len() / frame_bytes;
        let step = ((options.chunk.as_secs_f64() * f64::from(sample_rate_hz)).round() as usize).max(1);
        let mut script = Self::with_capacity(frames.div_ceil(step));
        for start in (0..frames.max(1)).step_by(step) {
            let end = (start + step).min(frames);
            let mut chunk = script.next_chunk(options, &format);
            chunk.audio = bytes.slice(start * frame_bytes..end * frame_bytes);
            chunk.first_sample = options.first_sample.then_some(start as u64);
            chunk.last = end == frames;
            script.chunks.push(chunk);
            script.ends.push(Duration::from_secs_f64(end as f64 / f64::from(sample_rate_hz)));
        }
        script
    }

    /// Cuts the bytes of a file into as many chunks as its audio of length `audio` would have.
    pub fn of_file(bytes: &Bytes, audio: Duration, options: &ChunkOptions) -> Self {
        let format = AudioFormat { encoding: Encoding::File.into(), ..Default::default() };
        let count = audio.div_duration_f64(options.chunk).ceil().max(1.0) as usize;
        let step = bytes.len().div_ceil(count).max(1);
        let mut script = Self::with_capacity(count);
        for start in (0..bytes.len().max(1)).step_by(step) {
            let end = (start + step).min(bytes.len());
            let mut chunk = script.next_chunk(options, &format);
            chunk.audio = bytes.slice(start..end);
            chunk.last = end == bytes.len();
            script.chunks.push(chunk);
            script.ends.push(audio.mul_f64(end as f64 / bytes.len().max(1) as f64));
        }
        script
    }

    fn with_capacity(count: usize) -> Self {
        Self { chunks: Vec::with_capacity(count), ends: Vec::with_capacity(count) }
    }

    fn next_chunk(&self, options: &ChunkOptions, format: &AudioFormat) -> AudioChunk {
        AudioChunk {
            stream_id: options.stream_id.clone(),
            sequence: Some(self.chunks.len() as u64),
            format: Some(*format),
            channels: options.channels.policy.map_or(0, |policy| policy.to_proto().into()),
            channel_names: options.channels.names.clone(),
            model: options.model.clone(),
            ..Default::default()
        }
    }

    /// Returns the chunks in order, each with the position in the audio at which it ends.
    pub fn into_chunks(self) -> impl Iterator<Item = (Duration, AudioChunk)> + Send {
        self.ends.into_iter().zip(self.chunks)
    }

    /// Returns the positions at which the chunks end, in order.
    pub fn ends(&self) -> &[Duration] {
        &self.ends
    }

    /// Returns the length of the audio.
    pub fn audio(&self) -> Duration {
        self.ends.last().copied().unwrap_or_default()
    }
}
