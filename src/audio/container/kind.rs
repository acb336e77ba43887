//! Recognition of a file's format by its contents.
//!
//! Input: the bytes of a file.
//! Output: the kind of container and the position where it begins.
//! Invariants: names and declared media types are not used.

use super::super::file_bytes::FileBytes;
use super::tags::id3v2;
use super::{adts, mpeg};

/// The bytes in front of a container that are searched for it.
const JUNK: usize = 1 << 16;
/// Bytes that are enough to recognise a kind of file by its first ones, a second frame included.
const BEGINNING: usize = 1 << 14;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::audio) enum Kind {
    /// RIFF, RIFX, RF64, BW64 or Wave64.
    Riff,
    /// AIFF or AIFC.
    Aiff,
    /// Sun AU.
    Au,
    /// Core Audio Format.
    Caf,
    /// NIST SPHERE.
    Sphere,
    /// Native FLAC.
    Flac,
    /// Ogg with any codec.
    Ogg,
    /// MPEG audio of layers I to III.
    Mpeg,
    /// AAC in ADTS.
    Adts,
    /// Matroska or WebM.
    Matroska,
    /// MP4, M4A or QuickTime.
    Mp4,
    /// A format that is recognised and not supported.
    Named(&'static str),
}

impl Kind {
    /// Returns the kind of a file and the position of its first byte, which tags or other bytes may precede;
    /// `None` where the bytes are no known format.
    pub(in crate::audio) fn of(bytes: &FileBytes) -> Option<(Self, usize)> {
        let mut start = 0;
        while let length @ 1.. = id3v2(&bytes.behind(start).head(10)) {
            start = (start + length).min(bytes.len());
        }
        let tagged = start > 0;
        let at = &bytes.behind(start).head(BEGINNING);
        if let Some(kind) = by_mark(at) {
            return Some((kind, start));
        }
        if adts::begins(at) {
            return Some((Self::Adts, start));
        }
        if tagged || mpeg::begins(at) {
            return Some((Self::Mpeg, start));
        }
        // Streams are often recorded with a few bytes of something else in front.
        let front = bytes.head(JUNK + 16);
        let junk = (0..front.len().min(JUNK)).find(|start| strong_mark(&front[*start..]));
        if let Some((kind, start)) = junk.and_then(|start| Some((by_mark(&front[start..])?, start))) {
            return Some((kind, start));
        }
        if let Some(start) = adts::find(&bytes.first(JUNK)) {
            return Some((Self::Adts, start));
        }
        mpeg::occurs(bytes).then_some((Self::Mpeg, 0))
    }
}

/// Returns the kind of a file whose first bytes identify it.
fn by_mark(bytes: &[u8]) -> Option<Kind> {
    Some(match bytes {
        [b'R', b'I', b'F', b'F' | b'X', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Kind::Riff,
        [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..] => Kind::Riff,
        [b'r', b'i', b'f', b'f', 0x2e, 0x91, ..] => Kind::Riff,
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => Kind::Aiff,
        [b'.', b's', b'n', b'd', ..] => Kind::Au,
        [b'c', b'a', b'f', b'f', 0, ..] => Kind::Caf,
        [b'N', b'I', b'S', b'T', b'_', b'1', b'A', ..] => Kind::Sphere,
        [b'f', b'L', b'a', b'C', ..] => Kind::Flac,
        [b'O', b'g', b'g', b'S', ..] => Kind::Ogg,
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Kind::Matroska,
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Kind::Mp4,
        [b'#', b'!', b'A', b'M', b'R', ..] => Kind::Named("AMR"),
        [b'M', b'A', b'C', b' ', ..] => Kind::Named("Monkey's Audio"),
        [b'w', b'v', b'p', b'k', ..] => Kind::Named("WavPack"),
        [b'T', b'T', b'A', b'1', ..] => Kind::Named("True Audio"),
        [0x30, 0x26, 0xb2, 0x75, ..] => Kind::Named("Windows Media Audio in ASF"),
        [b'F', b'L', b'V', 1, ..] => Kind::Named("Flash Video"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Kind::Named("AVI"),
        [0x47, ..] if bytes.get(188) == Some(&0x47) && bytes.get(376) == Some(&0x47) => {
            Kind::Named("an MPEG transport stream")
        }
        [b'C', b'r', b'e', b'a', b't', b'i', b'v', b'e', b' ', b'V', b'o', b'i', ..] => {
            Kind::Named("Creative Voice (VOC)")
        }
        [0x64, 0xa3, 1..=4, 0, ..] => Kind::Named("IRCAM"),
        [0x0b, 0x77, ..] => Kind::Named("AC-3"),
        // Eleven bits mark a LATM frame, and thirteen give its length.
        [0x56, 0xe0..=0xff, low, ..] if is_latm(bytes, *low) => Kind::Named("AAC in LATM"),
        [0, 0, 1, 0xba, ..] => Kind::Named("an MPEG program stream"),
        _ => return None,
    })
}

/// Returns whether a second LATM frame follows the first one.
fn is_latm(bytes: &[u8], low: u8) -> bool {
    let length = usize::from(bytes[1] & 0x1f) << 8 | usize::from(low);
    matches!(bytes.get(3 + length..), Some([0x56, 0xe0..=0xff, ..]))
}

/// Returns whether `bytes` begin with a mark that is long enough not to occur by chance.
fn strong_mark(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [b'R', b'I', b'F', b'F' | b'X', _, _, _, _, b'W', b'A', b'V', b'E', ..]
            | [b'f', b'L', b'a', b'C', 0 | 0x80, 0, 0, 34, ..]
            | [b'O', b'g', b'g', b'S', 0, 2, ..]
    )
}
