//! `affectd demo` and `affectd analyze`: the demo runs the daemon in its own process, and both give the same windows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use affectd::model;
use affectd::proto::EmotionEvent;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::PATIENCE;
use crate::support::model_fixture;

fn sample(name: &str) -> String {
    format!("{}/deploy/samples/{name}.wav", env!("CARGO_MANIFEST_DIR"))
}

/// The tiny model: 1 s windows every 0.5 s at 8 kHz.
fn tiny(folder: &tempfile::TempDir) -> PathBuf {
    model_fixture::tiny(folder.path(), model::Layout::Ntc, model::Output::Probabilities)
}

fn affectd(model: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.args(arguments).arg("--set").arg(format!("model.path={}", model.display()));
    command.env_remove("RUST_LOG").kill_on_drop(true);
    command
}

async fn run(model: &std::path::Path, arguments: &[&str]) -> Output {
    timeout(PATIENCE, affectd(model, arguments).output()).await.expect("it ends").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn events(output: &Output) -> Vec<EmotionEvent> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_demo_shows_events_of_every_sample_and_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&tiny(&folder), &["demo", "--speed", "max"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    for name in
        ["slow-flat", "fast-loud", "high-lively", "low-quiet", "call-stereo-mulaw", "muted-then-speech"]
    {
        assert!(stdout.contains(&format!("  {name}  ")), "{name} is missing in {stdout}");
    }
    assert!(stdout.contains("56.3 s of audio") && stdout.contains("× real time; latency p50"), "{stdout}");
    assert!(stdout.lines().all(|line| line.chars().count() <= 80), "{stdout}");
    assert!(!stdout.contains('\x1b'), "a pipe gets no colours");
    assert_eq!(text(&output.stderr), "");
}

#[tokio::test]
async fn the_demo_is_unsure_of_synthetic_speech() {
    let demo = |arguments: &'static [&str]| async move {
        let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
        command.args(["demo", "--speed", "max", "--format", "jsonl"]).args(arguments).kill_on_drop(true);
        events(&timeout(PATIENCE, command.output()).await.expect("it ends").unwrap())
    };
    let uncertain =
        |events: &[EmotionEvent]| events.iter().filter(|event| event.emotion == "uncertain").count();
    let found = demo(&[]).await;
    assert!(uncertain(&found) * 2 > found.len(), "{} of {} are uncertain", uncertain(&found), found.len());
    let surest = found.iter().max_by(|a, b| a.confidence.total_cmp(&b.confidence)).unwrap();
    assert!(surest.confidence < 0.9, "{surest:?}");
    let all = demo(&["--set", "publish.uncertain_below=0"]).await;
    assert_eq!((all.len(), uncertain(&all)), (found.len(), 0), "the configuration overrides the demo");
}

#[tokio::test]
async fn digital_silence_of_the_demo_has_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let found = events(&run(&tiny(&folder), &["demo", "--speed", "max", "--format", "jsonl"]).await);
    let muted = found.iter().filter(|event| event.stream_id == "muted-then-speech");
    let first = muted.map(|event| event.window_index).min().unwrap();
    // Windows of 1 s every 0.5 s. The resampler reaches a little into the last window before 4 s.
    assert!((6..=7).contains(&first), "the first event is that of window {first}");
}

#[tokio::test]
async fn the_demo_and_analyze_give_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(&folder);
    let file = sample("angry");
    let served = events(&run(&model, &["demo", &file, "--speed", "max", "--format", "jsonl"]).await);
    let found = events(&run(&model, &["analyze", &file, "--format", "jsonl"]).await);
    assert_eq!(found[0].stream_id, file);
    let by_window = |events: &[EmotionEvent]| -> BTreeMap<(u32, u64), EmotionEvent> {
        events.iter().map(|event| ((event.channel, event.window_index), event.clone())).collect()
    };
    let (served, found) = (by_window(&served), by_window(&found));
    // 7.597 s: windows at 0, 0.5, … 6.5 s, and the last 0.597 s are shorter than window.min_length.
    assert_eq!(found.len(), 14);
    assert_eq!(served.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (a, b) in served.values().zip(found.values()) {
        assert_eq!((&a.emotion, a.start, a.end, a.partial), (&b.emotion, b.start, b.end, b.partial));
        for (x, y) in a.scores.iter().zip(&b.scores) {
            assert!((x.probability - y.probability).abs() < 1e-5, "{x:?} is not {y:?}");
        }
    }
}

