//! The error of a file that `[tls]` or `[auth]` names.

use std::path::{Path, PathBuf};

/// Why a file of `[tls]` or `[auth]` cannot be used. The text names the key, the file and the reason, and never a content of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: file {}: {reason}", path.display())]
pub struct SecurityError {
    /// The configuration key that names the file.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong and what is allowed.
    pub reason: String,
}

impl SecurityError {
    pub(super) fn new(key: &'static str, path: &Path, reason: impl Into<String>) -> Self {
        Self { key, path: path.to_owned(), reason: reason.into() }
    }
}
