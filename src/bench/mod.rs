//! The benchmark of a model and its front end, without a daemon.
//!
//! Input: a model's source, the configuration and a time budget. Output: a [`BenchmarkReport`]: windows per second by
//! batch size and core layout, and the CPU time of the front end. Invariants: the budget is exceeded at most by the runs
//! that are in progress when it ends.

mod front_end;
mod inference;
mod report;

use std::time::{Duration, Instant};

pub use report::{BenchmarkReport, BenchmarkRow};

use crate::config::{self, Config};
use crate::model::{EngineError, Model, ModelError, ModelSource, Session};
use crate::stream::{SetupError, StreamSetup};
use inference::CoreLayout;

/// The measured batch sizes, in windows.
const BATCHES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
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
        Err(SetupError::NoFrontEnd { .. }) => None,
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
        rows.extend(inference::rows(&mut model.sessions, *setting, &BATCHES, share)?);
    }
    let features_cpu_ms = features.map(|cpu| cpu.as_secs_f64() * 1e3);
    Ok(BenchmarkReport { model: contract.full_name(), engine, device, features_cpu_ms, rows })
}

/// Measures the batch sizes on one session for about `budget`, and returns each size with its windows per second.
///
/// # Errors
/// See [`Session::run`].
pub fn sweep(session: &mut Session, budget: Duration) -> Result<Vec<(usize, f64)>, EngineError> {
    let alone = CoreLayout { threads: 1, sessions: 1 };
    let rows = inference::rows(std::slice::from_mut(session), alone, &BATCHES, budget)?;
    Ok(rows.into_iter().map(|row| (row.batch, row.windows_per_second)).collect())
}

/// Returns the smallest batch size whose throughput is within 3 % of the best. A larger batch would only add latency.
#[must_use]
pub fn best_size(sweep: &[(usize, f64)]) -> usize {
    const NEARLY: f64 = 0.97;
    let fastest = sweep.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    sweep.iter().find(|(_, rate)| *rate >= NEARLY * fastest).map_or(1, |(size, _)| *size)
}

fn load(source: &ModelSource, engine: &config::Engine, cores: CoreLayout) -> Result<Model, ModelError> {
    let CoreLayout { threads, sessions } = cores;
    Model::load(source.clone(), &config::Engine { threads, sessions, ..engine.clone() })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::best_size;

    #[test]
    fn the_best_size_is_the_smallest_that_is_nearly_the_fastest() {
        assert_eq!(best_size(&[(1, 100.0), (2, 180.0), (4, 297.0), (8, 300.0), (16, 250.0)]), 4);
        assert_eq!(best_size(&[(1, 100.0), (2, 99.0)]), 1);
        assert_eq!(best_size(&[]), 1);
    }
}
