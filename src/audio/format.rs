//! The format of a chunk's bytes: encoding, sample rate and number of channels.
//!
//! Input: an `AudioFormat` message of the protocol, or a `content-type` header.
//! Output: an [`AudioFormat`] within the limits, or a [`BadAudio`].
//! Invariants: this module does not read audio data.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{BadAudio, content_type};
use crate::proto;

/// The allowed sample rates, in hertz.
pub const SAMPLE_RATES_HZ: RangeInclusive<u32> = 8_000..=192_000;
/// The allowed numbers of channels.
pub const CHANNELS: RangeInclusive<u16> = 1..=8;

/// How the bytes of a chunk represent samples. Samples of several channels are interleaved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// 16 bit, signed, little-endian.
    PcmS16Le,
    /// 16 bit, signed, big-endian: `audio/L16` (RFC 2586). Protocol messages have no such encoding.
    PcmS16Be,
    /// 24 bit in three bytes, signed, little-endian.
    PcmS24Le,
    /// 32 bit, signed, little-endian.
    PcmS32Le,
    /// 32 bit float, little-endian, full scale ±1.
    PcmF32Le,
    /// µ-law (ITU-T G.711).
    MuLaw,
    /// A-law (ITU-T G.711).
    ALaw,
    /// A file in a supported container (see [`super::EXTENSIONS`]), in one chunk or spread over several.
    File,
}

impl Encoding {
    /// The encodings that a client may send, as listed in error messages.
    pub const PROTOCOL_NAMES: &str = "ENCODING_PCM_S16LE, ENCODING_PCM_S24LE, ENCODING_PCM_S32LE, \
                                      ENCODING_PCM_F32LE, ENCODING_MULAW, ENCODING_ALAW, ENCODING_FILE";

    /// Returns the bytes of one sample of one channel; `None` for a file, whose bytes are not samples.
    pub fn sample_bytes(self) -> Option<usize> {
        match self {
            Self::MuLaw | Self::ALaw => Some(1),
            Self::PcmS16Le | Self::PcmS16Be => Some(2),
            Self::PcmS24Le => Some(3),
            Self::PcmS32Le | Self::PcmF32Le => Some(4),
            Self::File => None,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PcmS16Le => "16 bit little-endian",
            Self::PcmS16Be => "16 bit big-endian",
            Self::PcmS24Le => "24 bit little-endian",
            Self::PcmS32Le => "32 bit little-endian",
            Self::PcmF32Le => "32 bit float",
            Self::MuLaw => "µ-law",
            Self::ALaw => "A-law",
            Self::File => "file",
        })
    }
}

impl TryFrom<i32> for Encoding {
    type Error = BadAudio;

    fn try_from(value: i32) -> Result<Self, BadAudio> {
        use proto::Encoding as Sent;
        match Sent::try_from(value) {
            Ok(Sent::PcmS16le) => Ok(Self::PcmS16Le),
            Ok(Sent::PcmS24le) => Ok(Self::PcmS24Le),
            Ok(Sent::PcmS32le) => Ok(Self::PcmS32Le),
            Ok(Sent::PcmF32le) => Ok(Self::PcmF32Le),
            Ok(Sent::Mulaw) => Ok(Self::MuLaw),
            Ok(Sent::Alaw) => Ok(Self::ALaw),
            Ok(Sent::File) => Ok(Self::File),
            Ok(Sent::Unspecified) => Err(BadAudio::UnspecifiedEncoding),
            Err(_) => Err(BadAudio::UnknownEncoding { value }),
        }
    }
}

/// An audio format within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AudioFormat {
    encoding: Encoding,
    sample_rate_hz: u32,
    channels: u16,
}

impl AudioFormat {
    /// Creates a format. For [`Encoding::File`] the rate and the number of channels are ignored, because the
    /// file's own header declares them.
    ///
    /// # Errors
    /// [`BadAudio::SampleRate`] outside [`SAMPLE_RATES_HZ`], [`BadAudio::Channels`] outside [`CHANNELS`].
    pub fn new(encoding: Encoding, sample_rate_hz: u32, channels: u32) -> Result<Self, BadAudio> {
        if encoding == Encoding::File {
            return Ok(Self::FILE);
        }
        check_sample_rate(sample_rate_hz)?;
        Ok(Self { encoding, sample_rate_hz, channels: check_channels(channels)? })
    }

    /// The format of a file, whose own header declares the rate and the number of channels.
    pub const FILE: Self = Self { encoding: Encoding::File, sample_rate_hz: 0, channels: 0 };

    /// Parses a header such as `audio/L16;rate=16000;channels=1`.
    ///
    /// Supported are `audio/L16` (big-endian as in RFC 2586, or `;endianness=little-endian`; `rate` is
    /// required), `audio/PCMU` and `audio/PCMA` (8,000 Hz where `rate` is missing), and the media types of
    /// files in a supported container. `channels` defaults to 1.
    ///
    /// # Errors
    /// [`BadAudio::ContentType`] for any other header, and for a rate or a number of channels outside the
    /// limits.
    pub fn from_content_type(header: &str) -> Result<Self, BadAudio> {
        content_type::parse(header)
    }

