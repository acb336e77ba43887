//! Opus (RFC 6716) with the header that Ogg, WebM and Matroska give it (RFC 7845).
//!
//! Input: the identification header, then packets.
//! Output: samples at 48 kHz, without the delay of the encoder, with the gain of the header applied.
//! Invariants: this module does not read containers.
//!
//! The crate `opus-decoder` decodes the packets. It is pure Rust without unsafe code, licensed as MIT or
//! Apache-2.0, and passes the test vectors of RFC 8251. Rejected alternatives: `symphonia-adapter-libopus`
//! (libopus, whose build needs cmake), `unsafe-libopus` (a mechanical translation of the C code), `opus-rs`,
//! `ropus` and `ruopus` (unsafe code on untrusted bytes).

use opus_decoder::{OpusDecoder, OpusError, OpusMultistreamDecoder};

use super::format::check_channels;
use super::{CHANNELS, FileProblem};

/// The sample rate of decoded Opus and the unit of its sample counts, whatever the rate of the original was.
const RATE_HZ: u32 = 48_000;
/// Samples per channel of the longest packet, 120 ms.
const LONGEST_PACKET: usize = 5_760;

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

/// The decoder of one stream with one or two channels, or that of several streams.
enum Streams {
    One(Box<OpusDecoder>),
    Many(OpusMultistreamDecoder),
}

/// The decoder of one track.
pub(super) struct Opus {
    streams: Streams,
    head: Head,
    /// Samples of the encoder delay that are still to be dropped.
    to_skip: usize,
    /// The interleaved samples of one packet.
    samples: Vec<f32>,
}

impl Opus {
    /// Creates a decoder from an identification header.
    ///
    /// # Errors
    /// A header that is malformed, and a channel mapping or a number of channels that is not supported.
    pub(super) fn new(header: &[u8]) -> Result<Self, FileProblem> {
        let head = Head::read(header).ok_or_else(|| malformed("the identification header is malformed"))?;
        let (streams, coupled) = (head.streams, head.coupled);
        check_channels(head.channels as u32)
            .map_err(|_| FileProblem::Channels { value: head.channels as u32 })?;
        if !matches!(head.family, 0 | 1 | 255) {
            let format = format!("Opus with the channel mapping family {}", head.family);
            return Err(FileProblem::UnsupportedFormat { format });
        }
        // Every stream allocates a decoder, so a header must not declare streams that no channel uses.
        if streams > head.channels || head.channels > usize::from(*CHANNELS.end()) {
            return Err(malformed("the header declares more streams than channels"));
        }
        let decoder = if streams == 1 && head.family == 0 {
            OpusDecoder::new(RATE_HZ, head.channels).map(|decoder| Streams::One(Box::new(decoder)))
        } else {
            OpusMultistreamDecoder::new(RATE_HZ, head.channels, streams, coupled, &head.mapping)
                .map(Streams::Many)
        };
        let samples = vec![0.0; LONGEST_PACKET * head.channels];
        let to_skip = head.pre_skip;
        Ok(Self { streams: decoder.map_err(failure)?, head, to_skip, samples })
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
        let decoded = match &mut self.streams {
            Streams::One(decoder) => decoder.decode_float(packet, &mut self.samples, false),
            Streams::Many(decoder) => decoder.decode_float(packet, &mut self.samples, false),
        };
        let frames = decoded.map_err(failure)?;
        let channels = self.head.channels;
        let skipped = self.to_skip.min(frames);
        self.to_skip -= skipped;
        let samples = &self.samples[skipped * channels..frames * channels];
        out.resize_with(channels, Vec::new);
        for (index, channel) in out.iter_mut().enumerate() {
            channel.clear();
            channel
                .extend(samples.iter().skip(index).step_by(channels).map(|sample| sample * self.head.gain));
        }
        Ok(RATE_HZ)
    }
}

fn failure(error: OpusError) -> FileProblem {
    malformed(match error {
        OpusError::InvalidArgument(_) => "the header has invalid values",
        _ => "a packet is malformed",
    })
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
        assert_eq!((stereo.head.pre_skip, stereo.head.gain), (312, 1.0));
        assert!(matches!(stereo.streams, Streams::One(_)));
        let surround = opened(6, 1, &[4, 2, 0, 4, 1, 2, 3, 5]).unwrap();
        assert!(matches!(surround.streams, Streams::Many(_)));
        assert_eq!(
            (surround.head.streams, surround.head.coupled, surround.head.mapping),
            (4, 2, vec![0, 4, 1, 2, 3, 5])
        );
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
