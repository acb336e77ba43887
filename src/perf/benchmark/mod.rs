//! What model and front end can do by themselves, without a daemon around them.
//!
//! In: a model's source, the configuration, a time budget. Out: a [`Report`]: windows a second by batch size and threads, and
//! the CPU time of the front end. Never goes over the budget by more than the runs that are under way.

mod front_end;
mod report;

use std::time::{Duration, Instant};

pub use report::Report;

use crate::batch::autotune::{self, Cores, Runs};
use crate::config::{self, Config};
use crate::model::{EngineError, Model, ModelError, ModelSource};
use crate::stream::{SetupError, StreamSetup};
use crate::window::GeometryError;

/// The part of the budget that the front end gets.
const FRONT_END_SHARE: f64 = 0.08;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It failed in a run.
    #[error("run the model: {0}")]
    Engine(#[from] EngineError),
    /// Its windows cannot be cut.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// Measures for about `budget` in all. Holds its thread, and as many more as there are cores.
///
/// # Errors
/// See [`BenchError`].
pub fn run(source: &ModelSource, config: &Config, budget: Duration) -> Result<Report, BenchError> {
    let (start, cores) = (Instant::now(), cores());
    let setup = StreamSetup::new(&source.contract()?, &config.window, &config.audio);
    let features = match setup {
        Ok(setup) => Some(front_end::cpu_of_one_hop(&setup, cores, budget.mul_f64(FRONT_END_SHARE))),
        Err(SetupError::Geometry(GeometryError::NoFrontEnd { .. })) => None,
        Err(error) => return Err(error.into()),
    };
    let first = load(source, &config.engine, Cores { threads: 1, sessions: 1 })?;
    let settings = Cores::worth_trying(cores, &first.device);
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
    Ok(Report { model: contract.full_name(), engine, device, features_cpu_ms, rows })
}

fn load(source: &ModelSource, engine: &config::Engine, cores: Cores) -> Result<Model, ModelError> {
    let Cores { threads, sessions } = cores;
    Model::load(source.clone(), &config::Engine { threads, sessions, ..engine.clone() })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
