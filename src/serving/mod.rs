//! The models in service: which there are, the batcher behind each, and how one is exchanged for another.
//!
//! `lineup` is what a stream is given when it opens, `utilization` how busy open streams keep a model, `shadow` a model on trial. `fleet`
//! owns the batchers and loads models; `fit` says whether they go together, `watch` whether a file has changed. Streams that are open keep
//! the model that they opened with, or a newer one of the same shape; nothing under way is lost by an exchange.

mod error;
mod fit;
mod job;
mod load;
mod registry;
mod reloader;
mod shadow;
mod sink;
mod utilization;
mod watch;

pub use error::*;
pub use job::*;
pub use registry::*;
pub use reloader::*;
pub use shadow::*;
pub use sink::*;
pub use utilization::*;
