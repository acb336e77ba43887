//! Reader of AIFF and AIFC.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`].
//! Invariants: an encoding that is not supported is refused by its name.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::pcm::{Layout, Numbers};
use super::recorder::Recorder;
use super::{Decoded, malformed, tags, unsupported};

/// The most bytes of a COMM chunk that are read.
const COMMON: usize = 1 << 10;

/// Returns the identifier and the declared length of the chunk at the beginning of `bytes`; `None` where less than a header is left.
fn chunk(bytes: &FileBytes) -> Option<([u8; 4], usize)> {
    let [a, b, c, d, length @ ..] = *bytes.head(8).first_chunk::<8>()?;
    Some(([a, b, c, d], u32::from_be_bytes(length) as usize))
}

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let mut rest = bytes.behind(12);
    let (mut common, mut sound) = (None, None);
    while let Some((id, declared)) = chunk(&rest) {
        let behind = rest.behind(8);
        match &id {
            b"COMM" => common = Some(behind.head(declared.min(COMMON))),
            b"SSND" => {
                let is_last = declared > behind.len() || declared <= 8;
                let length = if is_last { behind.len() } else { declared };
                check_behind(&behind, length)?;
                sound = Some((declared, behind.first(length)));
                if is_last {
                    break;
                }
            }
            _ => {}
        }
        rest = behind.behind(declared + declared % 2);
    }
    let common = common.ok_or_else(|| malformed("it has no COMM chunk"))?;
    let (declared, sound) = sound.ok_or_else(|| malformed("it has no SSND chunk"))?;
    let (layout, frames) = layout(&common)?;
    // The sound follows its offset and a block size, of four bytes each.
    let offset = sound.head(4).first_chunk().map_or(0, |offset| u32::from_be_bytes(*offset) as usize);
    let audio = sound.behind(8 + offset);
    let frame_bytes = layout.bytes * layout.channels;
    let promised = frames.saturating_mul(frame_bytes);
    // A length that no accepted file can have, or zero, was written in advance.
    let is_placeholder = declared >= 1 << 30 || declared <= 8;
    if promised > audio.len() && !is_placeholder && promised < 1 << 30 {
        let (declared, present) = (promised as u64, audio.len() as u64);
        return Err(FileProblem::Truncated { declared, present, unit: "bytes" });
    }
    layout.decode(&audio, recorder).await
}

/// Refuses bytes behind the sound, of `declared` bytes, that may be audio.
fn check_behind(sound: &FileBytes, declared: usize) -> Result<(), FileProblem> {
    let behind = sound.behind(declared);
    if are_chunks(&behind) || are_chunks(&behind.behind(declared % 2)) {
        return Ok(());
    }
    Err(malformed(&format!(
        "its header declares {} bytes of audio, and {} bytes that are no chunk follow them",
        declared.saturating_sub(8),
        behind.len()
    )))
}

/// Returns whether `bytes` are empty or hold chunks, tags or zeros up to their end, and no second recording.
fn are_chunks(bytes: &FileBytes) -> bool {
    let mut rest = bytes.clone();
    while !tags::only_tags(&rest) {
        let Some((id, declared)) = chunk(&rest) else { return false };
        let behind = rest.behind(8);
        let is_text = id.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        let fits = declared <= behind.len();
        if !is_text || !fits || [b"SSND", b"FORM", b"RIFF"].contains(&&id) {
            return false;
        }
        rest = behind.behind(declared + declared % 2);
    }
    true
}

/// Reads a COMM chunk: channels, sample frames, bits, rate, and in AIFC the encoding.
fn layout(common: &[u8]) -> Result<(Layout, usize), FileProblem> {
    let fixed = common.first_chunk::<18>().ok_or_else(|| malformed("its COMM chunk is too short"))?;
    let channels = usize::from(u16::from_be_bytes([fixed[0], fixed[1]]));
    let frames = u32::from_be_bytes([fixed[2], fixed[3], fixed[4], fixed[5]]) as usize;
    let bits = usize::from(u16::from_be_bytes([fixed[6], fixed[7]]));
    let encoding = common.get(18..22).unwrap_or(b"NONE");
    let (numbers, bytes, big_endian) = match encoding {
        b"NONE" | b"twos" => (Numbers::Signed, bits.div_ceil(8), true),
        b"sowt" => (Numbers::Signed, bits.div_ceil(8), false),
        b"in24" => (Numbers::Signed, 3, true),
        b"in32" => (Numbers::Signed, 4, true),
        b"raw " => (Numbers::Unsigned, 1, true),
        b"fl32" | b"FL32" => (Numbers::Float, 4, true),
        b"fl64" | b"FL64" => (Numbers::Float, 8, true),
        b"ulaw" | b"ULAW" => (Numbers::MuLaw, 1, true),
        b"alaw" | b"ALAW" => (Numbers::ALaw, 1, true),
        other => return Err(unsupported(format!("AIFC with the encoding \"{}\"", other.escape_ascii()))),
    };
    if bytes == 0 {
        return Err(malformed("its COMM chunk declares samples of 0 bits"));
    }
    let rate_hz = extended(fixed[8..18].first_chunk().unwrap_or(&[0; 10]));
    Ok((Layout { numbers, bytes, big_endian, shift: 0, rate_hz, channels }, frames))
}

/// Converts a float of 80 bits to the nearest whole number; zero where it is not positive.
fn extended(bytes: &[u8; 10]) -> u32 {
    let exponent = i32::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let mantissa = bytes[2..].first_chunk().map_or(0, |mantissa| u64::from_be_bytes(*mantissa));
    // The exponent has a bias of 16,383, and the mantissa one bit before the point. Casts saturate.
    (mantissa as f64 * f64::from(exponent - 16_383 - 63).exp2()).round() as u32
}
