//! Runs of the model as fast as they go, by batch size.
//!
//! In: sessions, batch sizes, time. Out: a [`BenchmarkRow`] for each batch size that fits the time. One thread a session, as in the daemon.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::report::BenchmarkRow;
use crate::measure::{percentile, process_cpu, thread_cpu};
use crate::model::{EngineError, Session};

/// Each session runs so often at least, however long it takes.
const MIN_RUNS: usize = 2;

/// A way to use the cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CoreLayout {
    /// Threads inside one session.
    pub threads: usize,
    /// Sessions side by side.
    pub sessions: usize,
}

impl CoreLayout {
    /// One core; all cores by sessions side by side, as the daemon uses them; all cores inside one session. On a GPU the cores
    /// do not matter.
    pub fn candidates(cores: usize, device: &str) -> Vec<Self> {
        let mut all = vec![Self { threads: 1, sessions: 1 }];
        if device == "cpu" && cores > 1 {
            all.extend([Self { threads: 1, sessions: cores }, Self { threads: cores, sessions: 1 }]);
        }
        all
    }
}

/// Measures the batch sizes from small to large, each for its share of `budget`, and leaves out those of which not even two runs
/// fit.
pub(super) fn rows(
    sessions: &mut [Session],
    cores: CoreLayout,
    batches: &[usize],
    budget: Duration,
) -> Result<Vec<BenchmarkRow>, EngineError> {
    let start = Instant::now();
    let mut rows: Vec<BenchmarkRow> = Vec::with_capacity(batches.len());
    for (done, batch) in batches.iter().enumerate() {
        let left = budget.saturating_sub(start.elapsed());
        // A run of twice the windows takes twice as long at most.
        let run = rows.last().map_or(Duration::ZERO, |row| Duration::from_secs_f64(row.latency_ms * 2e-3));
        // One more run than that is for nothing: it lets the engine make room for a larger batch.
        if run * (1 + MIN_RUNS as u32) > left {
            break;
        }
        rows.push(row(sessions, cores, *batch, left.div_f64((batches.len() - done) as f64))?);
    }
    Ok(rows)
}

/// What one session did.
struct Totals {
    /// How long each run took.
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
    // A session alone may have helpers: threads of its own, or a GPU's. Side by side, each one works in its own thread.
    let clock = if sessions.len() == 1 { process_cpu } else { thread_cpu };
    let done: Result<Vec<Totals>, EngineError> = std::thread::scope(|scope| {
        let run = |session| timed_runs(session, batch, time, (&ready, clock));
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

/// Runs one session for `time`, once everybody is ready.
fn timed_runs(
    session: &mut Session,
    batch: usize,
    time: Duration,
    (ready, clock): (&Barrier, fn() -> Duration),
) -> Result<Totals, EngineError> {
    let contract = session.contract().clone();
    let size = batch * contract.rows() * contract.coefficients();
    // No row is zero: those mean padding.
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
    fn one_core_and_a_gpu_leave_nothing_else_to_try() {
        let alone = vec![CoreLayout { threads: 1, sessions: 1 }];
        assert_eq!(CoreLayout::candidates(1, "cpu"), alone);
        assert_eq!(CoreLayout::candidates(16, "cuda"), alone);
        let four = CoreLayout::candidates(4, "cpu");
        assert!(four.contains(&CoreLayout { threads: 1, sessions: 4 }), "{four:?}");
        assert!(four.contains(&CoreLayout { threads: 4, sessions: 1 }), "{four:?}");
    }
}
