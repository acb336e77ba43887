//! The benchmark of a model and its front end, without a daemon.
//!
//! Input: a model's source, the configuration and a time budget. Output: a [`BenchmarkReport`]: windows per second by
//! batch size and core layout, and the CPU time of the front end. Invariants: the budget is exceeded at most by the runs
//! that are in progress when it ends.

mod front_end;
mod report;

use std::time::{Duration, Instant};

pub use report::BenchmarkReport;

use crate::batch::autotune::{self, CoreLayout, Runs};
use crate::config::{self, Config};
use crate::model::{EngineError, Model, ModelError, ModelSource};
use crate::stream::{SetupError, StreamSetup};
use crate::window::GeometryError;

/// The share of the budget for the front end.
const FRONT_END_SHARE: f64 = 0.08;

/// Why a benchmark has no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model failed in a run.
    #[error("run the model: {0}")]
    Engine(#[from] EngineError),
    /// The front end cannot be set up for the model.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Runs the benchmark for about `budget` in total. It blocks its thread and uses one more thread per core.
///
/// # Errors
/// See [`BenchmarkError`].
pub fn run(
    source: &ModelSource,
    config: &Config,
    budget: Duration,
) -> Result<BenchmarkReport, BenchmarkError> {
    let (start, cores) = (Instant::now(), cores());
    let setup = StreamSetup::new(&source.contract()?, &config.window, &config.audio);
    let features = match setup {
        Ok(setup) => Some(front_end::cpu_of_one_hop(&setup, cores, budget.mul_f64(FRONT_END_SHARE))),
        Err(SetupError::Geometry(GeometryError::NoFrontEnd { .. })) => None,
        Err(error) => return Err(error.into()),
    };
    let first = load(source, &config.engine, CoreLayout { threads: 1, sessions: 1 })?;
    let settings = CoreLayout::candidates(cores, &first.device);
    let (contract, engine, device) = (first.contract.clone(), first.engine.clone(), first.device.clone());
    let (mut rows, mut loaded) = (Vec::new(), Some(first));
    for (done, setting) in settings.iter().enumerate() {
        let mut model = match loaded.take() {
            Some(model) => model,
            None => load(source, &config.engine, *setting)?,
        };
        let left = budget.saturating_sub(start.elapsed());
        let share = left.div_f64((settings.len() - done) as f64);
        rows.extend(autotune::rows(&mut model.sessions, *setting, &autotune::BATCHES, Runs::Whole, share)?);
    }
    let features_cpu_ms = features.map(|cpu| cpu.as_secs_f64() * 1e3);
    Ok(BenchmarkReport { model: contract.full_name(), engine, device, features_cpu_ms, rows })
}

fn load(source: &ModelSource, engine: &config::Engine, cores: CoreLayout) -> Result<Model, ModelError> {
    let CoreLayout { threads, sessions } = cores;
    Model::load(source.clone(), &config::Engine { threads, sessions, ..engine.clone() })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
