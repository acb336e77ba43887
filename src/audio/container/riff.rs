//! Reader of RIFF files and their relatives: WAV, big-endian RIFX, RF64 and BW64 (EBU Tech 3306), and Wave64.
//!
//! Input: the bytes of a file.
//! Output: the decoded contents of its data chunk.
//! Invariants: the declared length of the data chunk is compared with the length of the file. A length that is
//! a placeholder counts as the rest of the file; any other contradiction is an error.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::recorder::Recorder;
use super::wave_format::WaveFormat;
use super::{Decoded, malformed, tags, unsupported};

/// The shortest declared length, in bytes, that is a placeholder where the file holds less. No accepted file is
/// that long, and recorders and pipes write such values (2e9, 2³¹, 2³² - 37, 2³² - 1) in advance.
const PLACEHOLDER: u64 = 1 << 30;

/// The GUID that Wave64 appends to the four letters of most chunks.
const WAVE64_GUID: &[u8] = &[0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];

/// The most bytes of a chunk's contents that are read, except for the audio.
const CONTENTS: usize = 1 << 16;

/// Chunks that programs write behind the audio.
const KNOWN_CHUNKS: [&[u8; 4]; 20] = [
    b"LIST", b"list", b"fact", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"inst", b"JUNK", b"junk",
    b"PEAK", b"iXML", b"_PMX", b"afsp", b"DISP", b"umid", b"axml", b"chna", b"PAD ",
];

/// How chunks are written.
#[derive(Clone, Copy, PartialEq)]
enum Flavour {
    Riff,
    Rifx,
    Wave64,
}

/// One chunk of a file.
struct Chunk {
    id: [u8; 4],
    /// The declared number of bytes.
    declared: u64,
    /// The rest of the file behind the header of the chunk.
    rest: FileBytes,
}

impl Flavour {
    /// Splits the next chunk off; `None` where less than a header is left.
    fn chunk(self, bytes: &FileBytes) -> Option<Chunk> {
        let head = bytes.head(24);
        let (id, behind) = head.split_first_chunk::<4>()?;
        if self == Self::Wave64 {
            let length = behind.get(12..)?.first_chunk::<8>()?;
            // The length of Wave64 includes the header of 24 bytes.
            let declared = u64::from_le_bytes(*length).saturating_sub(24);
            return Some(Chunk { id: *id, declared, rest: bytes.behind(24) });
        }
        let length = behind.first_chunk::<4>()?;
        let declared = u64::from(match self {
            Self::Rifx => u32::from_be_bytes(*length),
            _ => u32::from_le_bytes(*length),
        });
        Some(Chunk { id: *id, declared, rest: bytes.behind(8) })
    }

    /// Returns the length of a chunk's contents with the padding behind them.
    fn padded(self, length: u64) -> u64 {
        length.saturating_add(if self == Self::Wave64 { length.wrapping_neg() % 8 } else { length % 2 })
    }

    /// Returns the bytes behind the contents of a chunk.
    fn behind(self, rest: &FileBytes, length: u64) -> FileBytes {
        rest.behind(usize::try_from(self.padded(length)).unwrap_or(usize::MAX))
    }
}

/// Decodes a file of the RIFF family into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let (flavour, mut rest) = match &bytes.head(4)[..] {
        [b'r', ..] => (Flavour::Wave64, bytes.behind(40)),
        [_, _, _, b'X', ..] => (Flavour::Rifx, bytes.behind(12)),
        _ => (Flavour::Riff, bytes.behind(12)),
    };
    let (mut format, mut long_length, mut samples) = (None, None, None);
    loop {
        let chunk = flavour.chunk(&rest).ok_or_else(|| malformed("the file ends before its data chunk"))?;
        let length = usize::try_from(chunk.declared).unwrap_or(usize::MAX);
        let body = chunk.rest.head(length.min(CONTENTS));
        match &chunk.id {
            b"data" => {
                let format: WaveFormat =
                    format.ok_or_else(|| malformed("the data chunk comes before the format chunk"))?;
                // RF64 gives the length of 64 bits in another chunk.
                let declared = long_length.filter(|_| chunk.declared == u64::from(u32::MAX));
                let declared = declared.unwrap_or(chunk.declared);
                let audio = data(flavour, declared, &chunk.rest, bytes.len())?;
                return format.decode(&audio, samples, recorder).await;
            }
            b"fmt " => format = Some(WaveFormat::read(&body, flavour == Flavour::Rifx)?),
            b"ds64" => {
                long_length =
                    body.get(8..16).and_then(|it| it.first_chunk()).map(|it| u64::from_le_bytes(*it))
            }
            b"fact" if flavour == Flavour::Riff => {
                samples = body.first_chunk().map(|it| u32::from_le_bytes(*it) as usize);
            }
            b"wavl" => return Err(unsupported("WAV with a list of silences (wavl)")),
            _ => {}
        }
        rest = flavour.behind(&chunk.rest, chunk.declared);
    }
}

/// Returns the audio in a data chunk that declares `declared` bytes. `rest` is the file behind the header of the
/// chunk, and `file` the length of the file.
fn data(flavour: Flavour, declared: u64, rest: &FileBytes, file: usize) -> Result<FileBytes, FileProblem> {
    let present = rest.len() as u64;
    // Some programs count a header too: that of the chunk, those behind the first one, or all of the file.
    let file = file as u64;
    let is_counted_too = [present + 8, file.saturating_sub(8), file].contains(&declared);
    let placeholder = declared >= PLACEHOLDER || is_counted_too;
    if declared > present && !placeholder {
        return Err(FileProblem::Truncated { declared, present, unit: "bytes" });
    }
    if declared > present || (declared == 0 && !are_chunks(flavour, rest)) {
        return Ok(rest.clone());
    }
    let behind = rest.behind(declared as usize);
    let padded = flavour.behind(rest, declared);
    if are_chunks(flavour, &padded) || are_chunks(flavour, &behind) {
        return Ok(rest.first(declared as usize));
    }
    Err(malformed(&format!(
        "its header declares {declared} bytes of audio, and {} bytes that are no chunk follow them: correct the \
         length in the header, or cut the file behind its audio",
        behind.len(),
    )))
}

/// Returns whether `bytes` are empty or hold chunks, tags or zeros up to their end, and no second data chunk.
fn are_chunks(flavour: Flavour, bytes: &FileBytes) -> bool {
    let mut rest = bytes.clone();
    while !tags::only_tags(&rest) {
        let Some(chunk) = flavour.chunk(&rest) else { return false };
        let is_text = chunk.id.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        let is_known = KNOWN_CHUNKS.contains(&&chunk.id);
        let fits = chunk.declared <= chunk.rest.len() as u64;
        // Another file that was appended has the form of a chunk too.
        let is_audio = [b"data", b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff"].contains(&&chunk.id);
        if !is_text || is_audio || !(is_known || fits) {
            return false;
        }
        if flavour == Flavour::Wave64 && !is_known && rest.head(16).get(4..) != Some(WAVE64_GUID) {
            return false;
        }
        rest = flavour.behind(&chunk.rest, chunk.declared);
    }
    true
}
