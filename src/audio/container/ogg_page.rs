//! Pages of Ogg (RFC 3533).
//!
//! Input: the bytes at the beginning of a page.
//! Output: the page, whose checksum is right.

use super::checksum::crc_32;

/// Bytes of the longest page: a header, 255 segments, and as many lengths.
pub(super) const LONGEST: usize = 27 + 255 + 255 * 255;

/// One page.
pub(super) struct Page<'a> {
    /// Whether the first packet continues one of the page before.
    pub(super) is_continued: bool,
    /// Whether a stream begins.
    pub(super) is_first: bool,
    /// Whether a stream ends.
    pub(super) is_last: bool,
    /// The position behind the last packet that ends on this page; `None` where there is none.
    pub(super) granule: Option<i64>,
    pub(super) serial: u32,
    pub(super) sequence: u32,
    /// The lengths of the segments.
    lacing: &'a [u8],
    body: &'a [u8],
    /// Bytes of the whole page.
    pub(super) bytes: usize,
}

/// Why bytes are no page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum NoPage {
    /// They do not begin like one.
    Other,
    /// The file ends within it.
    Cut,
    /// Its checksum is wrong.
    Damaged,
}

impl<'a> Page<'a> {
    /// Reads the page at the beginning of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, NoPage> {
        let mark = &b"OggS\0"[..bytes.len().min(5)];
        if bytes.is_empty() || !bytes.starts_with(mark) {
            return Err(NoPage::Other);
        }
        let (header, rest) = bytes.split_first_chunk::<27>().ok_or(NoPage::Cut)?;
        let (lacing, rest) = rest.split_at_checked(usize::from(header[26])).ok_or(NoPage::Cut)?;
        let length = lacing.iter().map(|segment| usize::from(*segment)).sum();
        let body: &[u8] = rest.get(..length).ok_or(NoPage::Cut)?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        // The checksum counts as zero in itself.
        let crc = [&header[..22], &[0; 4], &header[26..], lacing, body]
            .iter()
            .fold(0, |crc, part| crc_32(crc, part));
        if crc != word(22) {
            return Err(NoPage::Damaged);
        }
        let granule = i64::from(word(6)) | i64::from(word(10)) << 32;
        Ok(Self {
            is_continued: header[5] & 1 != 0,
            is_first: header[5] & 2 != 0,
            is_last: header[5] & 4 != 0,
            granule: (granule >= 0).then_some(granule),
            serial: word(14),
            sequence: word(18),
            lacing,
            body,
            bytes: 27 + lacing.len() + length,
        })
    }

    /// Returns the packets and parts of packets on the page, each with whether it ends here.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&'a [u8], bool)> + use<'a> {
        let (mut lacing, mut body) = (self.lacing, self.body);
        std::iter::from_fn(move || {
            if lacing.is_empty() {
                return None;
            }
            // A packet ends with the first segment of less than 255 bytes.
            let full = lacing.iter().take_while(|segment| **segment == 255).count();
            let (segments, behind) = lacing.split_at((full + 1).min(lacing.len()));
            let length = segments.iter().map(|segment| usize::from(*segment)).sum();
            let (packet, rest) = body.split_at(length);
            (lacing, body) = (behind, rest);
            Some((packet, full < segments.len()))
        })
    }
}
