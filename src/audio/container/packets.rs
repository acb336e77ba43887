//! The decoders of single packets, behind one interface.
//!
//! Input: the packets of one track, in order, and the header that a container gives for its codec.
//! Output: the samples of each packet, one buffer per channel.
//! Invariants: containers are read elsewhere, and nothing is trimmed here except what a codec itself drops.

use std::sync::LazyLock;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::packet::PacketRef;
use symphonia::core::units::{Duration, Timestamp};

use super::super::FileProblem;
use super::super::opus::Opus;
use super::malformed;
use super::pcm::Layout;
use super::recorder::check_format;

/// The decoders of symphonia that the features in `Cargo.toml` select.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs
});

/// The decoder of one track.
pub(super) struct Packets {
    decoder: Kind,
    /// The samples of the last packet, one buffer per channel.
    block: Vec<Vec<f32>>,
}

enum Kind {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<Opus>),
    Pcm(Layout),
}

/// The samples of one packet.
pub(super) struct Block<'a> {
    /// Samples per second of one channel.
    pub(super) rate_hz: u32,
    /// One buffer per channel, all of the same length, which may be zero.
    pub(super) channels: &'a [Vec<f32>],
}

impl Packets {
    /// Creates a decoder of symphonia. `header` is what the codec requires before the first packet; empty
    /// where it needs nothing.
    ///
    /// # Errors
    /// A codec that is not supported, or a header that its decoder refuses.
    pub(super) fn new(codec: AudioCodecId, format: (u32, usize), header: &[u8]) -> Result<Self, FileProblem> {
        let mut parameters = AudioCodecParameters::new();
        let (rate_hz, channels) = format;
        parameters.for_codec(codec).with_sample_rate(rate_hz).with_channels(discrete(channels));
        if !header.is_empty() {
            parameters.with_extra_data(header.into());
        }
        Self::with_parameters(&parameters)
    }

    /// Creates a decoder of symphonia from its own description of the codec.
    ///
    /// # Errors
    /// A codec that is not supported, or a header that its decoder refuses.
    pub(super) fn with_parameters(parameters: &AudioCodecParameters) -> Result<Self, FileProblem> {
        // With this option the Vorbis decoder drops its first packet, which only starts the overlap. No packet
        // declares samples to trim, so the option has no other effect.
        let options = AudioDecoderOptions::default().gapless(true);
        let decoder = CODECS.make_audio_decoder(parameters, &options).map_err(failure)?;
        Ok(Self { decoder: Kind::Symphonia(decoder), block: Vec::new() })
    }

    /// Creates a decoder of Opus from its identification header.
    ///
    /// # Errors
    /// A header that is malformed or not supported.
    pub(super) fn opus(header: &[u8]) -> Result<Self, FileProblem> {
        Ok(Self { decoder: Kind::Opus(Box::new(Opus::new(header)?)), block: Vec::new() })
    }

    /// Creates a decoder of samples that are not compressed.
    ///
    /// # Errors
    /// A rate or a number of channels outside the limits.
    pub(super) fn pcm(layout: Layout) -> Result<Self, FileProblem> {
        check_format(layout.rate_hz, layout.channels)?;
        Ok(Self { decoder: Kind::Pcm(layout), block: vec![Vec::new(); layout.channels] })
    }

    /// Returns the samples per channel at the start that the decoder has removed because the header declares them as delay.
    pub(super) fn delay(&self) -> usize {
        if let Kind::Opus(opus) = &self.decoder { opus.removed() } else { 0 }
    }

    /// Decodes the next packet.
    ///
    /// # Errors
    /// [`FileProblem::Malformed`] with the message of the decoder.
    pub(super) fn decode(&mut self, data: &[u8]) -> Result<Block<'_>, FileProblem> {
        self.decode_timed(data, 0)
    }

    /// Decodes the next packet, of which the container declares `frames` samples per channel. Only ADPCM needs
    /// the number.
    ///
    /// # Errors
    /// [`FileProblem::Malformed`] with the message of the decoder.
    pub(super) fn decode_timed(&mut self, data: &[u8], frames: usize) -> Result<Block<'_>, FileProblem> {
        let rate_hz = match &mut self.decoder {
            Kind::Opus(opus) => opus.decode(data, &mut self.block)?,
            Kind::Pcm(layout) => {
                if !data.len().is_multiple_of(layout.channels * layout.bytes) {
                    return Err(malformed("a packet does not hold whole sample frames"));
                }
                layout.block(data, &mut self.block)?;
                layout.rate_hz
            }
            Kind::Symphonia(decoder) => {
                let packet = PacketRef::new(0, Timestamp::ZERO, Duration::new(frames as u64), data);
                let decoded = decoder.decode_ref(&packet).map_err(failure)?;
                decoded.copy_to_vecs_planar(&mut self.block);
                decoded.spec().rate()
            }
        };
        Ok(Block { rate_hz, channels: &self.block })
    }
}

/// Returns a layout of `channels` channels without positions, which no decoder here depends on.
pub(super) fn discrete(channels: usize) -> Channels {
    Channels::Discrete(u16::try_from(channels).unwrap_or(u16::MAX))
}

/// Converts an error of symphonia.
pub(super) fn failure(error: Error) -> FileProblem {
    match error {
        Error::ResetRequired => malformed("several recordings in one file are not supported"),
        error => malformed(&error.to_string()),
    }
}
