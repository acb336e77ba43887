//! Compressed packets in the Core Audio Format: Apple Lossless, AAC-LC and Opus.
//!
//! Input: the description of a file, its codec's configuration, its packet table and its packets.
//! Output: a [`Decoded`] without the samples that the packet table declares as priming and remainder, where its counts agree.
//! Invariants: every packet is decoded; packets that are missing and bytes that belong to none are errors. Apple's IMA ADPCM (`ima4`) is refused: symphonia
//! 0.6.1 takes the nine bits of state before each packet for the last sample, and differs from others by up to 0.004.

use symphonia::core::codecs::audio::well_known::CODEC_ID_ALAC;

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::mp4_track::descriptor;
use super::packets::Packets;
use super::recorder::{Recorder, check_format};
use super::{Decoded, aac, malformed, unsupported};

/// The most bytes of a codec's configuration that are read.
const CONFIGURATION: usize = 1 << 10;
/// The most bytes of a packet.
const LONGEST: u64 = 1 << 24;

/// What the desc chunk declares (Apple Core Audio Format Specification 1.0, "Audio Description Chunk").
pub(super) struct Description {
    pub(super) rate_hz: u32,
    /// The code of the encoding.
    pub(super) code: [u8; 4],
    /// How samples that are not compressed are written: bit 0 stands for floats, bit 1 for little-endian.
    pub(super) flags: u32,
    /// Bytes of every packet; zero where the packet table has them.
    pub(super) packet_bytes: u32,
    /// Samples per channel of every packet; zero where the packet table has them.
    pub(super) packet_frames: u32,
    pub(super) channels: u32,
    /// Bits of a sample that is not compressed.
    pub(super) bits: u32,
}

/// The chunks beside that of the packets.
pub(super) struct Chunks {
    /// The codec's configuration, `kuki`; empty where there is none.
    pub(super) configuration: FileBytes,
    /// The packet table, `pakt`; empty where there is none.
    pub(super) table: FileBytes,
}

/// The header of the packet table ("Packet Table Chunk").
struct Table {
    packets: u64,
    valid_frames: u64,
    priming: u64,
    remainder: u64,
}

/// Returns whether an encoding has compressed packets that are decoded here.
pub(super) fn is_supported(code: [u8; 4]) -> bool {
    matches!(&code, b"alac" | b"aac " | b"opus")
}

/// Decodes the packets in `audio` into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(
    description: &Description,
    chunks: &Chunks,
    audio: &FileBytes,
    mut recorder: Recorder,
) -> Result<Decoded, FileProblem> {
    let mut packets = decoder(description, &chunks.configuration.head(CONFIGURATION))?;
    let table = table(&chunks.table);
    let (mut sizes, mut rest) = (chunks.table.behind(24), audio.clone());
    let declared = match (&table, description.packet_bytes) {
        (Some(table), _) => table.packets,
        (None, 0) => return Err(malformed("it has no packet table, which gives the lengths of its packets")),
        (None, size) => audio.len() as u64 / u64::from(size),
    };
    for present in 0..declared {
        let size = match description.packet_bytes {
            0 => number(&mut sizes),
            size => Some(u64::from(size)),
        };
        let frames = match description.packet_frames {
            0 => number(&mut sizes),
            frames => Some(u64::from(frames)),
        };
        let (Some(size), Some(frames)) = (size.filter(|size| *size <= LONGEST), frames) else {
            return Err(malformed("its packet table is malformed"));
        };
        if size > rest.len() as u64 {
            return Err(FileProblem::Truncated { declared, present, unit: "packets" });
        }
        let packet = rest.head(size as usize);
        rest = rest.behind(size as usize);
        let block = packets.decode_timed(&packet, frames as usize)?;
        recorder.append(block.rate_hz, block.channels).await?;
    }
    if !rest.is_empty() {
        return Err(malformed(&format!("{} bytes of its audio belong to no packet", rest.len())));
    }
    if let Some(table) = table {
        table.trim(&mut recorder);
    }
    recorder.finish()
}

impl Table {
    /// Leaves out the padding at both ends, where the frames are as many as the table counts.
    fn trim(&self, recorder: &mut Recorder) {
        let counted = self.valid_frames.saturating_add(self.priming).saturating_add(self.remainder);
        if counted == recorder.frames() as u64 {
            recorder.trim(self.priming as usize, self.remainder as usize);
        }
    }
}

/// Creates the decoder of an encoding.
fn decoder(description: &Description, configuration: &[u8]) -> Result<Packets, FileProblem> {
    let Description { rate_hz, channels, .. } = *description;
    let count = usize::try_from(channels).unwrap_or(usize::MAX);
    check_format(rate_hz, count)?;
    match &description.code {
        b"alac" => {
            // Two boxes, of 12 bytes each, precede the configuration in files of older programs.
            let is_boxed = configuration.get(4..8) == Some(b"frma");
            let configuration = configuration.get(if is_boxed { 24 } else { 0 }..).unwrap_or_default();
            Packets::new(CODEC_ID_ALAC, (rate_hz, count), configuration)
        }
        b"aac " => {
            // The descriptor of the decoder has 13 bytes before that of its configuration.
            let stream = descriptor(configuration, 3).and_then(|stream| descriptor(stream.get(3..)?, 4));
            let config = stream.and_then(|decoder| descriptor(decoder.get(13..)?, 5));
            let config = config.ok_or_else(|| malformed("its configuration of AAC is malformed"))?;
            aac::decoder(rate_hz, count, &config[..config.len().min(2)], "CAF")
        }
        b"opus" if channels <= 2 => {
            // The delay is in the packet table.
            let numbers = [1, channels as u8, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0];
            Packets::opus(&[&b"OpusHead"[..], &numbers].concat())
        }
        b"opus" => Err(unsupported(format!("Opus of {channels} channels in CAF"))),
        other => Err(unsupported(format!("CAF with the encoding \"{}\"", other.escape_ascii()))),
    }
}

/// Reads the header of the packet table; `None` where it is absent or has negative numbers.
fn table(bytes: &FileBytes) -> Option<Table> {
    let head = bytes.head(24);
    let (words, _) = head.first_chunk::<24>()?.as_chunks::<4>();
    let word = |index: usize| u64::from(u32::from_be_bytes(words[index]));
    let long = |index: usize| word(index) << 32 | word(index + 1);
    let is_positive = |value: &u64| *value < 1 << 48;
    Some(Table {
        packets: Some(long(0)).filter(is_positive)?,
        valid_frames: Some(long(2)).filter(is_positive)?,
        priming: word(4),
        remainder: word(5),
    })
}

/// Reads a number of groups of seven bits, whose last byte has its first bit unset, and moves on behind it.
fn number(bytes: &mut FileBytes) -> Option<u64> {
    let head = bytes.head(5);
    let length = head.iter().position(|byte| byte & 0x80 == 0)? + 1;
    *bytes = bytes.behind(length);
    Some(head[..length].iter().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)))
}
