//! Silent windows in the whole daemon: no event, credit or order is lost.

use std::path::Path;

use affectd::model::{Layout, Output};

use crate::support::call_fixture::{bounded, chunk, connect, last, noise, recognize, telephone, tiny};
use crate::support::daemon::{Daemon, Options, affectd};
use crate::support::gated_talk::{PARTS, chunks, model, speech_windows, windows};
use crate::support::model_fixture;
use crate::support::speech_fixture::Part::Silence;
use crate::support::speech_fixture::{pcm16, talk};

fn options(folder: &Path) -> Options {
    Options::new()
        .set("model.path", model(folder).to_str().unwrap())
        .set("engine.device", "cpu")
        .set("vad.mode", "gate")
}

async fn metric(daemon: &Daemon, name: &str) -> f64 {
    let (_, text) = daemon.get("/metrics").await.unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn over_grpc_only_windows_of_speech_give_events() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(folder.path()).start().await;
    let channel = connect(&daemon).await;
    let events = recognize(&channel, chunks(PARTS)).await.good();
    let windows = windows(PARTS);
    let indexes: Vec<u64> = events.iter().map(|event| event.window_index).collect();
    assert_eq!(indexes, speech_windows(&windows));
    // Speech from 2.3 s to 5.3 s and from 9.4 s to 11.9 s: windows well inside it, and well outside.
    assert!([5, 6, 7, 8, 19, 20, 21].iter().all(|index| indexes.contains(index)), "{indexes:?}");
    assert!([0, 1, 2, 12, 13, 14, 15, 16].iter().all(|index| !indexes.contains(index)), "{indexes:?}");
    assert!(events.iter().all(|event| event.scores.len() == 3));
    let silent = (windows.len() - indexes.len()) as f64;
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"silent\"}").await, silent);
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"published\"}").await, indexes.len() as f64);

    // Three times as many silent windows as a call has credits: all credits are returned, or the call would never end.
    let quiet = recognize(&channel, chunks(&[Silence(120_000)])).await.good();
    assert_eq!(quiet, []);
}

#[tokio::test]
async fn by_default_digital_silence_gives_no_event() {
    let (_folder, options) = tiny();
    let daemon = options.start().await;
    let channel = connect(&daemon).await;
    // Windows of 1 s every 0.5 s; the first two contain noise.
    let audio = [noise(8_000, 1), vec![0xff; 16_000]].concat();
    let events = recognize(&channel, vec![last(chunk("call", telephone(), audio))]).await.good();
    assert_eq!(events.iter().map(|event| event.window_index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"silent\"}").await, 3.0);
}

#[tokio::test]
async fn published_silence_keeps_the_window_order_and_runs_no_inference() {
    let folder = tempfile::tempdir().unwrap();
    // Windows of speech wait for their batch while silent windows are published.
    let options = options(folder.path()).set("vad.publish_silence", "true").set("batch.max_delay", "50ms");
    let daemon = options.set("publish.uncertain_below", "0.999").start().await;
    let channel = connect(&daemon).await;
    let windows = windows(PARTS);
    let calls = (0..4).map(|number| {
        let mut chunks = chunks(PARTS);
        chunks[0].stream_id = format!("call-{number}");
        recognize(&channel, chunks)
    });
    for outcome in futures::future::join_all(calls).await {
        let events = outcome.good();
        let published: Vec<(u64, bool)> =
            events.iter().map(|event| (event.window_index, event.emotion == "silence")).collect();
        assert_eq!(published, windows);
        for event in events.iter().filter(|event| event.emotion == "silence") {
            assert!(event.scores.is_empty() && event.confidence == 0.0 && !event.event_id.is_empty());
            assert_eq!(event.model, "tiny@1.0.0");
        }
    }
    let silent = 4.0 * (windows.len() - speech_windows(&windows).len()) as f64;
    let scored = 4.0 * speech_windows(&windows).len() as f64;
    assert_eq!(metric(&daemon, "affectd_windows_total{outcome=\"silent\"}").await, silent);
    assert_eq!(metric(&daemon, "affectd_events_total{emotion=\"silence\"}").await, silent);
    assert_eq!(metric(&daemon, "affectd_batch_size_sum").await, scored, "windows that the model scored");
}

