//! Evaluation of models on labelled speech.
//!
//! Input: labelled clips and a model. Output: a [`Report`] with scikit-learn's metrics. Invariants: no event is published.
//!
//! In data order: [`datasets`] (clips on disk) → `line` (optional gain or telephone line) → `clip` (bytes to windows) →
//! `evaluator` (windows through a batcher) → `tally` (collected outcomes) → `metrics` and `bootstrap` → `report`.
//! [`local`] evaluates in this process, [`service`] evaluates in the daemon on the batcher of its live streams, and
//! [`client`] calls that service.

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
