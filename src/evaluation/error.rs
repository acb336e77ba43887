//! Errors of an evaluation.
//!
//! Invariants: a clip that cannot be decoded is not an error; it is skipped and counted.

use std::path::PathBuf;

use crate::model::EngineError;
use crate::stream::{OutOfMemory, SetupError};

/// Why an evaluation ends without a report.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// The file of a clip cannot be read.
    #[error("read clip {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The front end cannot be set up for the model.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The budget of memory has no room for a decoded clip.
    #[error("clip.audio: {0}")]
    Memory(#[from] OutOfMemory),
    /// The model failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
