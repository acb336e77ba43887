//! Evaluation of models on labelled speech.
//!
//! Input: labelled clips and a model. Output: a [`Report`] with scikit-learn's metrics. Invariants: no event is published.
//!
//! In data order: [`datasets`](crate::datasets) (clips on disk) → `perturbation` (optional gain or telephone line) → `clip` (bytes to windows) →
//! `evaluator` (windows through a batcher) → `answers` (optional restriction) → `tally` (collected outcomes) → `metrics`, `risk_coverage` and `bootstrap` → `report` → `cross` (a matrix of reports); `streams` adapts scored clips to the clips before them.
//! [`offline`](crate::offline) evaluates in this process, [`transport`](crate::transport) evaluates in the daemon on the batcher of its live streams, and
//! [`client`](crate::client) calls that service.

mod answers;
mod bootstrap;
mod clip;
mod cross;
mod error;
mod evaluator;
mod metrics;
mod options;
mod perturbation;
mod plan;
mod report;
mod report_proto;
mod risk_coverage;
mod streams;
mod tally;
mod telephone;

pub use answers::*;
pub use bootstrap::Interval;
pub use clip::*;
pub use cross::*;
pub use error::*;
pub(crate) use evaluator::clips_in_flight;
pub use evaluator::*;
pub use metrics::*;
pub use options::Options;
pub use perturbation::*;
pub use plan::*;
pub use report::*;
pub use risk_coverage::RiskCoverage;
pub use streams::*;
pub use tally::*;
pub use telephone::*;
