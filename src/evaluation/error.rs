//! Why an evaluation gives no report.
//!
//! Invariant: a clip that cannot be used is no error; it is skipped and counted.

use std::path::PathBuf;

use crate::model::EngineError;
use crate::stream::SetupError;

/// Why an evaluation gives no report.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// A clip's file is there and cannot be read.
    #[error("read clip {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Windows cannot be cut for the model.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The model gives no answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The address of the server is no address.
    #[error("connect to {url:?}: expected grpc://host:port or http://host:port")]
    Url {
        /// What was given.
        url: String,
    },
    /// Nobody answers there.
    #[error("connect to {url}: {reason}")]
    Connect {
        /// The server.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The server ended the call.
    #[error("evaluate on {url}: {code}: {message}")]
    Server {
        /// The server.
        url: String,
        /// The status.
        code: tonic::Code,
        /// What it said.
        message: String,
    },
    /// The server ended the call without a report.
    #[error("evaluate on {url}: the server sent no report")]
    NoReport {
        /// The server.
        url: String,
    },
}
