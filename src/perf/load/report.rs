//! The report of a load run.
//!
//! Input: the outcome of each stream, and the resource use of generator and target. Output: a [`LoadReport`], as a table
//! or as JSON with stable keys.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::StreamError;
use super::source::LatencySample;
use crate::telemetry::{Percentiles, ProcessUse};

/// The outcome of one stream.
#[derive(Debug)]
pub(super) struct StreamOutcome {
    pub samples: Vec<LatencySample>,
    /// The length of the audio that was sent.
    pub audio: Duration,
    pub result: Result<(), StreamError>,
}

/// The resources used between the first chunk and the last event.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResourceUse {
    /// The wall-clock time.
    pub elapsed: Duration,
    /// The CPU time of the generator.
    pub load_cpu: Duration,
    /// The target's resource use before and after the run, where its process id was given.
    pub target: Option<(ProcessUse, ProcessUse)>,
}

/// The results of a run. The field names are the JSON keys and must not change.
#[derive(Debug, Serialize)]
pub struct LoadReport {
    /// The number of streams.
    pub streams: usize,
    /// The time from the start of the first stream to the last event.
    pub seconds: f64,
    /// The number of events received.
    pub windows: usize,
    /// The number of events received per second.
    pub windows_per_second: f64,
    /// The length of the audio sent; the channels of a stream are counted once.
    pub audio_seconds: f64,
    /// The length of the audio sent per second.
    pub audio_seconds_per_second: f64,
    /// The time from sending the chunk that completes a window to receiving its event.
    pub latency_ms: Milliseconds,
    /// The time from the due time of that chunk to its sending; null at full speed, where there are no due times.
    pub late_ms: Milliseconds,
    /// The number of failed streams.
    pub errors: usize,
    /// The number of streams that the daemon refused because of its stream limit; they do not count as failed.
    pub refused: usize,
    /// The CPU time of the target; null where no process id was given.
    pub target_cpu_seconds: Option<f64>,
    /// The peak resident memory of the target; null where no process id was given.
    pub target_rss_mib: Option<f64>,
    /// The CPU time of the generator.
    pub load_cpu_seconds: f64,
    /// The first failure.
    #[serde(skip)]
    pub failure: Option<StreamError>,
}

/// Percentiles in milliseconds; null where there are no samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Milliseconds {
    /// The median.
    pub p50: Option<f64>,
    /// The 95th percentile.
    pub p95: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
    /// The maximum.
    pub max: Option<f64>,
}

impl Milliseconds {
    fn of(mut samples: Vec<Duration>) -> Self {
        let Some(Percentiles { p50, p95, p99, max }) = Percentiles::of(&mut samples) else {
            return Self::default();
        };
        let [p50, p95, p99, max] = [p50, p95, p99, max].map(|time| Some(rounded(time.as_secs_f64() * 1e3)));
        Self { p50, p95, p99, max }
    }
}

impl LoadReport {
    pub(super) fn new(outcomes: Vec<StreamOutcome>, used: ResourceUse) -> Self {
        let streams = outcomes.len();
        let accepted =
            |outcome: &&StreamOutcome| !matches!(&outcome.result, Err(error) if error.is_refusal());
        let audio: Duration = outcomes.iter().filter(accepted).map(|outcome| outcome.audio).sum();
        let samples = || outcomes.iter().flat_map(|outcome| &outcome.samples);
        let windows = samples().count();
        let latency_ms = Milliseconds::of(samples().map(|sample| sample.latency).collect());
        let late_ms = Milliseconds::of(samples().filter_map(|sample| sample.late).collect());
        let failed: Vec<StreamError> =
            outcomes.into_iter().filter_map(|outcome| outcome.result.err()).collect();
        let (refused, mut failures): (Vec<_>, Vec<_>) = failed.into_iter().partition(StreamError::is_refusal);
        let seconds = used.elapsed.as_secs_f64().max(1e-9);
        let target_cpu = used.target.map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        Self {
            streams,
            seconds: rounded(seconds),
            windows,
            windows_per_second: rounded(windows as f64 / seconds),
            audio_seconds: rounded(audio.as_secs_f64()),
            audio_seconds_per_second: rounded(audio.as_secs_f64() / seconds),
            latency_ms,
            late_ms,
            errors: failures.len(),
            refused: refused.len(),
            target_cpu_seconds: target_cpu.map(|cpu| cpu.as_secs_f64()),
            target_rss_mib: used
                .target
                .map(|(_, after)| rounded(after.peak_memory_bytes as f64 / f64::from(1 << 20))),
            load_cpu_seconds: rounded(used.load_cpu.as_secs_f64()),
            failure: if failures.is_empty() { None } else { Some(failures.swap_remove(0)) },
        }
    }
}

