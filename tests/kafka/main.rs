//! Everything that needs a Kafka cluster, and the offset bookkeeping without one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod bad_records;
mod channels;
mod crash;
mod harness;
mod ledger;
mod models;
mod progress;
mod tail;
