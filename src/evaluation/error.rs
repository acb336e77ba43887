//! Errors of an evaluation.
//!
//! Invariants: a clip that cannot be decoded is not an error; it is skipped and counted.

use std::path::PathBuf;

use crate::model::EngineError;
use crate::stream::SetupError;

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
    /// The model failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The URL of the server is invalid.
    #[error("connect to {url:?}: expected grpc://host:port or http://host:port")]
    Url {
        /// The given URL.
        url: String,
    },
    /// The server is unreachable.
    #[error("connect to {url}: {reason}")]
    Connect {
        /// The server's URL.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The server ended the call with an error.
    #[error("evaluate on {url}: {code}: {message}")]
    Server {
        /// The server's URL.
        url: String,
        /// The status code.
        code: tonic::Code,
        /// The status message.
        message: String,
    },
    /// The server ended the call without a report.
    #[error("evaluate on {url}: the server sent no report")]
    NoReport {
        /// The server's URL.
        url: String,
    },
}
