//! Why a model cannot be put into service.

use crate::model::{EngineError, ModelError};
use crate::stream::SetupError;
use crate::window::WindowSpan;

/// Why a model cannot be put into service.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its windows cannot be cut.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Its name is that of another model.
    #[error("serve two models named {0:?}: give one of them another name in its contract")]
    SameName(String),
    /// Its windows cannot be compared with those of the default model.
    #[error(
        "serve {shadow} as a shadow: its windows are {:?} every {:?}, those of the default model {:?} every {:?}",
        its.length, its.hop, of.length, of.hop
    )]
    OtherWindows {
        /// The shadow's name.
        shadow: String,
        /// Its windows.
        its: WindowSpan,
        /// Those of the default model.
        of: WindowSpan,
    },
    /// It failed while batch sizes were measured.
    #[error("find a batch size: {0}")]
    Sweep(EngineError),
    /// It takes too long.
    #[error("load a model within {0:?} (model.load_timeout)")]
    Timeout(std::time::Duration),
    /// There is no thread for the load.
    #[error("start a thread that loads a model: {0}")]
    Thread(std::io::Error),
    /// Loading panicked.
    #[error("load a model: the engine panicked")]
    Panicked,
}
