//! affectd listens to speech and publishes emotion.
//!
//! ```text
//!  ingest::kafka ─┐
//!  ingest::grpc ──┴─ chunk ─▶ stream: audio → features ─ job ─▶ batch ─▶ model ─ scored ─▶ publish ─▶ Kafka, gRPC
//!                   envelope            (shards)           ▲   (serving)                     │
//!                                          evaluation ─────┘◀────────────────────────────────┘
//! ```
//!
//! Audio goes one way; only a caller's reply and a settled offset come back. [`pipeline`] connects the stages, in this order.
//! Deliberately absent: locks between stages, channels without a bound, and anything outside a window that its features depend on.

pub mod audio;
pub mod batch;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod envelope;
pub mod evaluation;
pub mod features;
pub mod http;
pub mod ingest;
mod lanes;
pub mod load;
pub mod measure;
pub mod metrics;
pub mod model;
pub mod options;
pub mod pipeline;
pub mod proto;
pub mod publish;
pub mod server;
pub mod serving;
pub mod stream;
#[cfg(feature = "train")]
pub mod train;
pub mod vad;
