//! Attacks on a daemon over real sockets, each beside a stream whose latency must stay.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod evaluations;
mod fields;
mod memory;
