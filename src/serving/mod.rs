//! The models in service: which there are, the batcher behind each, and how one is exchanged for another.
//!
//! In data order: `lineup` (what a stream is given when it opens) → `batch` (elsewhere) behind each model. `fleet` owns the batchers and
//! loads models; `shadow` is a model on trial; `watch` tells when one's file has changed. Streams that are open keep the model that they opened with, or a newer one
//! of the same shape; nothing under way is lost by an exchange.

mod fleet;
mod lineup;
mod shadow;
mod utilization;
mod watch;

pub use fleet::*;
pub use lineup::*;
pub use shadow::*;
pub use utilization::*;
