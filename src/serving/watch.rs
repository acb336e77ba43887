//! Whether a model's files have changed, judged by their times and sizes.
//!
//! Input: the path of an ONNX file. Its sidecar and the files with weights outside the ONNX file are watched with it.
//! Output: whether the model should be loaded again. Invariants: files that are still being written are left alone until
//! all of them stay the same from one check to the next. The files are polled, because notifications of the operating
//! system miss mounted folders and replaced symbolic links.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::model::model_files;

/// The time and size of a file; `None` where there is no such file.
type FileState = Option<(Option<SystemTime>, u64)>;

/// The files of one model under watch.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    /// The model's files. The first one is the ONNX file.
    files: Vec<PathBuf>,
    /// The state of the files when they were last loaded, or tried.
    tried: Vec<FileState>,
    /// The state of the files at the last check.
    last: Vec<FileState>,
}

impl FileWatch {
    /// Creates a watch on a model that is being loaded now.
    pub fn new(path: &Path) -> Self {
        let files = model_files(path);
        let now = states(&files);
        Self { path: path.to_owned(), files, tried: now.clone(), last: now }
    }

    /// Returns whether a file differs from the one that was tried last, and all of them have stayed the same since the last
    /// check. Each change is reported once.
    pub fn has_changed(&mut self) -> bool {
        let now = states(&self.files);
        let complete = now.first().is_some_and(Option::is_some) && now == self.last;
        self.last.clone_from(&now);
        if !complete || now == self.tried {
            return false;
        }
        // The new ONNX file may keep its weights in other files than the previous one.
        self.files = model_files(&self.path);
        self.tried = states(&self.files);
        self.last.clone_from(&self.tried);
        true
    }
}

fn states(files: &[PathBuf]) -> Vec<FileState> {
    let state = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok(), found.len()))
    };
    files.iter().map(state).collect()
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
        assert!(!watch.has_changed(), "reported once");
        let later = SystemTime::now() + Duration::from_secs(60);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(!watch.has_changed() && watch.has_changed(), "a new time of the same size");
        std::fs::remove_file(&path).unwrap();
        assert!(!watch.has_changed() && !watch.has_changed(), "a file that is gone is no model");
    }

    #[test]
    fn a_changed_sidecar_or_file_of_weights_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        // ModelProto { graph: { initializer: { external_data: { key: "location", value: "weights.bin" } } } }
        let entry = [&b"\x0a\x08location\x12\x0bweights.bin"[..]].concat();
        let wrap = |tag: u8, inner: &[u8]| [&[tag, inner.len() as u8], inner].concat();
        std::fs::write(&path, wrap(0x3a, &wrap(0x2a, &wrap(0x6a, &entry)))).unwrap();
        std::fs::write(folder.path().join("weights.bin"), "one").unwrap();
        let mut watch = FileWatch::new(&path);
        assert!(!watch.has_changed());
        std::fs::write(folder.path().join("weights.bin"), "longer").unwrap();
        assert!(!watch.has_changed() && watch.has_changed() && !watch.has_changed());
        std::fs::write(folder.path().join("model.onnx.contract.json"), "{}").unwrap();
        assert!(!watch.has_changed() && watch.has_changed() && !watch.has_changed());
    }
}
