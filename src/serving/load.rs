//! Loads a model: reads and checks it, runs a trial batch, and finds the size of its batches where `batch.max_size` is `auto`.
//!
//! Input: a source, the configuration. Output: sessions that are ready, or an error. Nothing is put into service here. A load that takes too long is
//! left to its thread, whose result is dropped: ONNX Runtime cannot be interrupted.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{LoadLimits, ReloadError, ReloaderOptions};
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
pub(super) async fn load(
    source: ModelSource,
    limits: LoadLimits,
    options: &ReloaderOptions,
) -> Result<LoadedModel, ReloadError> {
    let (engine, max_size) = (options.engine.clone(), options.batch.max_size);
    let load = move || {
        source.check_size(limits.max_bytes as u64)?;
        let mut model = Model::load(source, &engine)?;
        let max_size = match max_size {
            Some(size) => size,
            None => size_by_sweep(&model.contract, &mut model.sessions[0])?,
        };
        Ok::<_, ReloadError>(LoadedModel { model, max_size })
    };
    let (done, loaded) = oneshot::channel();
    let thread = std::thread::Builder::new().name("model-load".to_owned());
    // Fails only where the load took too long.
    thread.spawn(move || drop(done.send(load()))).map_err(ReloadError::Thread)?;
    let loaded = tokio::time::timeout(limits.timeout, loaded).await;
    let loaded =
        loaded.map_err(|_| ReloadError::Timeout(limits.timeout))?.map_err(|_| ReloadError::Panicked)??;
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
