//! Opus (RFC 6716) with the header that Ogg, WebM and Matroska give it (RFC 7845).
//!
//! Input: the identification header, then packets.
//! Output: samples at 48 kHz, without the delay of the encoder, with the gain of the header applied.
//! Invariants: this module does not read containers.
//!
//! The packets are decoded by libopus, the reference implementation, which the crate `opusic-c` builds from source
//! (BSD-3-Clause; it needs cmake and a C compiler). Rejected alternatives: `opus-decoder` 0.1.1 (pure Rust, but its
//! samples differ by up to 3e-3 in the hybrid mode that most voice messages use), `unsafe-libopus` (a mechanical
//! translation of the same code), `opus-rs`, `ropus` and `ruopus` (unsafe code that few have tested).

use opusic_c::{Channels, Decoder, SampleRate};

use super::format::check_channels;
use super::{FileProblem, opus_streams};

/// The sample rate of decoded Opus and the unit of its sample counts, whatever the rate of the original was.
const RATE_HZ: u32 = 48_000;
/// Samples per channel of the longest packet, 120 ms.
const LONGEST_PACKET: usize = 5_760;

/// The entry of a mapping for a channel that no stream holds.
const SILENT: u8 = 255;

/// For each number of channels, the channels of mapping family 1 (RFC 7845, section 5.1.1.2) in the order of WAV files, so that
/// a recording has the same channels in every container.
const ORDERS: [&[usize]; 8] = [
    &[0],
    &[0, 1],
    &[0, 2, 1],
    &[0, 1, 2, 3],
    &[0, 2, 1, 3, 4],
    &[0, 2, 1, 5, 3, 4],
    &[0, 2, 1, 6, 5, 3, 4],
    &[0, 2, 1, 7, 5, 6, 3, 4],
];

/// The fields of the identification header (RFC 7845, section 5.1).
struct Head {
    channels: usize,
    /// Samples at the start that are encoder delay and not part of the recording.
    pre_skip: usize,
    /// The factor that samples are multiplied by.
    gain: f32,
    /// Number of elementary streams.
    streams: usize,
    /// Number of streams that are stereo; they come first.
    coupled: usize,
    /// The decoded channel that each output channel is taken from.
    mapping: Vec<u8>,
    /// The meaning of the mapping: 0 and 1 are the usual orders of channels, 255 has no order.
    family: u8,
}

impl Head {
    /// Parses the header packet; `None` where it is too short.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [channels, skip_low, skip_high, _, _, _, _, gain_low, gain_high, family, rest @ ..] =
            bytes.strip_prefix(b"OpusHead")?.get(1..)?
        else {
            return None;
        };
        let channels = usize::from(*channels);
        let (streams, coupled, mapping) = match family {
            0 => (1, channels.saturating_sub(1), (0..channels as u8).collect()),
            _ => {
                let [streams, coupled, mapping @ ..] = rest else { return None };
                (usize::from(*streams), usize::from(*coupled), mapping.get(..channels)?.to_vec())
            }
        };
        let gain_db = f32::from(i16::from_le_bytes([*gain_low, *gain_high])) / 256.0;
        Some(Self {
            channels,
            pre_skip: usize::from(u16::from_le_bytes([*skip_low, *skip_high])),
            gain: 10.0_f32.powf(gain_db / 20.0),
            streams,
            coupled,
            mapping,
            family: *family,
        })
    }
}

/// The decoder of one track.
pub(super) struct Opus {
    /// One decoder per elementary stream. Those of stereo streams come first.
    streams: Vec<Decoder>,
    head: Head,
    /// Samples of the encoder delay that are still to be dropped.
    to_skip: usize,
    /// The interleaved samples of one packet of one stream.
    samples: Vec<f32>,
}

impl Opus {
    /// Creates a decoder from an identification header.
    ///
    /// # Errors
    /// A header that is malformed, and a channel mapping or a number of channels that is not supported.
    pub(super) fn new(header: &[u8]) -> Result<Self, FileProblem> {
        let mut head =
            Head::read(header).ok_or_else(|| malformed("the identification header is malformed"))?;
        let channels = head.channels;
        check_channels(channels as u32).map_err(|_| FileProblem::Channels { value: channels as u32 })?;
        if !matches!(head.family, 0 | 1 | 255) {
            let format = format!("Opus with the channel mapping family {}", head.family);
            return Err(FileProblem::UnsupportedFormat { format });
        }
        let decoded = head.streams + head.coupled;
        let is_mapped = |slot: &u8| *slot == SILENT || usize::from(*slot) < decoded;
        // Every stream allocates a decoder, so a header must not declare streams that no channel uses.
        if head.streams == 0
            || head.streams > channels
            || head.coupled > head.streams
            || !head.mapping.iter().all(is_mapped)
        {
            return Err(malformed(
                "the header declares more streams than channels, or channels of no stream",
            ));
        }
        if let Some(order) = ORDERS.get(channels - 1).filter(|_| head.family == 1) {
            head.mapping = order.iter().map(|channel| head.mapping[*channel]).collect();
        }
        let width = |stream| if stream < head.coupled { Channels::Stereo } else { Channels::Mono };
        let decoder = |stream| Decoder::new(width(stream), SampleRate::Hz48000);
        let streams = (0..head.streams).map(decoder).collect::<Result<_, _>>();
        let streams = streams.map_err(|error| malformed(error.message()))?;
        let to_skip = head.pre_skip;
        Ok(Self { streams, head, to_skip, samples: vec![0.0; 2 * LONGEST_PACKET] })
    }

