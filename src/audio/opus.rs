//! Opus in Ogg (RFC 7845): the decoder that symphonia lacks, implemented against symphonia's decoder
//! interface.
//!
//! Input: packets from symphonia's Ogg reader.
//! Output: samples at 48 kHz, without encoder delay and padding, with the gain of the header applied.
//! Invariants: this module does not read containers.
//!
//! The crate `opus-decoder` decodes the packets. It is pure Rust without unsafe code, licensed as MIT or
//! Apache-2.0, and passes the test vectors of RFC 8251. Rejected alternatives: `symphonia-adapter-libopus`
//! (libopus, whose build needs cmake), `unsafe-libopus` (a mechanical translation of the C code), `opus-rs`,
//! `ropus` and `ruopus` (unsafe code on untrusted bytes).

use std::fmt;

use opus_decoder::{OpusDecoder, OpusError, OpusMultistreamDecoder};
// The macro `support_audio_codec` refers to the crate by this name.
use symphonia::core as symphonia_core;
use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result, decode_error, unsupported_error};
use symphonia::core::packet::PacketRef;
use symphonia::core::support_audio_codec;

use super::CHANNELS;

/// The sample rate of decoded Opus and the unit of its sample counts, whatever the rate of the original was.
const RATE_HZ: u32 = 48_000;
/// Samples per channel of the longest packet, 120 ms.
const LONGEST_PACKET: usize = 5_760;

/// The fields of the identification header that symphonia does not interpret (RFC 7845, section 5.1).
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
    parameters: AudioCodecParameters,
    streams: Streams,
    head: Head,
    /// Samples of the encoder delay that are still to be dropped.
    to_skip: usize,
    /// The interleaved samples of one packet.
    samples: Vec<f32>,
    /// The samples of the last packet, as symphonia returns them.
    block: AudioBuffer<f32>,
}

impl Opus {
    fn new(parameters: &AudioCodecParameters) -> Result<Self> {
        let head = parameters.extra_data.as_deref().and_then(Head::read);
        let (Some(head), Some(channels)) = (head, &parameters.channels) else {
            return decode_error("opus: the identification header is malformed");
        };
        if channels.count() != head.channels {
            return unsupported_error("opus: the channel mapping is not supported");
        }
        let (streams, coupled) = (head.streams, head.coupled);
        // Every stream allocates a decoder, so a header must not declare streams that no channel uses.
        if streams > head.channels || head.channels > usize::from(*CHANNELS.end()) {
            return unsupported_error(
                "opus: more streams than channels, or more channels than are supported",
            );
        }
        let decoder = if streams == 1 && head.channels <= 2 {
            OpusDecoder::new(RATE_HZ, head.channels).map(|decoder| Streams::One(Box::new(decoder)))
        } else {
            OpusMultistreamDecoder::new(RATE_HZ, head.channels, streams, coupled, &head.mapping)
                .map(Streams::Many)
        };
        let samples = vec![0.0; LONGEST_PACKET * head.channels];
        let block = AudioBuffer::new(AudioSpec::new(RATE_HZ, channels.clone()), LONGEST_PACKET);
        let to_skip = head.pre_skip;
        let (parameters, streams) = (parameters.clone(), decoder.map_err(failure)?);
        Ok(Self { parameters, streams, head, to_skip, samples, block })
    }
}

impl AudioDecoder for Opus {
    fn reset(&mut self) {
        match &mut self.streams {
            Streams::One(decoder) => decoder.reset(),
            Streams::Many(decoder) => decoder.reset(),
        }
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        if packet.data.is_empty() {
            return decode_error("opus: a packet is empty");
        }
        let decoded = match &mut self.streams {
            Streams::One(decoder) => decoder.decode_float(packet.data, &mut self.samples, false),
            Streams::Many(decoder) => decoder.decode_float(packet.data, &mut self.samples, false),
        };
        let frames = decoded.map_err(failure)?;
        let samples = &mut self.samples[..frames * self.head.channels];
        samples.iter_mut().for_each(|sample| *sample *= self.head.gain);
        self.block.clear();
        self.block.render_uninit(Some(frames));
        self.block.copy_from_slice_interleaved(&samples);
        let skipped = self.to_skip.min(frames);
        self.to_skip -= skipped;
        let padding = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        self.block.trim(skipped, padding.min(frames - skipped));
        Ok(self.block.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.block.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for Opus {
    fn try_registry_new(
        parameters: &AudioCodecParameters,
        _options: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::new(parameters)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &[support_audio_codec!(CODEC_ID_OPUS, "opus", "Opus")]
    }
}

fn failure(error: OpusError) -> Error {
    // The errors of symphonia hold static text only.
    Error::DecodeError(match error {
        OpusError::InvalidArgument(_) => "opus: the header has invalid values",
        _ => "opus: a packet is malformed",
    })
}

impl fmt::Debug for Opus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Opus").field("channels", &self.head.channels).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use symphonia::core::audio::Channels;

    use super::*;

    /// Opens a decoder for a header with `channels` channels; `more` is its channel mapping table.
    fn opened(channels: u8, family: u8, more: &[u8]) -> Result<Opus> {
        let head =
            [b"OpusHead\x01", &[channels][..], &[0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, family], more].concat();
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(CODEC_ID_OPUS)
            .with_sample_rate(RATE_HZ)
            .with_channels(Channels::Discrete(channels.into()))
            .with_extra_data(head.into());
        Opus::new(&parameters)
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