#[tokio::test]
async fn a_shadow_scores_only_windows_of_speech() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path());
    let config = folder.path().join("affectd.toml");
    let text = format!(
        "[vad]\nmode = \"gate\"\npublish_silence = true\n[[model]]\npath = {path:?}\n[[model]]\npath = {path:?}\nshadow = true\n"
    );
    std::fs::write(&config, text).unwrap();
    let daemon = Options::new().config(config).start().await;
    let events = recognize(&connect(&daemon).await, chunks(PARTS)).await.good();
    assert_eq!(events.len(), windows(PARTS).len());
    let agreed = "affectd_shadow_windows_total{model=\"tiny@1.0.0\",outcome=\"agreed\"}";
    let scored = speech_windows(&windows(PARTS)).len() as f64;
    // The last results of the shadow may arrive after those of the stream.
    let all = async {
        while metric(&daemon, agreed).await < scored {
            tokio::task::yield_now().await;
        }
    };
    bounded("the results of the shadow", all).await;
    assert_eq!(metric(&daemon, agreed).await, scored);
}

#[tokio::test]
async fn analyze_shows_silence_and_writes_it_if_it_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let (model, file) = (model(folder.path()), folder.path().join("talk.wav"));
    std::fs::write(&file, wav(&pcm16(&talk(PARTS)))).unwrap();
    let run = async |arguments: &[&str]| {
        let mut command = affectd();
        command.args([
            "analyze",
            file.to_str().unwrap(),
            "--model",
            model.to_str().unwrap(),
            "--set",
            "vad.mode=gate",
        ]);
        let output = command.args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (all, speech) = (windows(PARTS), speech_windows(&windows(PARTS)));
    let silence = |text: &str| text.lines().filter(|line| line.contains("silence")).count();

    let table = run(&[]).await;
    // The file, the column names, the letters before the first bar, and one row per window.
    assert_eq!(
        (table.lines().count(), silence(&table)),
        (3 + all.len(), all.len() - speech.len()),
        "{table}"
    );
    let json = run(&["--format", "jsonl"]).await;
    assert_eq!((json.lines().count(), silence(&json)), (speech.len(), 0), "{json}");
    let published = ["--set", "vad.publish_silence=true", "--format"];
    let json = run(&[&published[..], &["jsonl"]].concat()).await;
    assert_eq!((json.lines().count(), silence(&json)), (all.len(), all.len() - speech.len()), "{json}");
    let csv = run(&[&published[..], &["csv"]].concat()).await;
    assert!(
        csv.lines().all(|row| row.split(',').count() == 12) && csv.lines().count() == 1 + all.len(),
        "{csv}"
    );
    assert!(csv.lines().nth(1).unwrap().ends_with(",silence,0,,,"), "{csv}");
}

#[tokio::test]
async fn an_invalid_gate_or_one_that_does_not_fit_the_model_is_a_configuration_error() {
    let folder = tempfile::tempdir().unwrap();
    let telephone = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Probabilities);
    let path = format!("model.path={}", telephone.display());
    for (setting, wanted) in [
        ("vad.mode=gate", &["`vad.mode`: \"gate\"", "8000 Hz", "\"off\"", "16000 Hz"][..]),
        ("vad.mode=on", &["`vad.mode`: \"on\"", "one of off, digital-silence, gate"]),
        ("vad.min_speech=1.5", &["`vad.min_speech`", "1.5", "a number from 0 to 1"]),
        ("vad.publish_silence=maybe", &["`vad.publish_silence`: \"maybe\"", "true or false"]),
    ] {
        let mut command = affectd();
        command.args(["serve", "--set", &path, "--set", setting]);
        let output = bounded("a refusal", command.output()).await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{setting}: {text}");
        assert!(wanted.iter().all(|part| text.contains(part)), "{setting}: {text}");
    }
}

/// A WAV file of 16 kHz, 16 bits, one channel.
fn wav(audio: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let length = audio.len() as u32;
    file.extend_from_slice(b"RIFF");
    file.extend((36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(16_000_u32.to_le_bytes());
    file.extend(32_000_u32.to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend_from_slice(audio);
    file
}
