//! The models in service: the registry, the batcher behind each model, and the exchange of one for another.
//!
//! Input: the configuration, and requests to load models again. Output: registries for sources, and scored batches. `registry` is what a stream
//! finds its model in when it opens, `utilization` the load that open streams put on a model, `shadow` a model on trial. `reloader` owns the
//! batchers and loads models (`load`); `fit` checks that they go together, `watch` whether a file has changed. `job` travels with a window
//! through a batcher, `sink` is where its event goes. `decoders` decode the files of clients, each of them a `client_file`. Invariant: open streams keep the model that they opened with, or a newer one of the same
//! shape; no window under way is lost by an exchange.

mod client_file;
mod decoders;
mod error;
mod fit;
mod job;
mod load;
mod options;
mod registry;
mod reloader;
mod shadow;
mod sink;
mod utilization;
mod watch;

pub use client_file::ClientFile;
pub use decoders::Decoders;
pub use error::*;
pub use job::*;
pub use options::{ConfiguredModel, LoadLimits, ModelOptions, ReloaderOptions, Role};
pub use registry::*;
pub use reloader::*;
pub use shadow::*;
pub use sink::*;
pub use utilization::*;
