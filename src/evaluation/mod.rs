//! Models measured on labelled speech.
//!
//! In data order: [`datasets`] (clips on disk) → `clip` (bytes to windows) → `evaluator` (through a batcher) → `tally`
//! → `metrics`, `bootstrap` → `report`. [`local`] runs it in this process, [`service`] behind a daemon's gRPC port on the
//! batcher that live streams use, [`client`] asks such a daemon. Never publishes an event.

mod bootstrap;
pub mod client;
mod clip;
pub mod datasets;
mod error;
mod evaluator;
pub mod local;
mod metrics;
mod origin;
mod report;
mod report_proto;
pub mod service;
mod tally;

pub use bootstrap::Interval;
pub use clip::*;
pub use error::*;
pub use evaluator::*;
pub use metrics::*;
pub use origin::*;
pub use report::*;
pub use tally::*;
