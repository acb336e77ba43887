//! What a WAV file's header says, read before any decoder sees the file.
//!
//! In: the bytes of a RIFF/WAVE file. Out: where its audio lies and what it is, or the promise that the header breaks.
//! Never reads a sample. Decoders take a file that stops too early as one that is shorter, which would hide half of a
//! call.

use super::format::{check_channels, check_sample_rate};
use super::{AudioFormat, Encoding, FileProblem};

/// What programs write that do not know the length yet.
const UNKNOWN_LENGTH: u32 = u32::MAX;

/// The tag that says that the kind stands further back.
const EXTENSIBLE: u16 = 0xfffe;
/// What follows a tag in a GUID that is one.
const TAG_IN_GUID: &[u8] = &[0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// Whether `bytes` begin as a WAV file does.
pub(super) fn is_wav(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE")
}

/// A WAV file's audio.
pub(super) struct Wav<'a> {
    /// What the samples are; `None` for kinds that only the decoder knows (8 bit, float of 64 bits, ADPCM).
    pub(super) format: Option<AudioFormat>,
    /// The data chunk, cut to what it says it holds.
    pub(super) audio: &'a [u8],
}

/// Reads the format chunk and finds the data chunk.
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
        // Chunks begin at even places.
        let padded = length as usize + (length as usize & 1);
        rest = body.get(padded..).unwrap_or_default();
    }
}

fn data(promised: u32, body: &[u8]) -> Result<&[u8], FileProblem> {
    if promised == UNKNOWN_LENGTH {
        return Ok(body);
    }
    let (promised, present) = (u64::from(promised), body.len() as u64);
    body.get(..promised as usize).ok_or(FileProblem::Truncated { promised, present, unit: "bytes" })
}

/// The format chunk's fixed part: tag, channels, sample rate, bytes a second, bytes a frame, bits a sample. Of the longer
/// chunk (WAVEFORMATEXTENSIBLE) also the kind, a GUID that begins with a tag.
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
