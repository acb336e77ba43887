//! Models: the contract of an ONNX file, and the ONNX Runtime sessions that run it.
//!
//! Input: an ONNX file, and features `[batch, frames, coefficients]`. Output: probabilities `[batch, labels]`.
//!
//! In data order: `contract` and `check` (types and validation), `read` (from a file), `library` (ONNX Runtime), `device`
//! (sessions on GPU or CPU), `graph` (comparison with the contract), `engine` (loading and warm-up), `session` (one run) → `prediction`,
//! `trial` (whether windows influence each other) with `operators` (which operators may be the cause).
//! With the feature `train`, `observe` returns intermediate values of a graph for calibration.

pub mod builtin;
mod check;
mod contract;
mod device;
mod engine;
mod error;
mod file;
mod graph;
mod library;
#[cfg(feature = "train")]
mod observe;
mod operators;
mod options;
mod prediction;
mod read;
mod session;
mod trial;

pub use check::*;
pub use contract::*;
pub use engine::*;
pub use error::*;
pub use library::*;
#[cfg(feature = "train")]
pub use observe::*;
pub use options::{Device, EngineOptions};
pub use prediction::*;
pub use read::*;
pub use session::*;
