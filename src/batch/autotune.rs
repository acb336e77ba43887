//! The benchmark of inference: runs of the model without pauses, by batch size.
//!
//! Input: sessions, batch sizes and a time budget. Output: a [`BenchmarkRow`] for each batch size that fits into the
//! budget. Invariants: each session runs on its own thread, as in the daemon.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::model::{EngineError, Session};
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

/// Measures the batch sizes in ascending order, each for an equal share of the remaining `budget`. A batch size is skipped
/// where its warm-up run and [`MIN_RUNS`] timed runs would not fit into the budget.
pub fn rows(
    sessions: &mut [Session],
    cores: CoreLayout,
    batches: &[usize],
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
        rows.push(row(sessions, cores, *batch, left.div_f64((batches.len() - done) as f64))?);
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

/// Measures the batch sizes on one session for about `budget`, and returns each size with its windows per second.
///
/// # Errors
/// See [`Session::run`].
pub fn sweep(session: &mut Session, budget: Duration) -> Result<Vec<(usize, f64)>, EngineError> {
    let alone = CoreLayout { threads: 1, sessions: 1 };
    let rows = rows(std::slice::from_mut(session), alone, &BATCHES, budget)?;
    Ok(rows.into_iter().map(|row| (row.batch, row.windows_per_second)).collect())
}

/// Returns the smallest batch size whose throughput is within 3 % of the best. A larger batch would only add latency.
#[must_use]
pub fn best_size(sweep: &[(usize, f64)]) -> usize {
    const NEARLY: f64 = 0.97;
    let fastest = sweep.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    sweep.iter().find(|(_, rate)| *rate >= NEARLY * fastest).map_or(1, |(size, _)| *size)
}

/// The totals of one session.
struct Totals {
    /// The duration of each timed run.
    runs: Vec<Duration>,
    cpu: Duration,
}

fn row(
    sessions: &mut [Session],
    cores: CoreLayout,
    batch: usize,
    time: Duration,
) -> Result<BenchmarkRow, EngineError> {
    let ready = Barrier::new(sessions.len());
    // A single session may use several threads, so the CPU time of the process counts. Concurrent sessions have one
    // thread each, so the CPU time of that thread counts.
    let clock = if sessions.len() == 1 { process_cpu } else { thread_cpu };
    let done: Result<Vec<Totals>, EngineError> = std::thread::scope(|scope| {
        let run = |session| timed_runs(session, batch, time, &ready, clock);
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

/// Warms up one session, waits at the barrier until all sessions are ready, and then runs it for `time`.
fn timed_runs(
    session: &mut Session,
    batch: usize,
    time: Duration,
    ready: &Barrier,
    clock: fn() -> Duration,
) -> Result<Totals, EngineError> {
    let contract = session.contract().clone();
    let size = batch * contract.rows() * contract.coefficients();
    // No row is all zero, because rows of zeros are padding, which the graph masks.
    let features: Vec<f32> = (1..=size).map(|n| (n as f32 * 0.7).sin() * 0.5).collect();
    let mut out = Vec::new();
    let first = session.run(&features, batch, &mut out);
    ready.wait();
    first?;
    let (start, cpu, mut runs) = (Instant::now(), clock(), Vec::new());
    while runs.len() < MIN_RUNS || start.elapsed() < time {
        let began = Instant::now();
        session.run(&features, batch, &mut out)?;
        runs.push(began.elapsed());
    }
    Ok(Totals { runs, cpu: clock().saturating_sub(cpu) })
}

#[cfg(test)]
mod tests {
    use super::*;

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
