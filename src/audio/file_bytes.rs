//! The bytes of a file, in memory or on disk, where they are read as they are needed.
//!
//! Input: a path, or bytes. Output: any range of the bytes.
//! Invariants: a file on disk takes the memory of one range, and has the length that it had when it was opened. Where reading fails, all views of the file
//! are empty from then on, so that decoders end; [`FileBytes::failure`] then returns the reason.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::bytes::Bytes;

use super::FileProblem;

/// The bytes that are read from a disk at a time.
const WINDOW: usize = 1 << 18;

/// A view of the bytes of a file. Clones are cheap, and share the bytes that were read last.
#[derive(Debug, Clone)]
pub(super) struct FileBytes {
    store: Store,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone)]
enum Store {
    Memory(Bytes),
    Disk(Arc<Disk>),
}

#[derive(Debug)]
struct Disk {
    file: File,
    window: Mutex<Window>,
}

/// The bytes of a file that were read last.
#[derive(Debug, Default)]
struct Window {
    /// The position of the first one.
    at: usize,
    bytes: Bytes,
    failure: Option<String>,
}

impl From<Bytes> for FileBytes {
    fn from(bytes: Bytes) -> Self {
        Self { start: 0, end: bytes.len(), store: Store::Memory(bytes) }
    }
}

