//! The boxes of MP4 and QuickTime (ISO/IEC 14496-12, section 4.2).
//!
//! Input: the bytes of a file or of a box.
//! Output: the boxes in them; whether a file holds all that its boxes declare.
//! Invariants: only the headers of boxes are read.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::{malformed, tags};

/// Bytes of a header with a length of 32 bits.
const HEADER: usize = 8;

/// The boxes beside each other in a file. Other bytes of a length that is longer than the file are no box.
const KNOWN: [&[u8; 4]; 19] = [
    b"ftyp", b"moov", b"mdat", b"moof", b"mfra", b"free", b"skip", b"wide", b"uuid", b"meta", b"sidx",
    b"ssix", b"styp", b"emsg", b"prft", b"pdin", b"udta", b"pnot", b"PICT",
];

/// The most boxes beside each other: those of an hour in fragments of 10 ms.
const MOST: usize = 1 << 20;

/// One box.
pub(super) struct Box {
    pub(super) kind: [u8; 4],
    /// Bytes of the header.
    header: usize,
    /// Bytes of the whole box; `None` where it ends with the file.
    length: Option<u64>,
}

impl Box {
    /// Reads the header at the beginning of `bytes`; `None` where it is incomplete or declares less than itself.
    pub(super) fn read(bytes: &FileBytes) -> Option<Self> {
        let kind = word(bytes, 4)?.to_be_bytes();
        let (header, length) = match word(bytes, 0)? {
            0 => (HEADER, None),
            1 => (16, Some(u64::from(word(bytes, 8)?) << 32 | u64::from(word(bytes, 12)?))),
            length => (HEADER, Some(u64::from(length))),
        };
        length.is_none_or(|length| length >= header as u64).then_some(Self { kind, header, length })
    }

    /// Returns the bytes of the whole box; those of its header where it ends with the file.
    pub(super) fn bytes(&self) -> usize {
        self.length.map_or(self.header, |length| usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Returns whether the box declares no length of its own.
    pub(super) fn is_open(&self) -> bool {
        self.length.is_none()
    }
}

/// Returns the kinds and the contents of boxes that follow each other, up to one that is incomplete.
pub(super) fn boxes(bytes: &FileBytes) -> impl Iterator<Item = ([u8; 4], FileBytes)> + use<> {
    let mut rest = bytes.clone();
    std::iter::from_fn(move || {
        let found = Box::read(&rest)?;
        let length = found.length.map_or(Some(rest.len()), |length| usize::try_from(length).ok())?;
        if length > rest.len() {
            return None;
        }
        let contents = rest.first(length).behind(found.header);
        rest = rest.behind(length);
        Some((found.kind, contents))
    })
}

/// Returns the contents of the first box of a kind.
pub(super) fn child(contents: &FileBytes, kind: &[u8; 4]) -> Option<FileBytes> {
    boxes(contents).find(|(found, _)| found == kind).map(|(_, contents)| contents)
}

/// Returns the four bytes at a position as a number.
pub(super) fn word(bytes: &FileBytes, at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.behind(at).head(4).first_chunk()?))
}

/// Refuses a file that ends within a box, or within a fragment. The samples of a file without fragments are counted, so bytes that are no box
/// may follow its boxes.
///
/// # Errors
/// [`FileProblem::Truncated`] or [`FileProblem::Malformed`].
pub(super) fn check(bytes: &FileBytes) -> Result<(), FileProblem> {
    let is_fragmented = child(bytes, b"moov").is_some_and(|movie| child(&movie, b"mvex").is_some());
    let (mut rest, mut is_described, mut count) = (bytes.clone(), false, 0);
    // Zeros are no box that ends with the file.
    while let Some(found) = Box::read(&rest).filter(|found| found.kind != [0; 4]) {
        count += 1;
        if count > MOST {
            return Err(malformed(&format!("it has more than {MOST} boxes")));
        }
        let present = rest.len() as u64;
        let Some(declared) = found.length else { return Ok(()) };
        if declared > present && KNOWN.contains(&&found.kind) {
            return Err(FileProblem::Truncated { declared, present, unit: "bytes in a box" });
        }
        if declared > present {
            break;
        }
        is_described = found.kind == *b"moof" || (is_described && found.kind != *b"mdat");
        rest = rest.behind(declared as usize);
    }
    let is_whole = tags::only_tags(&rest) && !is_described;
    if is_fragmented && !is_whole {
        let at = bytes.len() - rest.len();
        return Err(malformed(&format!("it ends within a fragment, and byte {at} begins no box")));
    }
    Ok(())
}
