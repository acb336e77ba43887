//! affectd recognises emotion in speech and publishes it.
//!
//! ```text
//!  transport::grpc ─▶ session ─┐                                                   ┌─▶ replies of the call
//!                              ├─ chunk ─▶ shard ─ job ─▶ batch ─ result ─▶ publish ─┼─▶ kafka: events
//!  kafka::reader ──────────────┘           decode,    ▲   model                      └─▶ evaluation
//!    ▲                                     window,    │                           │
//!    │                                     features   └─ evaluation: clips        │
//!    └──────── settled offsets ◀────────── acknowledged events ◀──────────────────┘
//! ```
//!
//! Data flows one way; only a caller's reply and a settled offset come back. [`daemon`] connects the stages in this order. `docs/architecture.md` follows
//! a chunk, a record, a configuration value and a clip from file to file.
//!
//! The layers, from the lowest to the highest: a module uses only modules listed before it (`tests/architecture.rs`).
//!
//! - `proto`: types of the protocol, generated
//! - `telemetry`: metrics, logs, readiness, CPU time
//! - `options`: what a configuration value may be, and its schema
//! - `security`: TLS, authentication, rights and limits of principals
//! - `simd`: vectors of the machine's width
//! - `audio`: formats, decoding, resampling, files
//! - `features`: MFCC and log-mel frames
//! - `model`: contract, graph check, sessions of ONNX Runtime
//! - `window`: where windows lie, and the windowers that cut them
//! - `vad`: voice activity of each window
//! - `stream`: one stream, pure: chunk, position, segment, front end
//! - `batch`: policy, fair queue, session threads, order of results
//! - `serving`: models in service: registry, reloader, shadows, admission
//! - `shard`: threads that own open streams
//! - `session`: one input stream, independent of its transport
//! - `calls`: totals of channels, summaries of calls, rules of alerts
//! - `webhook`: alerts as signed HTTP requests
//! - `publish`: decision, smoothing, event, sinks
//! - `kafka`: every Kafka client: reader, offset tracker, progress, dead letters, event sink
//! - `datasets`: published datasets, manifests, protocols, audit of clips
//! - `evaluation`: metrics, bootstrap, report, evaluator
//! - `transport`: gRPC, HTTP, WebSocket and AudioSocket
//! - `config`: composes, validates and documents the options of all modules
//! - `daemon`: composition root and drain
//! - `offline`: evaluation in this process
//! - `client`: gRPC and Kafka clients of the commands
//! - `perf`: load generator and benchmark
//! - `train`: the trainer (feature `train`)
//! - `cli`: one file a command

pub mod audio;
pub mod batch;
pub mod calls;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod datasets;
pub mod evaluation;
pub mod features;
pub mod kafka;
pub mod model;
pub mod offline;
pub mod options;
pub mod perf;
pub mod proto;
pub mod publish;
pub mod security;
pub mod serving;
pub mod session;
pub mod shard;
mod simd;
pub mod stream;
pub mod telemetry;
#[cfg(feature = "train")]
pub mod train;
pub mod transport;
pub mod vad;
pub mod webhook;
pub mod window;
