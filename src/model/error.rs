//! Errors of loading and running a model.
//!
//! Invariants: every message names the file or the contract entry, and the value that would be right.

use std::path::PathBuf;

use super::{ContractError, LibraryError, METADATA_KEY};

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file does not exist or cannot be read.
    #[error("load model {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not an ONNX file, or it is truncated.
    #[error("load model {model}: not an ONNX file, or a damaged one ({reason})")]
    NotOnnx {
        /// The file.
        model: String,
        /// Why the decoder stopped.
        reason: String,
    },
    /// The ONNX file holds no contract, and there is no sidecar.
    #[error(
        "load model {}: it holds no contract (metadata {METADATA_KEY:?}); write one beside it, as {}",
        path.display(),
        sidecar.display()
    )]
    NoContract {
        /// The file.
        path: PathBuf,
        /// The path of the sidecar that may hold the contract.
        sidecar: PathBuf,
    },
    /// The contract is invalid.
    #[error("load model: contract of {origin}: {source}")]
    Contract {
        /// The file that holds it.
        origin: String,
        /// The invalid entry.
        source: ContractError,
    },
    /// ONNX Runtime cannot be loaded.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// ONNX Runtime rejects the graph.
    #[error("load model {model}: ONNX Runtime rejects it: {reason}")]
    Rejected {
        /// The file.
        model: String,
        /// ONNX Runtime's error.
        reason: String,
    },
    /// The graph does not match its contract.
    #[error("load model {model}: graph and contract do not match: {problem}")]
    Mismatch {
        /// The file.
        model: String,
        /// The first mismatch.
        problem: String,
    },
    /// The result of a window depends on other windows of its batch, or on chance.
    #[error("load model {model}: {difference}{}", cause(suspects))]
    NotReproducible {
        /// The file.
        model: String,
        /// The difference between two runs.
        difference: String,
        /// The operators that may be the cause, the most likely one first.
        suspects: Vec<String>,
    },
    /// `engine.device` requires a GPU that is not usable.
    #[error(
        "use a GPU for model {model}, as engine.device = {device:?} requires: {reason}; \"auto\" falls back to the CPU"
    )]
    NoGpu {
        /// The file.
        model: String,
        /// The configured device.
        device: &'static str,
        /// ONNX Runtime's error.
        reason: String,
    },
}

/// Names at most three operators that may be the cause of a difference.
fn cause(suspects: &[String]) -> String {
    match suspects {
        [] => "; no operator of the graph is known for it".to_owned(),
        some => format!("; the cause may be {}", some[..some.len().min(3)].join(", or ")),
    }
}

/// Why one run of a model failed. Every window of the batch receives a copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// ONNX Runtime returned an error.
    #[error("run the model: {0}")]
    Run(String),
    /// The number of feature values does not match the batch.
    #[error("run the model: {found} feature values where {batch} windows need {expected}")]
    Size {
        /// The number of windows in the batch.
        batch: usize,
        /// The number of values that these windows have.
        expected: usize,
        /// The number of values that the caller passed.
        found: usize,
    },
    /// An output holds a value that is not finite.
    #[error("run the model: {value} for {label:?} in window {window} of the batch")]
    NotFinite {
        /// The window's index in the batch.
        window: usize,
        /// The label whose value is not finite; `ood` for the out-of-domain score.
        label: String,
        /// The value: NaN or an infinity.
        value: String,
    },
    /// The inference threads have ended.
    #[error("run the model: the inference threads have ended")]
    Ended,
}

impl EngineError {
    /// Returns the same error for a batch in which `windows` windows precede those of the failed run.
    pub(super) fn after(self, windows: usize) -> Self {
        match self {
            Self::NotFinite { window, label, value } => {
                Self::NotFinite { window: window + windows, label, value }
            }
            other => other,
        }
    }
}
