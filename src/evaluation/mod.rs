//! Models measured on labelled speech.
//!
//! In data order: [`datasets`] (clips on disk) → `line` (a gain or a telephone, where asked for) → `clip` (bytes to windows) → `evaluator` (through a batcher) → `tally`
//! → `metrics`, `bootstrap` → `report`. [`local`] runs it in this process, [`service`] behind a daemon's gRPC port on the
//! batcher that live streams use, [`client`] asks such a daemon. Never publishes an event.

mod bootstrap;
pub mod client;
mod clip;
pub mod datasets;
mod error;
mod evaluator;
mod line;
pub mod local;
mod metrics;
mod origin;
mod report;
mod report_proto;
pub mod service;
mod tally;
mod telephone;

pub use bootstrap::Interval;
pub use clip::*;
pub use error::*;
pub use evaluator::*;
pub use line::*;
pub use metrics::*;
pub use origin::*;
pub use report::*;
pub use tally::*;
pub use telephone::*;