#[tokio::test]
async fn analyze_reads_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let (model, file) = (tiny(&folder), sample("angry"));
    let named = events(&run(&model, &["analyze", &file, "--format", "jsonl"]).await);
    for stdin in [Stdio::from(std::fs::File::open(&file).unwrap()), piped(&file)] {
        let mut command = affectd(&model, &["analyze", "-", "--format", "jsonl"]);
        let output = timeout(PATIENCE, command.stdin(stdin).output()).await.expect("it ends").unwrap();
        let found: Vec<EmotionEvent> = events(&output)
            .into_iter()
            .zip(&named)
            .map(|(event, named)| {
                let (stream_id, event_id) = (named.stream_id.clone(), named.event_id.clone());
                EmotionEvent { stream_id, event_id, published_at: named.published_at, ..event }
            })
            .collect();
        assert_eq!(found, named);
    }
}

/// The bytes of a file from a pipe.
fn piped(file: &str) -> Stdio {
    let mut cat = std::process::Command::new("cat").arg(file).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = cat.stdout.take().unwrap();
    std::thread::spawn(move || cat.wait());
    stdout.into()
}

#[tokio::test]
async fn analyze_writes_tables_and_csv_and_continues_after_a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(&folder);
    let stereo = sample("call-stereo-mulaw");
    let table = run(&model, &["analyze", "/nowhere.wav", &stereo]).await;
    assert_eq!(table.status.code(), Some(1));
    assert!(text(&table.stderr).starts_with("error: /nowhere.wav: "), "{}", text(&table.stderr));
    let stdout = text(&table.stdout);
    assert!(stdout.starts_with(&format!("{stereo}: 14.5 s, 8000 Hz, 2 channels\n")), "{stdout}");
    assert!(stdout.lines().skip(1).all(|line| line.chars().count() <= 80), "{stdout}");

    // The first recording has one channel, and two names.
    let names = ["--channel-names", "agent,customer"];
    let named = run(&model, &[&["analyze", &sample("angry"), &stereo][..], &names].concat()).await;
    assert_eq!(named.status.code(), Some(1));
    assert!(text(&named.stderr).contains("channel_names"), "{}", text(&named.stderr));
    assert!(text(&named.stdout).contains("agent"), "the second one is analysed: {}", text(&named.stdout));

    let csv = run(&model, &["analyze", &stereo, "--format", "csv"]).await;
    let stdout = text(&csv.stdout);
    let mut rows = stdout.lines();
    assert_eq!(
        rows.next(),
        Some(
            "stream_id,channel,channel_name,window_index,start_seconds,end_seconds,partial,emotion,confidence,\
             anger,neutral,sadness"
        )
    );
    let channels = |wanted: &str| stdout.lines().filter(|row| row.split(',').nth(1) == Some(wanted)).count();
    assert_eq!((channels("0"), channels("1")), (28, 28));
}

#[tokio::test]
async fn channel_names_and_policy_are_set_by_flags_and_by_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(&folder);
    let stereo = sample("call-stereo-mulaw");
    let named = ["--channel-names", "agent,customer"];
    for command in ["analyze", "demo"] {
        for (flags, expected) in [
            (&named[..], &[(0, "agent"), (1, "customer")][..]),
            (&["--channels", "mix"], &[(0, "")]),
            (&["--channels", "first", named[0], named[1]], &[(0, "agent")]),
            (&["--set", "audio.channels=mix"], &[(0, "")]),
        ] {
            let speed: &[&str] = if command == "demo" { &["--speed", "max"] } else { &[] };
            let arguments = [&[command, &stereo, "--format", "jsonl"], speed, flags].concat();
            let events = events(&run(&model, &arguments).await);
            let found: std::collections::BTreeSet<(u32, &str)> =
                events.iter().map(|event| (event.channel, event.channel_name.as_str())).collect();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), expected, "{command} {flags:?}");
        }
        let wrong = run(&model, &[command, &stereo, "--channel-names", "agent"]).await;
        assert_eq!(wrong.status.code(), Some(1));
        let stderr = text(&wrong.stderr);
        assert!(stderr.contains("channel_names") && stderr.contains("2 channels"), "{stderr}");
    }
}

#[tokio::test]
async fn a_hop_that_does_not_fit_the_model_is_bad_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(&folder);
    for command in ["analyze", "demo"] {
        let output = run(&model, &[command, &sample("sad"), "--set", "window.hop=333ms"]).await;
        assert_eq!(output.status.code(), Some(64), "{command}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("window.hop"), "{}", text(&output.stderr));
    }
}

#[tokio::test]
async fn the_demo_keeps_running_on_request_and_ends_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = affectd(&tiny(&folder), &["demo", &sample("sad"), "--speed", "max", "--keep-running"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with("still running until Ctrl-C: gRPC grpc://127.0.0.1:") {
                return;
            }
        }
        panic!("it ended before it reported that it keeps running");
    };
    timeout(PATIENCE, running).await.expect("it reports that it keeps running");
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let status = timeout(PATIENCE, child.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0));
}
