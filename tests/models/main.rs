//! Model files, their contracts, the inference engine and the batcher.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod batch;
mod batch_policy;
mod builtin;
mod cli;
mod contract;
mod engine;
mod isolation;
mod outputs;
