//! The model: its contract and the engine that runs it.
//!
//! In data order: `contract` and `check` (what a model says of itself), `read` (from a file), `library` (ONNX
//! Runtime), `device` (GPU or CPU), `graph` (does it fit the contract), `engine` (load and try out), `session` (run) → `prediction`.
//! For training alone, `observe` shows values from inside a graph.

pub mod builtin;
mod check;
mod contract;
mod device;
mod engine;
mod error;
mod graph;
mod library;
#[cfg(feature = "train")]
mod observe;
mod prediction;
mod read;
mod session;

pub use check::*;
pub use contract::*;
pub use engine::*;
pub use error::*;
pub use library::*;
#[cfg(feature = "train")]
pub use observe::*;
pub use prediction::*;
pub use read::*;
pub use session::*;
