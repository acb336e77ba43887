//! `affectd load` against a real daemon: what it counts is what the daemon did, at any pace, over gRPC and Kafka.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod call_fixture;
mod model_fixture;
mod support;

use std::process::{Output, Stdio};
use std::time::Duration;

use call_fixture::{metric, metric_reaches, tiny};
use serde_json::Value;
use support::daemon::{Daemon, affectd};
use support::kafka::Cluster;
use tokio::time::timeout;

/// Longer than the slowest machine takes.
const PATIENCE: Duration = Duration::from_secs(120);
const PUBLISHED: &str = "affectd_windows_total{outcome=\"published\"}";

async fn load(arguments: &[&str]) -> Output {
    let running = affectd().arg("load").args(arguments).env_remove("RUST_LOG").output();
    timeout(PATIENCE, running).await.expect("it ends").unwrap()
}

async fn report(arguments: &[&str]) -> Value {
    let output = load(&[arguments, &["--format", "json"]].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "quiet in a pipe");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn url(daemon: &Daemon) -> String {
    format!("grpc://{}", daemon.grpc)
}

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {report}"))
}

/// The figures of a run in which all went well.
fn assert_sound(report: &Value, streams: u64) {
    assert_eq!((&report["streams"], &report["errors"]), (&streams.into(), &0.into()), "{report}");
    let percentiles = ["p50", "p95", "p99", "max"].map(|name| number(&report["latency_ms"], name));
    assert!(percentiles[0] > 0.0 && percentiles.is_sorted(), "{report}");
    let rate = number(report, "windows") / number(report, "seconds");
    assert!((rate / number(report, "windows_per_second") - 1.0).abs() < 0.01, "{report}");
    let rate = number(report, "audio_seconds") / number(report, "seconds");
    assert!((rate / number(report, "audio_seconds_per_second") - 1.0).abs() < 0.01, "{report}");
    assert!(number(report, "load_cpu_seconds") > 0.0, "{report}");
}

/// The tiny model's windows of 1 s every 0.5 s, in 2 s of audio.
const WINDOWS_OF_2_S: u64 = 3;

#[tokio::test]
async fn at_real_time_every_window_that_the_audio_holds_comes_back() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let target = url(&daemon);
    let options = ["--target", &target, "--streams", "3", "--speed", "real-time", "--seconds", "2"];
    let pcm = report(&options).await;
    assert_sound(&pcm, 3);
    assert_eq!((&pcm["windows"], &pcm["refused"]), (&(3 * WINDOWS_OF_2_S).into(), &0.into()), "{pcm}");
    assert_eq!(number(&pcm, "audio_seconds"), 6.0);
    assert!(number(&pcm, "seconds") >= 2.0 && number(&pcm["late_ms"], "max") >= 0.0, "{pcm}");
    assert!(pcm["target_cpu_seconds"].is_null() && pcm["target_rss_mib"].is_null(), "{pcm}");

    // A stereo file has the windows of both channels.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/samples/call-stereo-mulaw.wav");
    let mulaw =
        report(&[&options[..], &["--encoding", "mulaw", "--file", file, "--chunk-ms", "20"]].concat()).await;
    assert_sound(&mulaw, 3);
    assert_eq!(mulaw["windows"], 2 * 3 * WINDOWS_OF_2_S, "{mulaw}");
}

#[tokio::test]
async fn at_full_speed_both_sides_count_the_same_and_the_daemon_is_watched() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let (target, pid) = (url(&daemon), daemon.pid().to_string());
    let options = ["--target", &target, "--streams", "5", "--speed", "max", "--seconds", "1"];
    let report = report(&[&options[..], &["--target-pid", &pid]].concat()).await;
    assert_sound(&report, 5);
    assert_eq!(number(&report, "windows"), metric(&daemon, PUBLISHED).await, "{report}");
    let chunks = metric(&daemon, "affectd_chunks_total{source=\"grpc\"}").await;
    assert!((number(&report, "audio_seconds") - chunks * 0.1).abs() < 0.01, "{report}, {chunks} chunks");
    assert!(report["late_ms"]["max"].is_null(), "nothing is due: {report}");
    assert!(number(&report, "target_cpu_seconds") > 0.0, "{report}");
    assert!(number(&report, "target_rss_mib") > 1.0, "{report}");

    let table = load(&[&options[..], &["--target-pid", &pid]].concat()).await;
    let table = text(&table.stdout);
    for part in ["5, 0 refused, 0 failed", "a second", "latency   p50", "ms a window", "generator"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}

