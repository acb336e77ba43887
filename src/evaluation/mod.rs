//! Models measured on labelled speech.
//!
//! In data order: [`datasets`](crate::datasets) (clips on disk) → `line` (a gain or a telephone, where asked for) → `clip` (bytes to windows) → `evaluator` (through a batcher) → `tally`
//! → `metrics`, `bootstrap` → `report`. [`offline`](crate::offline) runs it in this process, [`transport`](crate::transport) behind a daemon's gRPC port on the
//! batcher that live streams use, [`client`](crate::client) asks such a daemon. Never publishes an event.

mod bootstrap;
mod clip;
mod error;
mod evaluator;
mod line;
mod metrics;
mod report;
mod report_proto;
mod tally;
mod telephone;

pub use bootstrap::Interval;
pub use clip::*;
pub use error::*;
pub(crate) use evaluator::clips_in_flight;
pub use evaluator::*;
pub use line::*;
pub use metrics::*;
pub use report::*;
pub use tally::*;
pub use telephone::*;
