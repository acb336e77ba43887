//! Metadata and padding around audio.
//!
//! Input: bytes before or behind audio.
//! Output: the length of the metadata at their beginning.
//! Invariants: no text or picture of a tag is read.

use super::super::file_bytes::FileBytes;

/// Bytes that are enough to find the length of every tag but those of Lyrics3.
const LONGEST_HEADER: usize = 227;
/// The most bytes in which the end of a Lyrics3 tag is searched; its length has six digits.
const LONGEST_LYRICS: usize = 1 << 20;

/// Returns the length of the ID3v2 tag at the beginning of `bytes`; zero where there is none. The tag may be
/// longer than `bytes`.
pub(super) fn id3v2(bytes: &[u8]) -> usize {
    let [b'I', b'D', b'3', major, _, flags, size @ ..] = bytes else { return 0 };
    let Some([a, b, c, d]) = size.first_chunk::<4>() else { return 0 };
    if *major == 0xff || [a, b, c, d].iter().any(|byte| **byte & 0x80 != 0) {
        return 0;
    }
    // Four bytes of seven bits each (ID3v2.4, section 6.2), without the header and the footer.
    let size = [a, b, c, d].iter().fold(0, |sum, byte| sum << 7 | usize::from(**byte));
    size + if flags & 0x10 == 0 { 10 } else { 20 }
}

/// Returns the length of the tag at the beginning of `bytes`, of whatever kind: ID3v1, ID3v2, APE or Lyrics3.
/// Zero where there is none.
pub(super) fn tag(bytes: &[u8]) -> usize {
    declared(bytes).min(bytes.len())
}

/// Returns the length that the tag at the beginning of `bytes` has where none of it is missing.
fn declared(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"TAG+") && bytes.len() >= 227 {
        227
    } else if bytes.starts_with(b"TAG") {
        128
    } else if bytes.starts_with(b"APETAGEX") {
        ape(bytes)
    } else if bytes.starts_with(b"LYRICSBEGIN") {
        lyrics(bytes)
    } else {
        id3v2(bytes)
    }
}

/// Returns the length of the APE tag that begins with a header.
fn ape(bytes: &[u8]) -> usize {
    // The declared size leaves out the header of 32 bytes.
    let size = bytes
        .get(12..16)
        .and_then(|size| size.first_chunk::<4>())
        .map_or(0, |size| u32::from_le_bytes(*size));
    let is_header = bytes.get(23).is_some_and(|flags| flags & 0x20 != 0);
    if is_header { 32 + size as usize } else { 32 }
}

/// Returns the length of the Lyrics3 tag, which ends with a word of nine bytes.
fn lyrics(bytes: &[u8]) -> usize {
    let end = bytes.windows(9).position(|window| window == b"LYRICS200" || window == b"LYRICSEND");
    end.map_or(0, |end| end + 9)
}

/// Returns the length of the tag at the beginning of a file, as [`tag`] does.
pub(super) fn tag_of(bytes: &FileBytes) -> usize {
    let head = bytes.head(LONGEST_HEADER);
    let is_lyrics = head.starts_with(b"LYRICSBEGIN");
    // A tag is cut to the bytes that are there, which are those of the file and not those of the head.
    if is_lyrics { tag(&bytes.head(LONGEST_LYRICS)) } else { declared(&head).min(bytes.len()) }
}

/// Returns whether `bytes` hold nothing but tags and zeros.
pub(super) fn only_tags(bytes: &FileBytes) -> bool {
    let mut rest = bytes.clone();
    loop {
        // Most bytes that are no tag are none from the first one on.
        if rest.head(1).first() == Some(&0) {
            let Some(zeros) = rest.position(1, |bytes| bytes[0] != 0) else { return true };
            rest = rest.behind(zeros);
        }
        match tag_of(&rest) {
            0 => return rest.is_empty(),
            length => rest = rest.behind(length),
        }
    }
}
