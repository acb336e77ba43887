//! The bytes of an MP4 or QuickTime file as symphonia 0.6.1 reads them, with what it requires beyond the standards.
//!
//! Input: the bytes of a file.
//! Output: a source of symphonia.
//! Invariants: a box that ends with the file gets its length, and a file without a box `ftyp`, which QuickTime does not require, gets one at its end. No
//! other byte differs, and none moves.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use super::super::file_bytes::FileBytes;
use super::mp4_boxes::{Box, boxes};

/// A box `ftyp` of QuickTime.
const FILE_TYPE: &[u8] = b"\0\0\0\x10ftypqt  \0\0\0\0";

/// The bytes of a file, and the position of the next one.
pub(super) struct Source {
    bytes: FileBytes,
    /// The position and the contents of the length that the file leaves open.
    length: Option<(usize, [u8; 4])>,
    /// The bytes behind those of the file.
    end: &'static [u8],
    at: usize,
}

impl Source {
    pub(super) fn new(bytes: &FileBytes) -> Self {
        let has_type = boxes(bytes).any(|(kind, _)| kind == *b"ftyp");
        let mut rest = bytes.clone();
        let mut length = None;
        while let Some(found) = Box::read(&rest) {
            if found.is_open() {
                let declared = u32::try_from(rest.len()).ok();
                length = declared.map(|declared| (bytes.len() - rest.len(), declared.to_be_bytes()));
                break;
            }
            rest = rest.behind(found.bytes());
        }
        Self { bytes: bytes.clone(), length, end: if has_type { &[] } else { FILE_TYPE }, at: 0 }
    }

    /// Returns the number of bytes.
    fn len(&self) -> usize {
        self.bytes.len() + self.end.len()
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.behind(self.at).head(buffer.len());
        let count = if read.is_empty() {
            let end = self.end.get(self.at.saturating_sub(self.bytes.len())..).unwrap_or_default();
            let count = end.len().min(buffer.len());
            buffer[..count].copy_from_slice(&end[..count]);
            count
        } else {
            buffer[..read.len()].copy_from_slice(&read);
            read.len()
        };
        if let Some((at, length)) = &self.length {
            for (index, byte) in length.iter().enumerate() {
                let place = (at + index).checked_sub(self.at).filter(|place| *place < count);
                place.into_iter().for_each(|place| buffer[place] = *byte);
            }
        }
        self.at += count;
        Ok(count)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => i64::try_from(at).ok(),
            SeekFrom::Current(by) => (self.at as i64).checked_add(by),
            SeekFrom::End(by) => (self.len() as i64).checked_add(by),
        };
        let at = at.and_then(|at| usize::try_from(at).ok());
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at as u64)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len() as u64)
    }
}
