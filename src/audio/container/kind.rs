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

/// The boxes, beside `ftyp` and `mdat`, that MP4 and QuickTime begin with.
const SHORT_BOXES: [&[u8]; 8] = [b"moov", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof", b"sidx"];

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
    /// An archive, or a compressed file.
    Archive(&'static str),
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
        let at = &bytes.behind(start).head(BEGINNING);
        if let Some(kind) = by_mark(at) {
            return Some((kind, start));
        }
        if adts::begins(at) {
            return Some((Self::Adts, start));
        }
        if mpeg::begins(at) {
            return Some((Self::Mpeg, start));
        }
        // Streams are often recorded with a few bytes of something else in front, and zeros often follow a tag.
        let rest = bytes.behind(start);
        let front = rest.head(JUNK + 16);
        let junk = (0..front.len().min(JUNK)).find(|at| strong_mark(&front[*at..]));
        if let Some((kind, at)) = junk.and_then(|at| Some((by_mark(&front[at..])?, at))) {
            return Some((kind, start + at));
        }
        if let Some(at) = adts::find(&rest.first(JUNK)) {
            return Some((Self::Adts, start + at));
        }
        (start > 0 || mpeg::occurs(bytes)).then_some((Self::Mpeg, start))
    }
}

/// Returns the kind of a file whose first bytes identify it.
fn by_mark(bytes: &[u8]) -> Option<Kind> {
    read_kind(bytes).or_else(|| refused_kind(bytes))
}

/// Returns the kind of a file that can be read.
fn read_kind(bytes: &[u8]) -> Option<Kind> {
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
        // Files of QuickTime need no box for their type, and parts of a fragmented recording begin with others. Such a box is shorter than 16 MiB.
        [_, _, _, _, b'm', b'd', b'a', b't', ..] => Kind::Mp4,
        [0, _, _, _, kind @ ..] if SHORT_BOXES.iter().any(|short| kind.starts_with(short)) => Kind::Mp4,
        _ => return None,
    })
}

/// Returns the kind of a file that is refused by its name.
fn refused_kind(bytes: &[u8]) -> Option<Kind> {
    Some(match bytes {
        [b'#', b'!', b'A', b'M', b'R', ..] => Kind::Named("AMR"),
        [b'M', b'A', b'C', b' ', ..] => Kind::Named("Monkey's Audio"),
        [b'w', b'v', b'p', b'k', ..] => Kind::Named("WavPack"),
        [b'T', b'T', b'A', b'1', ..] => Kind::Named("True Audio"),
        [0x30, 0x26, 0xb2, 0x75, ..] => Kind::Named("Windows Media Audio in ASF"),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => Kind::Archive("ZIP archive"),
        [0x1f, 0x8b, 8, ..] => Kind::Archive("file that gzip compressed"),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Kind::Archive("7z archive"),
        [b'R', b'a', b'r', b'!', 0x1a, 0x07, ..] => Kind::Archive("RAR archive"),
        _ if bytes.get(257..262) == Some(b"ustar") => Kind::Archive("tar archive"),
        [b'F', b'L', b'V', 1, ..] => Kind::Named("Flash Video"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => Kind::Named("AVI"),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'8', b'S', b'V', b'X', ..] => Kind::Named("8SVX"),
        [0x7f, 0xfe, 0x80, 0x01, ..] => Kind::Named("DTS"),
        [b'.', b'R', b'M', b'F', ..] => Kind::Named("RealMedia"),
        [b'd', b'n', b's', b'.', ..] => Kind::Named("AU with little-endian numbers"),
        [0x47, ..] if bytes.get(188) == Some(&0x47) && bytes.get(376) == Some(&0x47) => {
            Kind::Named("an MPEG transport stream")
        }
        [_, _, _, _, 0x47, ..] if bytes.get(196) == Some(&0x47) && bytes.get(388) == Some(&0x47) => {
            Kind::Named("an MPEG transport stream with times (M2TS)")
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
            | [0, 0, 0, _, b'f', b't', b'y', b'p', ..]
            | [0x1a, 0x45, 0xdf, 0xa3, 0x01 | 0x80..=0xff, ..]
    )
}