#[tokio::test]
async fn streams_that_the_daemon_has_no_room_for_are_no_failures() {
    let (_folder, options) = tiny();
    let daemon = options.set("limits.max_streams", "2").start().await;
    let target = url(&daemon);
    let report = report(&["--target", &target, "--streams", "5", "--speed", "max", "--seconds", "2"]).await;
    assert_sound(&report, 5);
    assert_eq!(report["refused"], 3, "{report}");
    assert_eq!(number(&report, "windows"), metric(&daemon, PUBLISHED).await, "{report}");
}

#[tokio::test]
async fn a_daemon_that_goes_away_is_a_failure_with_a_report() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let target = url(&daemon);
    let mut command = affectd();
    command.args(["load", "--target", &target, "--streams", "2", "--speed", "real-time", "--seconds", "600"]);
    let child =
        command.args(["--format", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    metric_reaches(&daemon, PUBLISHED, |published| published >= 2.0).await;
    daemon.kill().await;
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["errors"], &report["refused"]), (&2.into(), &0.into()), "{report}");
    let stderr = text(&output.stderr);
    assert!(
        stderr.starts_with("error: 2 of 2 streams failed, the first one: the server answered"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[tokio::test]
async fn over_kafka_events_are_matched_with_their_streams() {
    let cluster = Cluster::start().await;
    for topic in ["affectd.audio", "other.emotions", "affectd.dead-letters"] {
        cluster.create_topic(topic, 2, &[]).await;
    }
    cluster.create_topic("affectd.progress", 2, &[("cleanup.policy", "compact")]).await;
    let (_folder, options) = tiny();
    let options = options.set("kafka.brokers", &cluster.brokers).set("kafka.output_topic", "other.emotions");
    let daemon = options.start().await;
    let target = format!("kafka://{}/affectd.audio", cluster.brokers);
    let options =
        ["--target", &target, "--output-topic", "other.emotions", "--streams", "3", "--seconds", "2"];

    let real_time = report(&[&options[..], &["--speed", "real-time"]].concat()).await;
    assert_sound(&real_time, 3);
    assert_eq!(real_time["windows"], 3 * WINDOWS_OF_2_S, "{real_time}");
    assert_eq!(number(&real_time, "audio_seconds"), 6.0);

    // A topic would take any amount: what holds a stream back is that its events come.
    let max = report(&[&options[..], &["--speed", "max"]].concat()).await;
    assert_sound(&max, 3);
    assert_eq!(number(&real_time, "windows") + number(&max, "windows"), metric(&daemon, PUBLISHED).await);
    let open_end = 3.0 * 30.0;
    assert!(number(&max, "audio_seconds") <= number(&max, "windows") * 0.5 + open_end, "{max}");
}

#[tokio::test]
async fn what_cannot_be_done_is_one_clear_line() {
    let nobody = "grpc://127.0.0.1:1";
    let run = ["--streams", "1", "--speed", "max", "--seconds", "1"];
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--target", nobody], 1, "connect to grpc://127.0.0.1:1"),
        (&["--target", nobody, "--target-pid", "4294967295"], 1, "process 4294967295: no such process"),
        (&["--target", nobody, "--file", "/nowhere.wav"], 1, "/nowhere.wav"),
        (&["--target", nobody, "--encoding", "file"], 2, "--encoding file"),
        (&["--target", nobody, "--output-topic", "t"], 2, "--output-topic is for kafka://"),
        (&["--target", "http://127.0.0.1:1"], 2, "http:// is neither grpc:// nor kafka://"),
    ];
    for (arguments, code, part) in cases {
        let output = load(&[arguments, &run].concat()).await;
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(part), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    let none = load(&["--target", nobody, "--streams", "0", "--speed", "max", "--seconds", "1"]).await;
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).starts_with("error: invalid value '0' for '--streams <N>'"));
}
