//! Reader of AAC in ADTS, which has no container: frames follow each other.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`].
//! Invariants: every frame up to the end of the data is decoded.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::recorder::{Recorder, check_format, format_change};
use super::{Decoded, aac, malformed, tags, unsupported};

/// Bytes of a header without its checksum.
const HEADER: usize = 7;

/// Frames in a row that identify AAC behind other bytes.
const RUN: usize = 3;
/// More bytes than [`RUN`] frames have.
const REACH: usize = RUN << 13;

/// The rates that a header numbers, in hertz.
const RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// The header of one frame.
struct Header {
    /// The audio object type; 2 is AAC-LC.
    object: u8,
    rate: u8,
    /// The channel configuration; 7 stands for eight channels.
    channels: u8,
    /// Bytes of the header.
    header_bytes: usize,
    /// Bytes of the frame with its header.
    bytes: usize,
    /// Raw data blocks in the frame.
    blocks: u8,
}

impl Header {
    /// Reads the header at the beginning of `bytes`; `None` where there is none.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, second, third, fourth, fifth, sixth, seventh, ..] = *bytes else { return None };
        let rate = third >> 2 & 15;
        if second & 0xf6 != 0xf0 || usize::from(rate) >= RATES_HZ.len() {
            return None;
        }
        let bytes = usize::from(fourth & 3) << 11 | usize::from(fifth) << 3 | usize::from(sixth) >> 5;
        let header_bytes = if second & 1 == 0 { 9 } else { 7 };
        let channels = (third & 1) << 2 | fourth >> 6;
        let object = (third >> 6) + 1;
        (bytes > header_bytes).then_some(Self {
            object,
            rate,
            channels,
            header_bytes,
            bytes,
            blocks: (seventh & 3) + 1,
        })
    }
}

/// Returns whether `bytes` begin with at least two frames, or with one that ends with them.
pub(super) fn begins(bytes: &[u8]) -> bool {
    let Some(header) = Header::read(bytes) else { return false };
    bytes.get(header.bytes..).is_some_and(|rest| rest.is_empty() || Header::read(rest).is_some())
}

/// Returns the position of the first frames behind other bytes: with the end of a frame, for instance, a recording of a stream begins.
pub(super) fn find(bytes: &FileBytes) -> Option<usize> {
    bytes.position(REACH, |bytes| {
        let mut rest = bytes;
        (0..RUN).all(|_| {
            let behind = Header::read(rest).and_then(|header| rest.get(header.bytes..));
            rest = behind.unwrap_or_default();
            behind.is_some()
        })
    })
}

/// Decodes frames into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, mut recorder: Recorder) -> Result<Decoded, FileProblem> {
    let mut rest = bytes.clone();
    let first = Header::read(&rest.head(HEADER)).ok_or_else(|| malformed("it holds no ADTS frames"))?;
    if first.object != 2 {
        return Err(unsupported(format!("AAC with the audio object type {} in ADTS", first.object)));
    }
    if first.channels == 0 {
        return Err(unsupported("AAC with a channel layout of its own in ADTS"));
    }
    let channels = if first.channels == 7 { 8 } else { usize::from(first.channels) };
    check_format(RATES_HZ[usize::from(first.rate)], channels)?;
    // The decoder takes the format from the AudioSpecificConfig of MP4 (ISO/IEC 14496-3, section 1.6.2.1).
    let config = u16::from(first.object) << 11 | u16::from(first.rate) << 7 | u16::from(first.channels) << 3;
    let rate_hz = RATES_HZ[usize::from(first.rate)];
    let mut packets = aac::decoder(rate_hz, channels, &config.to_be_bytes(), "ADTS")?;
    while !tags::only_tags(&rest) {
        let at = bytes.len() - rest.len();
        if let tag @ 1.. = tags::tag_of(&rest) {
            rest = rest.behind(tag);
            continue;
        }
        // A header has no room behind the last frame, and these bytes begin none.
        if rest.len() < HEADER && !rest.starts_with(&[0xff]) {
            break;
        }
        let header = Header::read(&rest.head(HEADER))
            .ok_or_else(|| malformed(&format!("the bytes from byte {at} on are no ADTS frame")))?;
        if (header.object, header.rate, header.channels) != (first.object, first.rate, first.channels) {
            return Err(format_change());
        }
        if header.blocks != 1 {
            return Err(unsupported("AAC with several blocks per frame in ADTS"));
        }
        let frame = rest.head(header.bytes);
        if frame.len() < header.bytes {
            let (declared, present) = (header.bytes as u64, frame.len() as u64);
            return Err(FileProblem::Truncated { declared, present, unit: "bytes in its last frame" });
        }
        let block = packets.decode(&frame[header.header_bytes..])?;
        recorder.append(block.rate_hz, block.channels).await?;
        rest = rest.behind(header.bytes);
    }
    recorder.finish()
}
