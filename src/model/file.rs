//! Reading of the files of a model.
//!
//! Input: a path. Output: the bytes. Invariant: only regular files of a bounded size are opened, since a read of a pipe or of a device may never end.

use std::io;
use std::path::Path;

/// The most bytes of a file of a model: protobuf, and so ONNX, allows no more.
pub(super) const MAX_BYTES: u64 = 2 << 30;

/// Reads a file.
///
/// # Errors
/// The operating system's error, and one for a file that is not regular or is larger than 2 GiB.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    check(path, MAX_BYTES)?;
    std::fs::read(path)
}

/// Checks that a path leads to a regular file of at most `max_bytes`.
///
/// # Errors
/// As [`read`].
pub(super) fn check(path: &Path, max_bytes: u64) -> io::Result<()> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if found.len() > max_bytes {
        let message = format!("{} bytes; at most {max_bytes} are allowed", found.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_devices_and_enormous_files_are_refused_without_a_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        for path in [fifo.as_path(), Path::new("/dev/zero"), folder.path()] {
            assert_eq!(read(path).unwrap_err().to_string(), "not a regular file", "{}", path.display());
        }
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(read(&large).unwrap_err().to_string().contains("at most 2147483648 are allowed"));
        std::fs::write(&large, "model").unwrap();
        assert_eq!(read(&large).unwrap(), b"model");
    }
}
