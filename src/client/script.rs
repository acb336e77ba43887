//! What a client will send for one recording, chunk by chunk, and when each chunk is due.
//!
//! In: samples or a file's bytes. Out: a [`Script`]. Pure: neither clock nor socket.

use std::time::Duration;

use prost::bytes::Bytes;

use crate::audio::ChannelPolicy;
use crate::audio::{encode, sample_bytes};
use crate::proto::{AudioChunk, AudioFormat, Encoding};

/// How a recording is cut.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkOptions {
    /// Name of the stream; every chunk carries it.
    pub stream_id: String,
    /// Audio of one chunk; above 0.
    pub chunk: Duration,
    /// How samples are written.
    pub encoding: Encoding,
    /// Whether each chunk says at which sample it begins. Never for whole files.
    pub first_sample: bool,
    /// What the stream asks to have done with its channels, on every chunk.
    pub channels: ChannelRequest,
}

/// What a stream asks to have done with its channels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelRequest {
    /// `None` leaves it to the daemon's configuration.
    pub policy: Option<ChannelPolicy>,
    /// One for each channel, or none.
    pub names: Vec<String>,
}

/// The chunks of one stream, the last one marked as such.
#[derive(Debug, Clone)]
pub struct Script {
    chunks: Vec<AudioChunk>,
    ends: Vec<Duration>,
}

impl Script {
    /// Cuts samples: one vector a channel, all of one length.
    pub fn of_samples(channels: &[Vec<f32>], sample_rate_hz: u32, options: &ChunkOptions) -> Self {
        let bytes = encode(channels, options.encoding);
        let format = AudioFormat {
            encoding: options.encoding.into(),
            sample_rate_hz,
            channels: u32::try_from(channels.len()).expect("few channels"),
        };
        let frame_bytes = channels.len() * sample_bytes(options.encoding).expect("checked by encode");
        let frames = channels.first().map_or(0, Vec::len);
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

    /// Cuts a file's own bytes into as many chunks as its audio would give.
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
            ..Default::default()
        }
    }

    /// The chunks in order, each with the position in the audio at which it ends.
    pub fn into_chunks(self) -> impl Iterator<Item = (Duration, AudioChunk)> + Send {
        self.ends.into_iter().zip(self.chunks)
    }

    /// Positions at which the chunks end, in order.
    pub fn ends(&self) -> &[Duration] {
        &self.ends
    }

    /// Length of the audio.
    pub fn audio(&self) -> Duration {
        self.ends.last().copied().unwrap_or_default()
    }
}
