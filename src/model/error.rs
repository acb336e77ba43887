//! Why a model cannot be used, and why one run of it failed.
//!
//! Invariant: every message names the file or the entry and what would be right.

use std::path::PathBuf;

use super::{ContractError, LibraryError, METADATA_KEY};

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file is not there or cannot be read.
    #[error("load model {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The file is something else, or cut off.
    #[error("load model {model}: not an ONNX file, or a damaged one ({reason})")]
    NotOnnx {
        /// The file.
        model: String,
        /// Where reading stopped.
        reason: String,
    },
    /// An ONNX file from elsewhere.
    #[error(
        "load model {}: it holds no contract (metadata {METADATA_KEY:?}); write one beside it, as {}",
        path.display(),
        sidecar.display()
    )]
    NoContract {
        /// The file.
        path: PathBuf,
        /// Where a contract may stand instead.
        sidecar: PathBuf,
    },
    /// The contract is wrong in itself.
    #[error("load model: contract of {origin}: {source}")]
    Contract {
        /// The file that holds it.
        origin: String,
        /// What is wrong.
        source: ContractError,
    },
    /// There is no ONNX Runtime to run it with.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// ONNX Runtime refuses the graph.
    #[error("load model {model}: ONNX Runtime refuses it: {reason}")]
    Refused {
        /// The file.
        model: String,
        /// What ONNX Runtime says.
        reason: String,
    },
    /// Contract and graph contradict each other.
    #[error("load model {model}: graph and contract do not fit: {problem}")]
    Unfit {
        /// The file.
        model: String,
        /// What does not fit.
        problem: String,
    },
    /// `engine.device` asks for a GPU that is not usable.
    #[error(
        "use a GPU for model {model}, as engine.device = {device:?} asks: {reason}; \"auto\" would take the CPU"
    )]
    NoGpu {
        /// The file.
        model: String,
        /// What was asked for.
        device: &'static str,
        /// What ONNX Runtime says.
        reason: String,
    },
}

/// Why one run of a model failed; every window of its batch hears of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// ONNX Runtime failed.
    #[error("run the model: {0}")]
    Run(String),
    /// The caller's features have the wrong size.
    #[error("run the model: {found} feature values where {batch} windows need {expected}")]
    Size {
        /// Windows in the batch.
        batch: usize,
        /// Values they need.
        expected: usize,
        /// Values that came.
        found: usize,
    },
    /// The model's answer is not a number.
    #[error("run the model: {value} for {label:?} in window {window} of the batch")]
    NotFinite {
        /// Position in the batch.
        window: usize,
        /// The output's label.
        label: String,
        /// NaN or an infinity.
        value: String,
    },
    /// The inference threads are gone.
    #[error("run the model: the inference threads have ended")]
    Ended,
}
