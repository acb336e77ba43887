//! Parser of the header of WAV files, which runs before any decoder.
//!
//! Input: the bytes of a RIFF/WAVE file.
//! Output: the position and the format of its audio, or the error in its header.
//! Invariants: no sample is read here.
//!
//! Decoders accept a file that ends too early as a shorter one, which would silently drop the second half of
//! a call. The header is therefore compared with the length of the file first.

use super::format::{check_channels, check_sample_rate};
use super::{AudioFormat, Encoding, FileProblem};

/// The length that programs write into the data chunk while they do not know it yet.
const UNKNOWN_LENGTH: u32 = u32::MAX;

/// The format tag of WAVEFORMATEXTENSIBLE, which gives the real format in a GUID further on.
const EXTENSIBLE: u16 = 0xfffe;
/// The bytes that follow the format tag in a GUID that contains one.
const TAG_IN_GUID: &[u8] = &[0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// Returns whether `bytes` begin like a WAV file.
pub(super) fn is_wav(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE")
}

/// The audio of a WAV file.
pub(super) struct Wav<'a> {
    /// The format of the samples; `None` for encodings that only symphonia decodes (8 bit, 64 bit float,
    /// ADPCM).
    pub(super) format: Option<AudioFormat>,
    /// The data chunk, cut to the length that it declares.
    pub(super) audio: &'a [u8],
}

/// Reads the format chunk and finds the data chunk. Other chunks are skipped.
///
/// # Errors
/// [`FileProblem::Malformed`] where one of the two is missing or they come in the wrong order;
/// [`FileProblem::Truncated`] where the data chunk is shorter than it declares.
///
/// # Panics
/// Where `bytes` are not those of a WAV file (see [`is_wav`]).
pub(super) fn read(bytes: &[u8]) -> Result<Wav<'_>, FileProblem> {
    let mut rest = &bytes[12..];
    let mut format = None;
    loop {
        let Some((header, body)) = rest.split_first_chunk::<8>() else {
            return Err(malformed("the file ends before its data chunk"));
        };
        let [a, b, c, d, length @ ..] = *header;
        let length = u32::from_le_bytes(length);
        match &[a, b, c, d] {
            b"data" => {
                let format =
                    format.ok_or_else(|| malformed("the data chunk comes before the format chunk"))?;
                return Ok(Wav { format, audio: data(length, body)? });
            }
            b"fmt " => format = Some(read_format(&body[..body.len().min(length as usize)])?),
            _ => {}
        }
        // RIFF chunks begin at even offsets.
        let padded = length as usize + (length as usize & 1);
        rest = body.get(padded..).unwrap_or_default();
    }
}

/// Returns the contents of the data chunk, of which the file may hold less than it declares.
fn data(declared: u32, body: &[u8]) -> Result<&[u8], FileProblem> {
    if declared == UNKNOWN_LENGTH {
        return Ok(body);
    }
    let (declared, present) = (u64::from(declared), body.len() as u64);
    body.get(..declared as usize).ok_or(FileProblem::Truncated { declared, present, unit: "bytes" })
}

/// Reads the format chunk.
///
/// Its fixed part is: tag, channels, sample rate, bytes per second, bytes per frame, bits per sample. In the
/// longer WAVEFORMATEXTENSIBLE the tag stands at the beginning of a GUID.
fn read_format(body: &[u8]) -> Result<Option<AudioFormat>, FileProblem> {
    let fixed = body.first_chunk::<16>().ok_or_else(|| malformed("the file ends within its format chunk"))?;
    let short = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
    let channels = u32::from(short(2));
    let rate_hz = u32::from(short(4)) | u32::from(short(6)) << 16;
    check_channels(channels).map_err(|_| FileProblem::Channels { value: channels })?;
    check_sample_rate(rate_hz).map_err(|_| FileProblem::SampleRate { value: rate_hz })?;
    let tag = match (short(0), body.get(24..40)) {
        (EXTENSIBLE, Some([low, high, rest @ ..])) if rest == TAG_IN_GUID => {
            u16::from_le_bytes([*low, *high])
        }
        (tag, _) => tag,
    };
    let encoding = match (tag, short(14)) {
        (1, 16) => Encoding::PcmS16Le,
        (1, 24) => Encoding::PcmS24Le,
        (1, 32) => Encoding::PcmS32Le,
        (3, 32) => Encoding::PcmF32Le,
        (6, 8) => Encoding::ALaw,
        (7, 8) => Encoding::MuLaw,
        _ => return Ok(None),
    };
    Ok(AudioFormat::new(encoding, rate_hz, channels).ok())
}

fn malformed(reason: &str) -> FileProblem {
    FileProblem::Malformed { reason: reason.to_owned() }
}
