//! Runs `affectd load` and reads its report.
//!
//! Input: the arguments of a run. Output: its output, or its report as JSON. Only [`assert_sound`] holds assertions.

use std::process::Output;

use serde_json::Value;
use tokio::time::timeout;

pub use super::PATIENCE;
use super::daemon::affectd;

/// The series of `/metrics` that counts published windows.
pub const PUBLISHED: &str = "affectd_windows_total{outcome=\"published\"}";

/// The tiny model's windows of 1 s every 0.5 s, in 2 s of audio.
pub const WINDOWS_OF_2_S: u64 = 3;

/// Runs the command to its end.
pub async fn load(arguments: &[&str]) -> Output {
    let running = affectd().arg("load").args(arguments).env_remove("RUST_LOG").output();
    timeout(PATIENCE, running).await.expect("it ends").unwrap()
}

/// The report of a run that must succeed.
pub async fn report(arguments: &[&str]) -> Value {
    let output = load(&[arguments, &["--format", "json"]].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "quiet in a pipe");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a process wrote, as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A number of the report.
pub fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {report}"))
}

/// The figures of a run in which all went well.
pub fn assert_sound(report: &Value, streams: u64) {
    assert_eq!((&report["streams"], &report["errors"]), (&streams.into(), &0.into()), "{report}");
    let percentiles = ["p50", "p95", "p99", "max"].map(|name| number(&report["latency_ms"], name));
    assert!(percentiles[0] > 0.0 && percentiles.is_sorted(), "{report}");
    let rate = number(report, "windows") / number(report, "seconds");
    assert!((rate / number(report, "windows_per_second") - 1.0).abs() < 0.01, "{report}");
    let rate = number(report, "audio_seconds") / number(report, "seconds");
    assert!((rate / number(report, "audio_seconds_per_second") - 1.0).abs() < 0.01, "{report}");
    assert!(number(report, "load_cpu_seconds") > 0.0, "{report}");
}
