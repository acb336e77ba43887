//! Reading of small files with certificates, keys and tokens.
//!
//! Input: a path. Output: the content, or an error that names the file. Invariants: only regular files are opened, since a FIFO would block the reader; no
//! file over [`MAX_BYTES`] is read.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::SecurityError;

/// The largest file: thousands of tokens or certificates.
const MAX_BYTES: u64 = 4 << 20;

/// What distinguishes two versions of a file: the time of its content, its size and its inode. `None` where there is no file.
pub(super) type FileState = Option<(Option<SystemTime>, u64, u64)>;

/// Returns the present state of a file. A symbolic link has the state of its target.
pub(super) fn state(path: &Path) -> FileState {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok(), found.len(), found.ino()))
}

/// Reads a regular file. `key` is the configuration key that names it.
///
/// # Errors
/// Returns an error where the file is missing, is not a regular file, or is too large.
pub(super) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, SecurityError> {
    let error = |reason: String| SecurityError::new(key, path, reason);
    let metadata = std::fs::metadata(path).map_err(|cause| error(cause.to_string()))?;
    if !metadata.is_file() {
        return Err(error("is not a regular file".to_owned()));
    }
    let file = std::fs::File::open(path).map_err(|cause| error(cause.to_string()))?;
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut content).map_err(|cause| error(cause.to_string()))?;
    if content.len() as u64 > MAX_BYTES {
        return Err(error(format!("is larger than {MAX_BYTES} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_limited_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let cases =
            [(folder.path(), "not a regular file"), (&large, "larger"), (Path::new("/dev/zero"), "regular")];
        for (path, reason) in cases {
            let error = read("tls.cert", path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.starts_with("tls.cert: file "), "{error}");
        }
    }
}
