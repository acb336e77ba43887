//! Datasets, splits, metrics, and evaluation in this process and on a daemon.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod clip;
mod cross;
mod datasets;
mod metrics;
mod protocols;
mod service;
