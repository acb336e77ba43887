//! `affectd load` against a real daemon: its counts equal those of the daemon at any pace.

use std::process::Stdio;

use serde_json::Value;
use tokio::time::timeout;

use crate::support::call_fixture::{metric, metric_reaches, tiny};
use crate::support::daemon::{Daemon, affectd};
use crate::support::load_report::{
    PATIENCE, PUBLISHED, WINDOWS_OF_2_S, assert_sound, load, number, report, text,
};

fn url(daemon: &Daemon) -> String {
    format!("grpc://{}", daemon.grpc)
}

#[tokio::test]
async fn at_real_time_every_window_of_the_audio_is_returned() {
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
async fn at_full_speed_both_sides_count_the_same_and_the_daemon_is_measured() {
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
async fn refused_streams_do_not_count_as_failures() {
    let (_folder, options) = tiny();
    let daemon = options.set("limits.max_streams", "2").start().await;
    let target = url(&daemon);
    let report = report(&["--target", &target, "--streams", "5", "--speed", "max", "--seconds", "2"]).await;
    assert_sound(&report, 5);
    assert_eq!(report["refused"], 3, "{report}");
    assert_eq!(number(&report, "windows"), metric(&daemon, PUBLISHED).await, "{report}");
}

#[tokio::test]
async fn a_daemon_that_exits_is_a_failure_with_a_report() {
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
    assert!(stderr.starts_with("error: 2 of 2 streams failed, first: the server answered"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[tokio::test]
async fn impossible_requests_are_reported_in_one_line() {
    let unreachable = "grpc://127.0.0.1:1";
    let run = ["--streams", "1", "--speed", "max", "--seconds", "1"];
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--target", unreachable], 1, "connect to grpc://127.0.0.1:1"),
        (&["--target", unreachable, "--target-pid", "4294967295"], 1, "process 4294967295 does not exist"),
        (&["--target", unreachable, "--file", "/nowhere.wav"], 1, "/nowhere.wav"),
        (&["--target", unreachable, "--encoding", "file"], 2, "--encoding file"),
        (
            &["--target", unreachable, "--output-topic", "t"],
            2,
            "--output-topic is only allowed with kafka://",
        ),
        (&["--target", "http://127.0.0.1:1"], 2, "http:// is none of grpc://, grpcs:// and kafka://"),
    ];
    for (arguments, code, part) in cases {
        let output = load(&[arguments, &run].concat()).await;
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(part), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    let none = load(&["--target", unreachable, "--streams", "0", "--speed", "max", "--seconds", "1"]).await;
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stderr).starts_with("error: invalid value '0' for '--streams <N>'"));
}
