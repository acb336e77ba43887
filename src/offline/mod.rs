//! Work on recordings in this process, without a daemon, with the components of the daemon.

pub mod cross;
pub mod evaluation;
mod model;

pub use model::OfflineModel;
