//! Training, export and quantization of models. Without the feature `train` this binary is empty.

#![cfg(feature = "train")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod cache;
mod cli;
mod encoder;
mod encoder_cli;
mod export;
mod files;
mod learning;
mod quantize;
mod report;
mod resume;
mod tess;