    /// Returns the encoding.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the samples per second of one channel, within [`SAMPLE_RATES_HZ`]; 0 for a file.
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Returns the number of channels, within [`CHANNELS`]; 0 for a file.
    pub fn channels(&self) -> u16 {
        self.channels
    }

    /// Returns the bytes of one sample frame, which is one sample of every channel; `None` for a file.
    pub fn frame_bytes(&self) -> Option<usize> {
        self.encoding.sample_bytes().map(|bytes| bytes * usize::from(self.channels))
    }

    /// Converts the format to a protocol message; `None` for big-endian samples, which messages cannot
    /// express.
    pub fn to_proto(self) -> Option<proto::AudioFormat> {
        use proto::Encoding as Sent;
        let encoding = match self.encoding {
            Encoding::PcmS16Le => Sent::PcmS16le,
            Encoding::PcmS24Le => Sent::PcmS24le,
            Encoding::PcmS32Le => Sent::PcmS32le,
            Encoding::PcmF32Le => Sent::PcmF32le,
            Encoding::MuLaw => Sent::Mulaw,
            Encoding::ALaw => Sent::Alaw,
            Encoding::File => Sent::File,
            Encoding::PcmS16Be => return None,
        };
        let (sample_rate_hz, channels) = (self.sample_rate_hz, self.channels.into());
        Some(proto::AudioFormat { encoding: encoding.into(), sample_rate_hz, channels })
    }

    /// Returns whether the bytes are those of a file rather than raw samples.
    pub fn is_file(&self) -> bool {
        self.encoding == Encoding::File
    }
}

impl fmt::Display for AudioFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { encoding, sample_rate_hz, channels } = self;
        if self.is_file() {
            return encoding.fmt(formatter);
        }
        let plural = if *channels == 1 { "" } else { "s" };
        write!(formatter, "{encoding}, {sample_rate_hz} Hz, {channels} channel{plural}")
    }
}

impl TryFrom<&proto::AudioFormat> for AudioFormat {
    type Error = BadAudio;

    fn try_from(sent: &proto::AudioFormat) -> Result<Self, BadAudio> {
        Self::new(sent.encoding.try_into()?, sent.sample_rate_hz, sent.channels)
    }
}

/// Checks a sample rate against [`SAMPLE_RATES_HZ`].
pub(super) fn check_sample_rate(value: u32) -> Result<(), BadAudio> {
    if SAMPLE_RATES_HZ.contains(&value) { Ok(()) } else { Err(BadAudio::SampleRate { value }) }
}

/// Checks a number of channels against [`CHANNELS`].
pub(super) fn check_channels(value: u32) -> Result<u16, BadAudio> {
    u16::try_from(value).ok().filter(|count| CHANNELS.contains(count)).ok_or(BadAudio::Channels { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(encoding: i32, sample_rate_hz: u32, channels: u32) -> Result<AudioFormat, BadAudio> {
        AudioFormat::try_from(&proto::AudioFormat { encoding, sample_rate_hz, channels })
    }

    #[test]
    fn the_limits_are_the_documented_ones() {
        let pcm = proto::Encoding::PcmS16le as i32;
        assert!(sent(pcm, 8_000, 1).is_ok() && sent(pcm, 192_000, 8).is_ok());
        for value in [0, 7_999, 192_001, u32::MAX] {
            assert_eq!(sent(pcm, value, 1), Err(BadAudio::SampleRate { value }));
        }
        for value in [0, 9, 65_537, u32::MAX] {
            assert_eq!(sent(pcm, 16_000, value), Err(BadAudio::Channels { value }));
        }
        assert_eq!(sent(0, 16_000, 1), Err(BadAudio::UnspecifiedEncoding));
        assert_eq!(sent(99, 16_000, 1), Err(BadAudio::UnknownEncoding { value: 99 }));
    }

    #[test]
    fn a_file_needs_no_rate() {
        let file = proto::Encoding::File as i32;
        assert_eq!(sent(file, 0, 0), Ok(AudioFormat::FILE));
        assert_eq!(sent(file, 44_100, 2), Ok(AudioFormat::FILE));
    }

    #[test]
    fn formats_are_displayed_in_words() {
        let format = AudioFormat::new(Encoding::MuLaw, 8_000, 2).unwrap();
        assert_eq!(format.to_string(), "µ-law, 8000 Hz, 2 channels");
        assert_eq!(AudioFormat::FILE.to_string(), "file");
    }

    #[test]
    fn messages_name_field_value_and_what_is_allowed() {
        assert_eq!(
            BadAudio::SampleRate { value: 4_000 }.to_string(),
            "format.sample_rate_hz = 4000: allowed is 8000 to 192000"
        );
        assert_eq!(BadAudio::Channels { value: 9 }.to_string(), "format.channels = 9: allowed is 1 to 8");
        assert!(BadAudio::UnknownEncoding { value: 99 }.to_string().contains("ENCODING_MULAW"));
    }
}
