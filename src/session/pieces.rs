//! Cuts a chunk into pieces of at most one hop, and says how many events each may cause.
//!
//! In: a chunk, or a recording. Out: the same audio in order, so that one large chunk neither fills the queues at once nor needs room
//! for all its events beforehand. Pure.

use prost::bytes::Bytes;

use crate::audio::{self, AudioFormat, CHANNELS, Encoding, Planar, Recording, SAMPLE_RATES_HZ};
use crate::serving::Lineup;
use crate::stream::{BadChunk, Chunk, StreamSetup};
use crate::window::whole_samples;

/// Cuts `chunk` into pieces of at most one hop. What cannot be cut evenly stays whole: the shard refuses it.
///
/// # Errors
/// A chunk is good or bad as a whole: where a later piece holds what is no sample, none is given.
pub fn pieces(setup: &StreamSetup, format: AudioFormat, chunk: Chunk) -> Result<Vec<Chunk>, BadChunk> {
    let frame_bytes =
        format.encoding().sample_bytes().map_or(0, |bytes| bytes * usize::from(format.channels()));
    let hop = usize::try_from(hop_samples(setup, format)).unwrap_or(usize::MAX);
    let step = frame_bytes.saturating_mul(hop);
    let uneven = frame_bytes == 0 || !chunk.audio.len().is_multiple_of(frame_bytes);
    if uneven || chunk.audio.len() <= step || chunk.audio.len() > setup.max_chunk_bytes {
        return Ok(vec![chunk]);
    }
    if format.encoding() == Encoding::PcmF32Le {
        audio::decode(format, &chunk.audio, &mut Planar::new())?;
    }
    let mut rest = chunk.audio.clone();
    let mut pieces = Vec::with_capacity(rest.len().div_ceil(step));
    while !rest.is_empty() {
        let audio = rest.split_to(step.min(rest.len()));
        let (first, before) = (pieces.is_empty(), (pieces.len() * hop) as u64);
        pieces.push(Chunk {
            sequence: chunk.sequence.filter(|_| first),
            // On each: where the first is an overlap, the others must not slide into its place.
            first_sample: chunk.first_sample.map(|sample| sample.saturating_add(before)),
            format: chunk.format.filter(|_| first),
            last: chunk.last && rest.is_empty(),
            audio,
        });
    }
    Ok(pieces)
}

/// The format and the chunks, of one second each, in which a recording reaches its shard.
///
/// # Errors
/// A sample rate or a number of channels that is not taken.
pub fn chunks_of(
    recording: Recording,
) -> Result<(AudioFormat, impl Iterator<Item = Chunk> + Send), BadChunk> {
    let Recording { sample_rate_hz, channels, .. } = recording;
    let format = AudioFormat::new(Encoding::PcmF32Le, sample_rate_hz, channels.len() as u32)?;
    let (step, samples) = (sample_rate_hz as usize, channels.first().map_or(0, Vec::len));
    let chunks = (0..samples).step_by(step).map(move |from| {
        let audio = interleaved(&channels, from..samples.min(from + step));
        Chunk { format: Some(format), audio, ..Chunk::default() }
    });
    Ok((format, chunks))
}

/// A part of a recording as PCM_F32LE.
fn interleaved(channels: &[Vec<f32>], range: std::ops::Range<usize>) -> Bytes {
    let samples = range.flat_map(|at| channels.iter().map(move |channel| channel[at]));
    samples.flat_map(f32::to_le_bytes).collect()
}

/// Events that one piece may cause at most: windows that its audio, and silence before it, complete in each channel, and the
/// partial ones of a stretch that it ends or that follows it.
pub fn events_of_a_piece(setup: &StreamSetup, format: AudioFormat) -> usize {
    events_of_a_channel(setup, format).saturating_mul(setup.channels.analysed(format.channels()))
}

/// The same for the format that causes most, each channel on its own: a stream may ask for that whatever is configured.
pub fn most_events_of_a_piece(setup: &StreamSetup) -> usize {
    let channels = *CHANNELS.end();
    let widest = AudioFormat::new(Encoding::MuLaw, *SAMPLE_RATES_HZ.start(), u32::from(channels));
    widest.map_or(0, |widest| events_of_a_channel(setup, widest).saturating_mul(usize::from(channels)))
}

fn events_of_a_channel(setup: &StreamSetup, format: AudioFormat) -> usize {
    let rate = format.sample_rate_hz();
    let audio = whole_samples(setup.max_gap, rate) / hop_samples(setup, format).max(1) + 1;
    usize::try_from(audio).unwrap_or(usize::MAX / 16) + 3
}

/// Events of one call that may be under way, whatever its format and its model.
pub fn credits_of_a_call(lineup: &Lineup) -> usize {
    64 + lineup.iter().map(|model| most_events_of_a_piece(&model.setup)).max().unwrap_or(0)
}

/// One hop in samples of the stream, at least one.
fn hop_samples(setup: &StreamSetup, format: AudioFormat) -> u64 {
    let geometry = &setup.geometry;
    (geometry.hop * u64::from(format.sample_rate_hz()) / u64::from(geometry.sample_rate_hz)).max(1)
}
