//! The benchmark of inference: runs of the model without pauses, by batch size.
//!
//! Input: sessions, batch sizes and a time budget. Output: a [`BenchmarkRow`] for each batch size that fits into the
//! budget. Invariants: each session runs on its own thread, as in the daemon.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Infer;
use crate::model::{EngineError, Predictions, Session};
use crate::telemetry::{percentile, process_cpu, thread_cpu};

/// The measured batch sizes, in windows.
pub const BATCHES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// The minimum number of timed runs of each session.
const MIN_RUNS: usize = 2;

/// A division of the CPU cores into sessions and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreLayout {
    /// The number of threads inside one session (ONNX Runtime's intra-op threads).
    pub threads: usize,
    /// The number of concurrent sessions.
    pub sessions: usize,
}

impl CoreLayout {
    /// Returns the layouts to measure: one core; one session per core, as in the daemon; and all cores inside one session. On
    /// a GPU only the first, because the CPU cores do not matter there.
    pub fn candidates(cores: usize, device: &str) -> Vec<Self> {
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
    /// In runs of at most [Session::max_windows_per_run] windows, as the batcher does.
    InParts,
}

/// Measures the batch sizes from small to large, each for its share of `budget`, and leaves out those of which not even two runs
/// fit.
pub fn rows(
    sessions: &mut [Session],
    cores: CoreLayout,
    batches: &[usize],
    runs: Runs,
    budget: Duration,
) -> Result<Vec<BenchmarkRow>, EngineError> {
    let start = Instant::now();
    let mut rows: Vec<BenchmarkRow> = Vec::with_capacity(batches.len());
    for (done, batch) in batches.iter().enumerate() {
        let left = budget.saturating_sub(start.elapsed());
        // Twice the windows take at most about twice the time.
        let run = rows.last().map_or(Duration::ZERO, |row| Duration::from_secs_f64(row.latency_ms * 2e-3));
        // The additional run is the warm-up, in which the engine allocates memory for the larger batch.
        if run * (1 + MIN_RUNS as u32) > left {
            break;
        }
        let time = left.div_f64((batches.len() - done) as f64);
        rows.push(row(sessions, cores, Trial { batch: *batch, runs, time })?);
    }
    Ok(rows)
}

/// The results of one batch size in one core layout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchmarkRow {
    /// The number of windows in one run.
    pub batch: usize,
    /// The number of threads inside one session.
    pub threads: usize,
    /// The number of concurrent sessions.
    pub sessions: usize,
    /// The throughput of all sessions together.
    pub windows_per_second: f64,
    /// The median duration of one run, in milliseconds.
    pub latency_ms: f64,
    /// The CPU time for one window, in milliseconds, over all threads.
    pub cpu_ms_per_window: f64,
}

/// Measures batch sizes on one session for about `budget`. Returns each size with its windows a second, run as the batcher runs it: a sweep of
/// whole batches would choose the size by runs that the daemon never makes.
///
/// # Errors
/// See [`Session::run`].
pub fn sweep(session: &mut Session, budget: Duration) -> Result<Vec<(usize, f64)>, EngineError> {
    let alone = CoreLayout { threads: 1, sessions: 1 };
    let rows = rows(std::slice::from_mut(session), alone, &BATCHES, Runs::InParts, budget)?;
    Ok(rows.into_iter().map(|row| (row.batch, row.windows_per_second)).collect())
}

/// Returns the smallest batch size whose throughput is within 3 % of the best. A larger batch would only add latency.
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
struct Totals {
    /// The time that each batch took.
    runs: Vec<Duration>,
    cpu: Duration,
}

fn row(sessions: &mut [Session], cores: CoreLayout, trial: Trial) -> Result<BenchmarkRow, EngineError> {
    let batch = trial.batch;
    let ready = Barrier::new(sessions.len());
    // A single session may use several threads, so the CPU time of the process counts. Concurrent sessions have one
    // thread each, so the CPU time of that thread counts.
    let clock = if sessions.len() == 1 { process_cpu } else { thread_cpu };
    let done: Result<Vec<Totals>, EngineError> = std::thread::scope(|scope| {
        let run = |session| timed_runs(session, trial, &ready, clock);
        let threads: Vec<_> = sessions.iter_mut().map(|session| scope.spawn(move || run(session))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    let done = done?;
    let rate =
        |done: &Totals| (done.runs.len() * batch) as f64 / done.runs.iter().sum::<Duration>().as_secs_f64();
    let windows_per_second = done.iter().map(rate).sum();
    let cpu: Duration = done.iter().map(|done| done.cpu).sum();
    let mut runs: Vec<Duration> = done.into_iter().flat_map(|done| done.runs).collect();
    runs.sort_unstable();
    Ok(BenchmarkRow {
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
) -> Result<Totals, EngineError> {
    let Trial { batch, runs: kind, time } = trial;
    let contract = session.contract().clone();
    let window = contract.rows() * contract.coefficients();
    // No row is zero: those mean padding.
    let features: Vec<f32> = (1..=batch * window).map(|n| (n as f32 * 0.7).sin() * 0.5).collect();
    let part = match kind {
        Runs::Whole => batch,
        Runs::InParts => session.max_windows_per_run().min(batch),
    };
    let mut out = Predictions::default();
    let first = run_in_parts(session, &features, part * window, window, &mut out);
    ready.wait();
    first?;
    let (start, cpu, mut runs) = (Instant::now(), clock(), Vec::new());
    while runs.len() < MIN_RUNS || start.elapsed() < time {
        let began = Instant::now();
        run_in_parts(session, &features, part * window, window, &mut out)?;
        runs.push(began.elapsed());
    }
    Ok(Totals { runs, cpu: clock().saturating_sub(cpu) })
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
    fn one_core_and_a_gpu_have_one_layout() {
        let alone = vec![CoreLayout { threads: 1, sessions: 1 }];
        assert_eq!(CoreLayout::candidates(1, "cpu"), alone);
        assert_eq!(CoreLayout::candidates(16, "cuda"), alone);
        let four = CoreLayout::candidates(4, "cpu");
        assert!(four.contains(&CoreLayout { threads: 1, sessions: 4 }), "{four:?}");
        assert!(four.contains(&CoreLayout { threads: 4, sessions: 1 }), "{four:?}");
    }

    #[test]
    fn the_best_size_is_the_smallest_that_is_nearly_the_fastest() {
        assert_eq!(best_size(&[(1, 100.0), (2, 180.0), (4, 297.0), (8, 300.0), (16, 250.0)]), 4);
        assert_eq!(best_size(&[(1, 100.0), (2, 99.0)]), 1);
        assert_eq!(best_size(&[]), 1);
    }
}