impl FileBytes {
    /// Opens a file.
    ///
    /// # Errors
    /// As [`Self::of_file`].
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::of_file(File::open(path)?)
    }

    /// Returns the bytes of an open file from its position on. Those of a pipe are copied to a temporary file, which no other program sees.
    ///
    /// # Errors
    /// A file that cannot be read; a temporary file that cannot be written.
    pub(super) fn of_file(mut file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        // Files of the kernel, in /proc for instance, have the length zero.
        if !metadata.is_file() || metadata.len() == 0 {
            let mut copy = tempfile::tempfile().map_err(|error| {
                let folder = std::env::temp_dir();
                io::Error::new(error.kind(), format!("no temporary file in {}: {error}", folder.display()))
            })?;
            io::copy(&mut file, &mut copy)?;
            copy.rewind()?;
            file = copy;
        }
        let start = usize::try_from(file.stream_position()?).map_err(io::Error::other)?;
        let end = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let store = Store::Disk(Arc::new(Disk { file, window: Mutex::default() }));
        Ok(Self { store, start: start.min(end), end })
    }

    /// Returns the number of bytes.
    pub(super) fn len(&self) -> usize {
        if self.has_failed() { 0 } else { self.end - self.start }
    }

    /// Returns whether there are no bytes.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the first `count` bytes, or all where there are fewer.
    pub(super) fn head(&self, count: usize) -> Bytes {
        let range = self.start..self.start + count.min(self.end - self.start);
        match &self.store {
            Store::Memory(bytes) => bytes.slice(range),
            Store::Disk(disk) => disk.read(range.start, range.len(), self.end),
        }
    }

    /// Returns the bytes behind the first `count`; none where there are not that many.
    pub(super) fn behind(&self, count: usize) -> Self {
        Self { start: self.start.saturating_add(count).min(self.end), ..self.clone() }
    }

    /// Returns the first `count` bytes as a view, or all where there are fewer.
    pub(super) fn first(&self, count: usize) -> Self {
        Self { end: self.start.saturating_add(count).min(self.end), ..self.clone() }
    }

    /// Returns the bytes in pieces of `count`, of which the last one may be shorter.
    pub(super) fn pieces(&self, count: usize) -> impl Iterator<Item = Bytes> + use<> {
        let mut rest = self.clone();
        std::iter::from_fn(move || {
            let piece = rest.head(count);
            rest = rest.behind(piece.len());
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Returns the first position whose bytes satisfy `is_found`, which receives the bytes from there on: at least `reach` of them, or all up to the end.
    pub(super) fn position(&self, reach: usize, mut is_found: impl FnMut(&[u8]) -> bool) -> Option<usize> {
        let mut at = 0;
        while at < self.len() {
            let bytes = self.behind(at).head(WINDOW + reach);
            let is_end = at + bytes.len() == self.len();
            let count = if is_end { bytes.len() } else { bytes.len().saturating_sub(reach) };
            if let Some(found) = (0..count).find(|index| is_found(&bytes[*index..])) {
                return Some(at + found);
            }
            at += count;
        }
        None
    }

    /// Returns whether the bytes begin with `mark`.
    pub(super) fn starts_with(&self, mark: &[u8]) -> bool {
        self.head(mark.len()) == mark
    }

    /// Returns why the file could not be read, where reading has failed.
    pub(super) fn failure(&self) -> Option<FileProblem> {
        let Store::Disk(disk) = &self.store else { return None };
        let reason = disk.window().failure.clone()?;
        Some(FileProblem::Unreadable { reason })
    }

    fn has_failed(&self) -> bool {
        matches!(&self.store, Store::Disk(disk) if disk.window().failure.is_some())
    }
}

impl Disk {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads `count` bytes from `at` on, which lie in front of `end`; none where that fails.
    fn read(&self, at: usize, count: usize, end: usize) -> Bytes {
        let mut window = self.window();
        if window.failure.is_some() {
            return Bytes::new();
        }
        let known = at.checked_sub(window.at).filter(|start| start + count <= window.bytes.len());
        if let Some(start) = known {
            return window.bytes.slice(start..start + count);
        }
        let mut bytes = vec![0; count.max(WINDOW).min(end - at)];
        match self.file.read_exact_at(&mut bytes, at as u64) {
            Ok(()) => {
                *window = Window { at, bytes: bytes.into(), failure: None };
                window.bytes.slice(..count)
            }
            Err(error) => {
                let is_shorter = error.kind() == io::ErrorKind::UnexpectedEof;
                let shorter = "the file has become shorter since it was opened".to_owned();
                let failure = Some(if is_shorter { shorter } else { error.to_string() });
                *window = Window { failure, ..Window::default() };
                Bytes::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Returns a file on disk, and its bytes in memory.
    fn file(length: usize) -> (File, FileBytes) {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        (file, Bytes::from(bytes).into())
    }

    #[test]
    fn a_file_on_disk_is_read_like_one_in_memory() {
        let length = 2 * WINDOW + 1_234;
        let (mut file, memory) = file(length);
        file.rewind().unwrap();
        let disk = FileBytes::of_file(file).unwrap();
        for (at, count) in [(0, 9), (WINDOW - 3, 7), (5, 2 * WINDOW), (length - 2, 99), (length, 1), (0, 0)] {
            assert_eq!(disk.behind(at).head(count), memory.behind(at).head(count), "{count} at {at}");
        }
        assert!(disk.pieces(40_000).eq(memory.pieces(40_000)));
        assert_eq!(disk.first(10).behind(4).len(), 6);
        assert_eq!(disk.first(10).head(99).len(), 10);
        assert_eq!(disk.position(2, |bytes| bytes.starts_with(&[255])), None);
    }

    #[test]
    fn a_position_is_found_wherever_the_ranges_on_disk_end() {
        for at in [0, 77, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 9] {
            let (file, _) = file(2 * WINDOW + 11);
            file.write_all_at(&[255, 254], at as u64).unwrap();
            (&file).rewind().unwrap();
            let disk = FileBytes::of_file(file).unwrap();
            for reach in [2, 40] {
                assert_eq!(disk.position(reach, |bytes| bytes.starts_with(&[255, 254])), Some(at), "{at}");
            }
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_is_empty_and_has_a_failure() {
        let (mut file, _) = file(3 * WINDOW);
        file.rewind().unwrap();
        let other = file.try_clone().unwrap();
        let bytes = FileBytes::of_file(file).unwrap();
        assert_eq!(bytes.head(4).len(), 4);
        assert_eq!(bytes.failure(), None);
        other.set_len(9).unwrap();
        assert!(bytes.behind(2 * WINDOW).head(4).is_empty());
        assert!(bytes.is_empty() && bytes.pieces(5).next().is_none());
        assert!(bytes.failure().unwrap().to_string().contains("shorter"));
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"RIFF").unwrap();
        drop(writer);
        let bytes = FileBytes::of_file(File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
        assert_eq!((bytes.len(), &bytes.head(9)[..]), (4, &b"RIFF"[..]));
    }

    #[test]
    fn a_file_is_read_from_its_position_on() {
        let (mut file, memory) = file(300);
        file.seek(io::SeekFrom::Start(100)).unwrap();
        let disk = FileBytes::of_file(file).unwrap();
        assert_eq!((disk.len(), disk.head(400)), (200, memory.behind(100).head(200)));
    }
}