/// Rounds to three decimal places; further digits are noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { p50: Some(p50), p95: Some(p95), p99: Some(p99), max: Some(max) } => {
                write!(out, "p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
            }
            _ => out.write_str("none"),
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, errors, refused, seconds, windows, .. } = self;
        writeln!(out, "streams   {streams}, {refused} refused, {errors} failed")?;
        writeln!(out, "time      {seconds:.1} s")?;
        writeln!(out, "windows   {windows}, {:.1} a second", self.windows_per_second)?;
        writeln!(
            out,
            "audio     {:.1} s, {:.1} s a second",
            self.audio_seconds, self.audio_seconds_per_second
        )?;
        writeln!(out, "latency   {}", self.latency_ms)?;
        if self.late_ms.max.is_some() {
            writeln!(out, "sent late {}", self.late_ms)?;
        }
        if let (Some(cpu), Some(memory)) = (self.target_cpu_seconds, self.target_rss_mib) {
            let each = cpu * 1e3 / (*windows).max(1) as f64;
            writeln!(out, "target    {cpu:.2} s of CPU, {each:.2} ms a window, {memory:.0} MiB at most")?;
        }
        writeln!(out, "generator {:.2} s of CPU", self.load_cpu_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(latencies_ms: &[u64], result: Result<(), StreamError>) -> StreamOutcome {
        let sample = |ms: &u64| LatencySample { latency: Duration::from_millis(*ms), late: None };
        StreamOutcome {
            samples: latencies_ms.iter().map(sample).collect(),
            audio: Duration::from_secs(12),
            result,
        }
    }

    #[test]
    fn refusals_are_counted_apart_from_failures() {
        let refused = StreamError::status(tonic::Status::resource_exhausted("full"));
        let failed = StreamError::status(tonic::Status::unavailable("gone"));
        let outcomes =
            vec![outcome(&[10, 30], Ok(())), outcome(&[], Err(refused)), outcome(&[20], Err(failed))];
        let of = |seconds, mib: u64| ProcessUse {
            cpu: Duration::from_secs(seconds),
            peak_memory_bytes: mib << 20,
        };
        let target = Some((of(3, 50), of(8, 80)));
        let used =
            ResourceUse { elapsed: Duration::from_secs(6), load_cpu: Duration::from_millis(120), target };
        let report = LoadReport::new(outcomes, used);
        assert_eq!((report.streams, report.errors, report.refused, report.windows), (3, 1, 1, 3));
        assert_eq!((report.windows_per_second, report.audio_seconds_per_second), (0.5, 4.0));
        assert_eq!((report.latency_ms.p50, report.latency_ms.max), (Some(20.0), Some(30.0)));
        assert_eq!((report.target_cpu_seconds, report.target_rss_mib), (Some(5.0), Some(80.0)));
        assert!(report.failure.as_ref().unwrap().to_string().contains("Unavailable: gone"));
        let table = report.to_string();
        assert!(table.contains("3, 1 refused, 1 failed") && table.contains("1666.67 ms a window"), "{table}");
    }

    #[test]
    fn without_samples_the_keys_are_present_and_null() {
        let used = ResourceUse { elapsed: Duration::from_secs(1), load_cpu: Duration::ZERO, target: None };
        let report = LoadReport::new(vec![outcome(&[], Ok(()))], used);
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["latency_ms"]["p99"].is_null() && json["target_cpu_seconds"].is_null(), "{json}");
        assert_eq!(json["windows"], 0);
    }
}
