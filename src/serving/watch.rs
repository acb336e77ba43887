//! Detects that a model's file has changed, by its time and size.
//!
//! Input: a path, polled from time to time. Output: whether to load the file. It is polled, as notifications miss mounted folders and exchanged
//! links. A file that is still being written is not loaded until two polls find it equal.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The time and size of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    bytes: u64,
}

/// A watched file.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    /// Its state when it was last loaded, or failed to load.
    tried: Option<Look>,
    /// Its state at the last poll.
    last: Option<Look>,
}

impl FileWatch {
    /// A watch on a file that is being loaded now.
    pub fn new(path: &Path) -> Self {
        let now = look(path);
        Self { path: path.to_owned(), tried: now, last: now }
    }

    /// Whether the file differs from the one that was loaded last, and is the same as at the last poll. A change is reported once.
    pub fn has_changed(&mut self) -> bool {
        let now = look(&self.path);
        let still = now.is_some() && now == self.last;
        self.last = now;
        if !still || now == self.tried {
            return false;
        }
        self.tried = now;
        true
    }
}

fn look(path: &Path) -> Option<Look> {
    let found = std::fs::metadata(path).ok()?;
    Some(Look { modified: found.modified().ok(), bytes: found.len() })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_change_is_reported_once_and_only_when_the_file_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, "one").unwrap();
        let mut watch = FileWatch::new(&path);
        assert!(!watch.has_changed(), "as it was loaded");
        std::fs::write(&path, "longer").unwrap();
        assert!(!watch.has_changed(), "it may still be written");
        std::fs::write(&path, "longer still").unwrap();
        assert!(!watch.has_changed(), "it was");
        assert!(watch.has_changed());
        assert!(!watch.has_changed(), "told once");
        let later = SystemTime::now() + Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(!watch.has_changed() && watch.has_changed(), "a new time of the same size");
        std::fs::remove_file(&path).unwrap();
        assert!(!watch.has_changed() && !watch.has_changed(), "a file that is gone is no model");
    }
}
