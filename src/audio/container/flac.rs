//! Reader of native FLAC (RFC 9639).
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`].
//! Invariants: the end of a frame is where its checksum is right and its decoder succeeds, so that neither the
//! block sizes nor the number of samples that the header declares are needed.

use symphonia::core::codecs::audio::well_known::CODEC_ID_FLAC;

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::checksum::{crc_8, crc_16};
use super::packets::Packets;
use super::recorder::{Recorder, check_format, format_change};
use super::{Decoded, malformed, several_recordings, tags};

/// The most ends of one frame that are tried where no frame follows.
const TRIALS: usize = 64;
/// The smallest block that is not the last one.
const SMALLEST_BLOCK: u64 = 16;

/// The most bytes of a frame, which STREAMINFO declares with 24 bits.
const LONGEST_FRAME: usize = 1 << 24;
/// The bytes in which the end of a frame is searched first.
const USUAL_FRAME: usize = 1 << 16;
/// The most bytes of a frame's header.
const HEADER: usize = 16;

/// The fields of STREAMINFO that count.
struct Info {
    rate_hz: u32,
    channels: usize,
    /// Declared samples per channel; zero where unknown.
    total: u64,
    /// A STREAMINFO block for the decoder.
    header: [u8; 34],
}

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, mut recorder: Recorder) -> Result<Decoded, FileProblem> {
    let (info, mut rest) = metadata(bytes)?;
    let mut packets = decoder(&info.header)?;
    let (mut first_block, mut last_block) = (0, 0);
    while let Some(header) = FrameHeader::read(&rest.head(HEADER)) {
        if header.channels != info.channels {
            return Err(format_change());
        }
        let Some(length) = frame(&rest, &header, &mut packets, &mut recorder).await? else { break };
        rest = rest.behind(length);
        last_block = header.samples;
        first_block = if first_block == 0 { last_block } else { first_block };
    }
    let (declared, present) = (info.total, recorder.frames() as u64);
    let missing = declared.saturating_sub(present);
    let is_cut = FrameHeader::read(&rest.head(HEADER)).is_some();
    // All blocks but the last have one size, so a shorter one proves the end. Some encoders declare a few samples
    // too many.
    let is_end = last_block < first_block || missing < SMALLEST_BLOCK;
    if missing > 0 && rest.behind(1).position(HEADER, |bytes| FrameHeader::read(bytes).is_some()).is_some() {
        return Err(damaged(bytes.len() - rest.len()));
    }
    if missing > 0 && (is_cut || !is_end) {
        return Err(FileProblem::Truncated { declared, present, unit: "samples" });
    }
    check_end(&rest, bytes.len() - rest.len())?;
    recorder.finish()
}

/// Creates a decoder of frames from a STREAMINFO block.
///
/// # Errors
/// A block that the decoder refuses.
pub(super) fn decoder(header: &[u8]) -> Result<Packets, FileProblem> {
    let info = Info::read(header)?;
    check_format(info.rate_hz, info.channels)?;
    Packets::new(CODEC_ID_FLAC, (info.rate_hz, info.channels), &info.header)
}

/// Reads the metadata and returns the bytes behind it.
fn metadata(bytes: &FileBytes) -> Result<(Info, FileBytes), FileProblem> {
    let mut rest = bytes.behind(4);
    let mut info = None;
    loop {
        let head = rest.head(4 + 34);
        let Some(([kind, length @ ..], contents)) = head.split_first_chunk::<4>() else {
            return Err(malformed("the file ends within its metadata"));
        };
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if kind & 0x7f == 0 {
            info = Some(Info::read(contents)?);
        }
        if rest.len() < 4 + length {
            return Err(malformed("the file ends within its metadata"));
        }
        rest = rest.behind(4 + length);
        if kind & 0x80 != 0 {
            return Ok((info.ok_or_else(|| malformed("it has no STREAMINFO block"))?, rest));
        }
    }
}

impl Info {
    fn read(block: &[u8]) -> Result<Self, FileProblem> {
        let block =
            block.first_chunk::<34>().ok_or_else(|| malformed("its STREAMINFO block is too short"))?;
        let fields = block[10..18].first_chunk().map_or(0, |fields| u64::from_be_bytes(*fields));
        // The decoder refuses blocks beyond the declared sizes and sizes below 16, which files contain. It
        // receives the widest ones, and no total.
        let mut header = [0; 34];
        header[..4].copy_from_slice(&[0, 16, 0xff, 0xff]);
        header[10..14].copy_from_slice(&block[10..14]);
        header[13] &= 0xf0;
        let rate_hz = (fields >> 44) as u32;
        let channels = (fields >> 41 & 7) as usize + 1;
        Ok(Self { rate_hz, channels, total: fields & 0xf_ffff_ffff, header })
    }
}

/// The header of a frame (RFC 9639, section 9.1).
struct FrameHeader {
    bytes: usize,
    channels: usize,
    /// Samples per channel.
    samples: u32,
}

impl FrameHeader {
    /// Reads the header at the beginning of `bytes`; `None` where there is none with a right checksum.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, 0xf8 | 0xf9, sizes, layout, number, ..] = *bytes else { return None };
        if layout & 1 != 0 || sizes >> 4 == 0 || sizes & 15 == 15 || layout >> 4 > 10 {
            return None;
        }
        // The number of the frame or of its first sample is coded like UTF-8 in up to seven bytes.
        let mut at = 4 + match number.leading_ones() {
            0 => 1,
            ones @ 2..=7 => ones as usize,
            _ => return None,
        };
        let samples = match sizes >> 4 {
            1 => 192,
            code @ 2..=5 => 576 << (code - 2),
            code @ 8.. => 256 << (code - 8),
            code => {
                let width = usize::from(code) - 5;
                let size = bytes.get(at..at + width)?;
                at += width;
                1 + size.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
            }
        };
        at += match sizes & 15 {
            12 => 1,
            13 | 14 => 2,
            _ => 0,
        };
        let is_right = crc_8(bytes.get(..at)?) == *bytes.get(at)?;
        let channels = usize::from(layout >> 4) + 1;
        is_right.then_some(Self { bytes: at + 1, channels: if channels > 8 { 2 } else { channels }, samples })
    }
}

/// Decodes the frame at the beginning of `rest` and returns its length; `None` where it has no end.
async fn frame(
    rest: &FileBytes,
    header: &FrameHeader,
    packets: &mut Packets,
    recorder: &mut Recorder,
) -> Result<Option<usize>, FileProblem> {
    let longest = rest.len().min(LONGEST_FRAME);
    let (mut crc, mut trials, mut end) = (0, 0, 0);
    while end < longest {
        let bytes = rest.head((2 * end).clamp(USUAL_FRAME, LONGEST_FRAME));
        if bytes.len() <= end {
            break;
        }
        for byte in &bytes[end..] {
            crc = crc_16(crc, *byte);
            end += 1;
            if crc != 0 || end < header.bytes + 2 {
                continue;
            }
            // One end in 65,536 is right by chance, so the decoder decides: it fails where a frame is cut.
            let behind = rest.behind(end);
            let is_followed = behind.is_empty() || FrameHeader::read(&behind.head(HEADER)).is_some();
            trials += usize::from(!is_followed);
            if !is_followed && trials > TRIALS {
                continue;
            }
            let Ok(block) = packets.decode(&bytes[..end]) else { continue };
            recorder.append(block.rate_hz, block.channels).await?;
            // A checksum of zero makes the frame look right without it too.
            let zeros = behind.head(2).iter().take_while(|byte| **byte == 0).count();
            return Ok(Some(end + zeros));
        }
    }
    Ok(None)
}

/// Refuses bytes behind the last frame that may be audio.
fn check_end(rest: &FileBytes, at: usize) -> Result<(), FileProblem> {
    if tags::only_tags(rest) {
        return Ok(());
    }
    let begins = |bytes: &[u8]| [&b"fLaC"[..], b"OggS"].iter().any(|mark| bytes.starts_with(mark));
    if begins(&rest.head(4)) {
        return Err(several_recordings());
    }
    if let Some(next) = rest.position(HEADER, |bytes| FrameHeader::read(bytes).is_some()) {
        let at = at + next;
        return Err(if next == 0 {
            damaged(at)
        } else {
            malformed(&format!("the frame at byte {at} follows bytes that are no frame"))
        });
    }
    if rest.position(4, begins).is_some() {
        return Err(several_recordings());
    }
    Ok(())
}

fn damaged(at: usize) -> FileProblem {
    malformed(&format!("the frame at byte {at} is damaged or cut"))
}
