//! Measures the model's throughput by batch size.
//!
//! Input: sessions, batch sizes, time. Output: a [`Row`] for each batch size that fits into the time. One thread a session, as in the daemon.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Infer;
use crate::model::{EngineError, Predictions, Session};
use crate::telemetry::{percentile, process_cpu, thread_cpu};

/// Windows in one run of the model.
pub const BATCHES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Each session runs so often at least, however long it takes.
const LEAST_RUNS: usize = 2;

/// A way to use the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    /// Threads inside one session.
    pub threads: usize,
    /// Sessions side by side.
    pub sessions: usize,
}

impl Cores {
    /// One core; all cores by sessions side by side, as the daemon uses them; all cores inside one session. On a GPU the cores
    /// do not matter.
    pub fn worth_trying(cores: usize, device: &str) -> Vec<Self> {
        let mut all = vec![Self { threads: 1, sessions: 1 }];
        if device == "cpu" && cores > 1 {
            all.extend([Self { threads: 1, sessions: cores }, Self { threads: cores, sessions: 1 }]);
        }
        all
    }
}

/// How a batch goes through the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// In one run: shows what a run of so many windows costs.
    Whole,
    /// In runs of at most [`Session::at_once`] windows, as the batcher does.
    InParts,
}

/// Measures the batch sizes from small to large, each for its share of `budget`, and leaves out those of which not even two runs
/// fit.
pub fn rows(
    sessions: &mut [Session],
    cores: Cores,
    batches: &[usize],
    runs: Runs,
    budget: Duration,
) -> Result<Vec<Row>, EngineError> {
    let start = Instant::now();
    let mut rows: Vec<Row> = Vec::with_capacity(batches.len());
    for (done, batch) in batches.iter().enumerate() {
        let left = budget.saturating_sub(start.elapsed());
        // A run of twice the windows takes twice as long at most.
        let run = rows.last().map_or(Duration::ZERO, |row| Duration::from_secs_f64(row.latency_ms * 2e-3));
        // One more run than that is for nothing: it lets the engine make room for a larger batch.
        if run * (1 + LEAST_RUNS as u32) > left {
            break;
        }
        let time = left.div_f64((batches.len() - done) as f64);
        rows.push(row(sessions, cores, Trial { batch: *batch, runs, time })?);
    }
    Ok(rows)
}

/// One batch size on so many sessions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Windows in one run of the model.
    pub batch: usize,
    /// Threads inside one session.
    pub threads: usize,
    /// Models side by side.
    pub sessions: usize,
    /// Of all sessions together.
    pub windows_per_second: f64,
    /// The median time of one run.
    pub latency_ms: f64,
    /// CPU time of the whole process for one window.
    pub cpu_ms_per_window: f64,
}

/// Measures batch sizes on one session for about `budget`. Returns each size with its windows a second, run as the batcher runs it: a sweep of
/// whole batches would choose the size by runs that the daemon never makes.
///
/// # Errors
/// See [`Session::run`].
pub fn sweep(session: &mut Session, budget: Duration) -> Result<Vec<(usize, f64)>, EngineError> {
    let alone = Cores { threads: 1, sessions: 1 };
    let rows = rows(std::slice::from_mut(session), alone, &BATCHES, Runs::InParts, budget)?;
    Ok(rows.into_iter().map(|row| (row.batch, row.windows_per_second)).collect())
}

/// The smallest batch size that is nearly as fast as the fastest: more only makes windows wait for each other.
#[must_use]
pub fn best_size(sweep: &[(usize, f64)]) -> usize {
    const NEARLY: f64 = 0.97;
    let fastest = sweep.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    sweep.iter().find(|(_, rate)| *rate >= NEARLY * fastest).map_or(1, |(size, _)| *size)
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// Windows in a batch.
    batch: usize,
    runs: Runs,
    time: Duration,
}

/// The runs of one session.
struct Done {
    /// The time that each batch took.
    runs: Vec<Duration>,
    cpu: Duration,
}