    /// Returns the samples per channel of the encoder delay that were removed.
    pub(super) fn removed(&self) -> usize {
        self.head.pre_skip - self.to_skip
    }

    /// Decodes one packet into one buffer per channel, and returns the sample rate. The buffers are empty while
    /// the delay of the encoder lasts.
    ///
    /// # Errors
    /// [`FileProblem::Malformed`].
    pub(super) fn decode(&mut self, packet: &[u8], out: &mut Vec<Vec<f32>>) -> Result<u32, FileProblem> {
        if packet.is_empty() {
            return Err(malformed("a packet is empty"));
        }
        let packets = opus_streams::split(packet, self.streams.len());
        let packets = packets.ok_or_else(|| malformed("the framing of a packet is malformed"))?;
        out.resize_with(self.head.channels, Vec::new);
        out.iter_mut().for_each(Vec::clear);
        let mut frames = None;
        for (index, packet) in packets.iter().enumerate() {
            if packet.is_empty() {
                return Err(malformed("the packet of a stream is empty"));
            }
            let width = if index < self.head.coupled { 2 } else { 1 };
            let decoded = self.streams[index].decode_float_to_slice(
                packet,
                &mut self.samples[..width * LONGEST_PACKET],
                false,
            );
            let decoded = decoded.map_err(|error| malformed(error.message()))?;
            if *frames.get_or_insert(decoded) != decoded {
                return Err(malformed("the streams of a packet differ in length"));
            }
            self.distribute(index, decoded, out);
        }
        let frames = frames.unwrap_or(0);
        let skipped = self.to_skip.min(frames);
        self.to_skip -= skipped;
        for channel in out {
            // Channels of no stream are silent.
            channel.resize(frames, 0.0);
            channel.drain(..skipped);
        }
        Ok(RATE_HZ)
    }

    /// Copies the samples of one stream to the channels that are taken from it.
    fn distribute(&self, stream: usize, frames: usize, out: &mut [Vec<f32>]) {
        let (first, width) =
            if stream < self.head.coupled { (2 * stream, 2) } else { (self.head.coupled + stream, 1) };
        for (channel, slot) in out.iter_mut().zip(&self.head.mapping) {
            let slot = usize::from(*slot);
            if (first..first + width).contains(&slot) && slot != usize::from(SILENT) {
                let samples = self.samples[..frames * width].iter().skip(slot - first).step_by(width);
                channel.extend(samples.map(|sample| sample * self.head.gain));
            }
        }
    }
}

fn malformed(reason: &str) -> FileProblem {
    FileProblem::Malformed { reason: format!("opus: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens a decoder for a header with `channels` channels; `more` is its channel mapping table.
    fn opened(channels: u8, family: u8, more: &[u8]) -> Result<Opus, FileProblem> {
        Opus::new(
            &[b"OpusHead\x01", &[channels][..], &[0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, family], more].concat(),
        )
    }

    #[test]
    fn headers_of_one_stream_and_of_several() {
        let stereo = opened(2, 0, &[]).unwrap();
        assert_eq!((stereo.head.pre_skip, stereo.head.gain, stereo.streams.len()), (312, 1.0, 1));
        let surround = opened(6, 1, &[4, 2, 0, 4, 1, 2, 3, 5]).unwrap();
        assert_eq!((surround.head.coupled, surround.streams.len()), (2, 4));
        // The order of the file is left, centre, right, both at the back, low frequencies.
        assert_eq!(surround.head.mapping, [0, 1, 4, 5, 2, 3]);
        assert_eq!(opened(6, 255, &[4, 2, 0, 4, 1, 2, 3, 5]).unwrap().head.mapping, [0, 4, 1, 2, 3, 5]);
    }

    #[test]
    fn headers_that_are_refused() {
        for (channels, family, more) in [
            (0, 0, &[][..]),
            (2, 1, &[]),
            (6, 1, &[4, 2, 0, 4, 1]),
            (2, 1, &[2, 0, 0, 7]),
            (2, 1, &[255, 0, 0, 1]),
            (255, 255, &[255; 257]),
        ] {
            assert!(opened(channels, family, more).is_err(), "{channels} channels, family {family}");
        }
    }
}
