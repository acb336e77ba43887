//! Loads a model: reads and checks it, runs a trial batch, and finds the size of its batches where `batch.max_size` is `auto`.
//!
//! Input: a source, the configuration. Output: sessions that are ready, or an error. Nothing is put into service here.

use std::time::Duration;

use super::{ReloadError, ReloaderOptions};
use crate::batch::autotune;
use crate::model::{Contract, Model, ModelSource, Session};

/// How long the search for a batch size takes.
const SWEEP: Duration = Duration::from_secs(2);

/// A model with its sessions, and the largest batch for them.
pub(super) struct LoadedModel {
    pub model: Model,
    pub max_size: usize,
}

/// Loads a model on a thread of its own.
///
/// # Errors
/// See [`ReloadError`].
pub(super) async fn load(source: ModelSource, options: &ReloaderOptions) -> Result<LoadedModel, ReloadError> {
    let (engine, max_size) = (options.engine.clone(), options.batch.max_size);
    let load = move || {
        let mut model = Model::load(source, &engine)?;
        let max_size = match max_size {
            Some(size) => size,
            None => size_by_sweep(&model.contract, &mut model.sessions[0])?,
        };
        Ok::<_, ReloadError>(LoadedModel { model, max_size })
    };
    let loaded = tokio::task::spawn_blocking(load).await.map_err(|_| ReloadError::Panicked)??;
    let model = &loaded.model;
    let Contract { name, version, .. } = &*model.contract;
    tracing::info!(name, version, device = model.device, library = %model.library.display(), "model loaded");
    Ok(loaded)
}

/// Returns the value of `batch.max_size = "auto"` on this machine. Blocks its thread for about [`SWEEP`].
fn size_by_sweep(contract: &Contract, session: &mut Session) -> Result<usize, ReloadError> {
    let sweep = autotune::sweep(session, SWEEP).map_err(ReloadError::Sweep)?;
    let size = autotune::best_size(&sweep);
    let table: Vec<_> = sweep.iter().map(|(size, rate)| format!("{size}: {rate:.0}/s")).collect();
    tracing::info!(model = contract.name, size, sweep = table.join(", "), "batch size found");
    Ok(size)
}
