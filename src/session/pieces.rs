//! Cuts large chunks into pieces of at most one hop, and bounds the events that a piece may cause.
//!
//! Input: a chunk, or decoded samples. Output: the same audio in order. Invariant: one piece needs room for a few events only, so a large chunk
//! neither fills the queues at once nor needs room for all its events beforehand. Pure.

use prost::bytes::Bytes;

use crate::audio::{self, AudioFormat, CHANNELS, Encoding, Planar, SAMPLE_RATES_HZ};
use crate::stream::{BadChunk, Chunk, StreamSetup};
use crate::window::whole_samples;

/// Cuts `chunk` into pieces of at most one hop. A chunk that does not hold whole samples stays whole: the shard refuses it.
///
/// # Errors
/// Returns an error if any piece holds a value that is no sample, since a chunk is accepted or refused as a whole.
pub fn pieces(setup: &StreamSetup, format: AudioFormat, chunk: Chunk) -> Result<Vec<Chunk>, BadChunk> {
    let frame_bytes =
        format.encoding().sample_bytes().map_or(0, |bytes| bytes * usize::from(format.channels()));
    let uneven = frame_bytes == 0 || !chunk.audio.len().is_multiple_of(frame_bytes);
    if uneven {
        return Ok(vec![chunk]);
    }
    // A chunk may exceed its limit by the start of a sample that an earlier chunk left incomplete. Its pieces do not.
    let hop = usize::try_from(hop_samples(setup, format)).unwrap_or(usize::MAX);
    let frames = hop.min(setup.max_chunk_bytes / frame_bytes).max(1);
    let step = frames.saturating_mul(frame_bytes);
    if chunk.audio.len() <= step {
        return Ok(vec![chunk]);
    }
    if format.encoding() == Encoding::PcmF32Le {
        audio::decode(format, &chunk.audio, &mut Planar::new())?;
    }
    let mut rest = chunk.audio.clone();
    let mut pieces = Vec::with_capacity(rest.len().div_ceil(step));
    while !rest.is_empty() {
        let audio = rest.split_to(step.min(rest.len()));
        let (first, before) = (pieces.is_empty(), (pieces.len() * frames) as u64);
        pieces.push(Chunk {
            sequence: chunk.sequence.filter(|_| first),
            // Every piece declares its position: if the first one overlaps earlier audio and is cut off, the others must not take its place.
            first_sample: chunk.first_sample.map(|sample| sample.saturating_add(before)),
            format: chunk.format.filter(|_| first),
            last: chunk.last && rest.is_empty(),
            audio,
        });
    }
    Ok(pieces)
}

/// Returns the chunk in which samples of a file, one buffer of equal length per channel, are sent to its shard. `format` is that of PCM_F32LE.
pub fn chunk_of(format: AudioFormat, channels: &[Vec<f32>]) -> Chunk {
    let range = 0..channels.first().map_or(0, Vec::len);
    let samples = range.flat_map(|at| channels.iter().map(move |channel| channel[at]));
    let audio: Bytes = samples.flat_map(f32::to_le_bytes).collect();
    Chunk { format: Some(format), audio, ..Chunk::default() }
}

/// Returns the most events that one piece may cause: the windows that its audio, and silence before it, complete in each channel, and the partial
/// ones of a segment that ends with it or begins after it.
#[must_use]
pub fn events_of_a_piece(setup: &StreamSetup, format: AudioFormat) -> usize {
    events_of_a_channel(setup, format).saturating_mul(setup.channels.analysed(format.channels()))
}

/// Returns the most events that a piece may cause in any format, with each channel analysed by itself, since a stream may request that
/// whatever the configured policy is.
#[must_use]
pub fn most_events_of_a_piece(setup: &StreamSetup) -> usize {
    let channels = *CHANNELS.end();
    let widest = AudioFormat::new(Encoding::MuLaw, *SAMPLE_RATES_HZ.start(), u32::from(channels));
    widest.map_or(0, |widest| events_of_a_channel(setup, widest).saturating_mul(usize::from(channels)))
}

/// Returns the most events of one channel: one for each hop of the longest gap, one for the audio of the piece, and up to three for the ends of the
/// segments before, within and after it.
fn events_of_a_channel(setup: &StreamSetup, format: AudioFormat) -> usize {
    let silence = whole_samples(setup.max_gap, format.sample_rate_hz());
    let windows = silence / hop_samples(setup, format) + 1;
    usize::try_from(windows).unwrap_or(usize::MAX / 16) + 3
}

/// Returns one hop in samples of the stream, at least one.
fn hop_samples(setup: &StreamSetup, format: AudioFormat) -> u64 {
    let geometry = &setup.geometry;
    (geometry.hop * u64::from(format.sample_rate_hz()) / u64::from(geometry.sample_rate_hz)).max(1)
}