fn row(sessions: &mut [Session], cores: Cores, trial: Trial) -> Result<Row, EngineError> {
    let batch = trial.batch;
    let ready = Barrier::new(sessions.len());
    // A session alone may have helpers: threads of its own, or a GPU's. Side by side, each one works in its own thread.
    let clock = if sessions.len() == 1 { process_cpu } else { thread_cpu };
    let done: Result<Vec<Done>, EngineError> = std::thread::scope(|scope| {
        let run = |session| timed_runs(session, trial, &ready, clock);
        let threads: Vec<_> = sessions.iter_mut().map(|session| scope.spawn(move || run(session))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    let done = done?;
    let rate =
        |done: &Done| (done.runs.len() * batch) as f64 / done.runs.iter().sum::<Duration>().as_secs_f64();
    let windows_per_second = done.iter().map(rate).sum();
    let cpu: Duration = done.iter().map(|done| done.cpu).sum();
    let mut runs: Vec<Duration> = done.into_iter().flat_map(|done| done.runs).collect();
    runs.sort_unstable();
    Ok(Row {
        batch,
        threads: cores.threads,
        sessions: cores.sessions,
        windows_per_second,
        latency_ms: percentile(&runs, 0.5).as_secs_f64() * 1e3,
        cpu_ms_per_window: cpu.as_secs_f64() * 1e3 / (runs.len() * batch) as f64,
    })
}

/// Runs batches on one session for the trial's time, once all sessions are ready.
fn timed_runs(
    session: &mut Session,
    trial: Trial,
    ready: &Barrier,
    clock: fn() -> Duration,
) -> Result<Done, EngineError> {
    let Trial { batch, runs: kind, time } = trial;
    let contract = session.contract().clone();
    let window = contract.rows() * contract.coefficients();
    // No row is zero: those mean padding.
    let features: Vec<f32> = (1..=batch * window).map(|n| (n as f32 * 0.7).sin() * 0.5).collect();
    let part = match kind {
        Runs::Whole => batch,
        Runs::InParts => session.at_once().min(batch),
    };
    let mut out = Predictions::default();
    let first = run_in_parts(session, &features, part * window, window, &mut out);
    ready.wait();
    first?;
    let (start, cpu, mut runs) = (Instant::now(), clock(), Vec::new());
    while runs.len() < LEAST_RUNS || start.elapsed() < time {
        let began = Instant::now();
        run_in_parts(session, &features, part * window, window, &mut out)?;
        runs.push(began.elapsed());
    }
    Ok(Done { runs, cpu: clock().saturating_sub(cpu) })
}

/// Runs a batch in parts of `part` values, where a window has `window` values.
fn run_in_parts(
    session: &mut impl Infer,
    features: &[f32],
    part: usize,
    window: usize,
    out: &mut Predictions,
) -> Result<(), EngineError> {
    features.chunks(part).try_for_each(|part| session.infer(part, part.len() / window, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes the number of windows in each run.
    struct Noted(Vec<usize>);

    impl Infer for Noted {
        fn infer(&mut self, features: &[f32], batch: usize, _: &mut Predictions) -> Result<(), EngineError> {
            assert_eq!(features.len(), batch * 3);
            self.0.push(batch);
            Ok(())
        }
    }

    #[test]
    fn a_batch_goes_through_the_model_in_parts() {
        for (windows, part, expected) in [(10, 4, vec![4, 4, 2]), (10, 10, vec![10]), (2, 2, vec![2])] {
            let mut session = Noted(Vec::new());
            run_in_parts(&mut session, &vec![0.5; windows * 3], part * 3, 3, &mut Predictions::default())
                .unwrap();
            assert_eq!(session.0, expected);
        }
    }

    #[test]
    fn one_core_and_a_gpu_leave_nothing_else_to_try() {
        let alone = vec![Cores { threads: 1, sessions: 1 }];
        assert_eq!(Cores::worth_trying(1, "cpu"), alone);
        assert_eq!(Cores::worth_trying(16, "cuda"), alone);
        let four = Cores::worth_trying(4, "cpu");
        assert!(four.contains(&Cores { threads: 1, sessions: 4 }), "{four:?}");
        assert!(four.contains(&Cores { threads: 4, sessions: 1 }), "{four:?}");
    }

    #[test]
    fn the_best_size_is_the_smallest_that_is_nearly_the_fastest() {
        assert_eq!(best_size(&[(1, 100.0), (2, 180.0), (4, 297.0), (8, 300.0), (16, 250.0)]), 4);
        assert_eq!(best_size(&[(1, 100.0), (2, 99.0)]), 1);
        assert_eq!(best_size(&[]), 1);
    }
}
