//! The format chunk of WAV files (WAVEFORMATEX and WAVEFORMATEXTENSIBLE), and the decoder that it selects.
//!
//! Input: the contents of the format chunk, and those of the data chunk.
//! Output: a [`Decoded`].
//! Invariants: an encoding that is not supported is refused by its name.

use std::borrow::Cow;

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::pcm::{Layout, Numbers, padding};
use super::recorder::Recorder;
use super::{Decoded, adpcm, malformed, mpeg, unsupported};

/// The format tag of WAVEFORMATEXTENSIBLE, which gives the real format in a GUID further on.
const EXTENSIBLE: u16 = 0xfffe;
/// The bytes that follow the format tag in a GUID that contains one, and those of ambisonic recordings.
const GUIDS: [&[u8]; 2] = [
    &[0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71],
    &[0, 0, 0, 0x21, 0x07, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0],
];

/// What the format chunk declares.
pub(super) struct WaveFormat {
    /// The format tag.
    tag: u16,
    /// The number of channels.
    pub(super) channels: usize,
    /// Samples per second of one channel.
    pub(super) rate_hz: u32,
    /// Bytes per second.
    bytes_per_second: u32,
    /// Bytes of a sample frame, or of a block of compressed samples.
    pub(super) block: usize,
    /// Bits of one sample.
    bits: u32,
    is_big: bool,
    /// The bytes behind the fixed part of 16 bytes.
    pub(super) extra: Vec<u8>,
}

impl WaveFormat {
    /// Reads the contents of a format chunk. In the longer WAVEFORMATEXTENSIBLE the tag stands at the beginning
    /// of a GUID.
    ///
    /// # Errors
    /// [`FileProblem::Malformed`] where the chunk is too short.
    pub(super) fn read(body: &[u8], is_big: bool) -> Result<Self, FileProblem> {
        let fixed =
            body.first_chunk::<16>().ok_or_else(|| malformed("the file ends within its format chunk"))?;
        let from =
            |bytes: [u8; 2]| if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
        let short = |at: usize| from([fixed[at], fixed[at + 1]]);
        let long = |at: usize| {
            let (first, second) = (u32::from(short(at)), u32::from(short(at + 2)));
            if is_big { first << 16 | second } else { first | second << 16 }
        };
        let tag = match (short(0), body.get(24..40)) {
            (EXTENSIBLE, Some([low, high, rest @ ..])) if GUIDS.contains(&rest) => {
                u16::from_le_bytes([*low, *high])
            }
            (tag, _) => tag,
        };
        Ok(Self {
            tag,
            channels: usize::from(short(2)),
            rate_hz: long(4),
            bytes_per_second: long(8),
            block: usize::from(short(12)),
            bits: u32::from(short(14)),
            is_big,
            // Longer ones are of no known format.
            extra: body[16..body.len().min(1 << 10)].to_vec(),
        })
    }

    /// Decodes the contents of the data chunk; `samples` is the number of samples per channel that another chunk
    /// declares.
    ///
    /// # Errors
    /// The problem of the file.
    pub(super) async fn decode(
        &self,
        audio: &FileBytes,
        samples: Option<usize>,
        recorder: Recorder,
    ) -> Result<Decoded, FileProblem> {
        let numbers = match self.tag {
            0x0001 if self.bits <= 8 => Numbers::Unsigned,
            0x0001 => Numbers::Signed,
            0x0003 => Numbers::Float,
            0x0006 => Numbers::ALaw,
            0x0007 => Numbers::MuLaw,
            0x0002 | 0x0011 => {
                return adpcm::decode(self, self.tag == 0x0002, audio, samples, recorder).await;
            }
            0x0050 | 0x0055 => return mpeg::decode(audio, recorder).await,
            tag => return Err(unsupported(format!("{} in WAV", codec(tag)))),
        };
        let bytes = self.sample_bytes()?;
        let mut layout = Layout {
            numbers,
            bytes,
            big_endian: self.is_big,
            shift: 0,
            rate_hz: self.rate_hz,
            channels: self.channels,
        };
        if numbers == Numbers::Signed && bytes <= 4 {
            layout.shift = padding(self.bits, bytes, self.is_big, audio)?;
        }
        layout.decode(audio, recorder).await
    }

    /// Returns the bytes of one sample of one channel. The bits and the bytes of a sample frame both declare
    /// them; where they differ, the bytes of a sample frame count if they have room for the bits.
    fn sample_bytes(&self) -> Result<usize, FileProblem> {
        // G.711 has no other size, whatever the header declares.
        if matches!(self.tag, 0x0006 | 0x0007) {
            return Ok(1);
        }
        let (channels, from_bits) = (self.channels.max(1), self.bits.div_ceil(8) as usize);
        if self.bits == 0 {
            return Err(malformed("its format chunk declares samples of 0 bits"));
        }
        let from_block = self.block / channels;
        let is_whole = self.block.is_multiple_of(channels);
        if is_whole && (from_block == from_bits || (from_bits..=4).contains(&from_block)) {
            return Ok(from_block);
        }
        let per_second = u64::from(self.rate_hz) * (from_bits * channels) as u64;
        if self.block == 0 || per_second == u64::from(self.bytes_per_second) {
            return Ok(from_bits);
        }
        Err(malformed(&format!(
            "its format chunk contradicts itself: {} channels of {} bits do not fit in {} bytes per sample frame",
            self.channels, self.bits, self.block,
        )))
    }
}

/// Returns the name of the codec with a format tag, of those that are not supported in WAV.
pub(super) fn codec(tag: u16) -> Cow<'static, str> {
    Cow::Borrowed(match tag {
        0x0008 => "DTS",
        0x0010 => "OKI ADPCM",
        0x0014 | 0x0040 | 0x0045 | 0x0064 => "G.726 ADPCM",
        0x0020 => "Yamaha ADPCM",
        0x0022 => "TrueSpeech",
        0x0031 => "GSM 6.10",
        0x0042 => "G.723.1",
        0x0065 | 0x028f => "G.722",
        0x0083 | 0xa106 => "G.729",
        0x00ff | 0x1600 | 0x1610 | 0x706d => "AAC",
        0x0160..=0x0163 => "Windows Media Audio",
        0x2000 => "AC-3",
        0x674f..=0x6771 => "Vorbis",
        0x704f => "Opus",
        0xa109 => "Speex",
        0xf1ac => "FLAC",
        0x0038 | 0x0057 => "AMR",
        tag => return Cow::Owned(format!("an unknown codec (format tag {tag:#06x})")),
    })
}
