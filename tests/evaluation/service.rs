//! Evaluation gives the same numbers in this process and on a daemon over gRPC; unusable clips are skipped and counted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use affectd::config::{Config, LoadOptions};
use affectd::daemon::{self, Listeners};
use affectd::evaluation::Report;
use affectd::model::{Layout, Output as Kind};
use affectd::proto::evaluate_response::Response as Answer;
use affectd::proto::evaluation_service_client::EvaluationServiceClient;
use affectd::proto::{AudioFormat, ClipResult, Encoding, EvaluateRequest, LabelledClip};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Code;

use crate::support::UNUSED_ADDRESS;
use crate::support::model_fixture::tiny;

/// A WAV file of 16 bit samples.
pub fn wav(path: &Path, rate_hz: u32, channels: u16, samples: &[i16]) {
    let bytes = samples.len() as u32 * 2;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate_hz.to_le_bytes());
    file.extend((rate_hz * u32::from(channels) * 2).to_le_bytes());
    file.extend((channels * 2).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    std::fs::write(path, file).unwrap();
}

pub fn tone(rate_hz: u32, seconds: f64, hz: f64, level: f64) -> Vec<i16> {
    let sample = |at: usize| {
        let phase = at as f64 / f64::from(rate_hz) * hz * std::f64::consts::TAU;
        (phase.sin() * (phase * 0.013).cos() * level) as i16
    };
    (0..(f64::from(rate_hz) * seconds) as usize).map(sample).collect()
}

/// Clips of several rates, lengths and channels, four that cannot be used, and the manifest that names them.
pub fn dataset(folder: &Path) -> PathBuf {
    let clip = |name: &str, rate: u32, channels: u16, samples: &[i16]| {
        wav(&folder.join(name), rate, channels, samples);
    };
    clip("short.wav", 8000, 1, &tone(8000, 0.4, 300.0, 9000.0));
    clip("whole.wav", 8000, 1, &tone(8000, 1.0, 900.0, 20000.0));
    clip("long.wav", 24414, 1, &tone(24414, 2.3, 150.0, 3000.0));
    clip("stereo.wav", 16000, 2, &tone(16000, 2.4, 2500.0, 400.0));
    clip("quiet.wav", 8000, 1, &vec![0; 12000]);
    clip("surprise.wav", 8000, 1, &tone(8000, 1.0, 440.0, 9000.0));
    clip("tiny.wav", 8000, 1, &tone(8000, 0.01, 440.0, 9000.0));
    std::fs::write(folder.join("broken.wav"), "this is no sound").unwrap();
    let manifest = folder.join("clips.csv");
    let rows = "path,label,speaker\nshort.wav,anger,a\nwhole.wav,neutral,b\nlong.wav,sadness,a\n\
                stereo.wav,neutral,c\nquiet.wav,anger,b\nsurprise.wav,surprise,a\ntiny.wav,anger,c\n\
                broken.wav,anger,c\n";
    std::fs::write(&manifest, rows).unwrap();
    manifest
}

/// A daemon in this process, on free ports, with the tiny model.
struct Daemon {
    url: String,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<(), daemon::DaemonError>>,
}

fn config(model: &Path) -> Config {
    let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned(), "test".to_owned());
    let flags = vec![
        flag("model.path", model.to_str().unwrap()),
        flag("engine.device", "cpu"),
        flag("engine.sessions", "2"),
        flag("audio.max_file_bytes", "1000000"),
    ];
    affectd::config::load(&LoadOptions { flags, ..LoadOptions::default() }).unwrap().config
}

async fn daemon(model: &Path) -> Daemon {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let listeners = Listeners { grpc: bind().await.unwrap(), http: bind().await.unwrap(), audiosocket: None };
    let url = format!("grpc://{}", listeners.grpc.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let config = config(model);
    let ended =
        tokio::spawn(async move { daemon::run(config, listeners, async { drop(stopped.await) }).await });
    Daemon { url, stop, ended }
}

pub fn affectd(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.args(arguments).env_remove("AFFECTD_CONFIG").env_remove("RUST_LOG");
    command.output().unwrap()
}

pub fn report(output: &Output) -> Report {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    Report { seconds: 0.0, ..serde_json::from_slice(&output.stdout).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_and_remote_evaluation_give_the_same_report() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path(), Layout::Nct, Kind::Logits);
    let data = format!("manifest:{}", dataset(folder.path()).display());
    let daemon = daemon(&model).await;
    let csv = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (local_csv, remote_csv) = (csv("local.csv"), csv("remote.csv"));
    let (model, url) = (model.to_str().unwrap().to_owned(), daemon.url.clone());
    let [local, remote] = tokio::task::spawn_blocking(move || {
        let evaluate = |more: &[&str]| {
            affectd(&[&["evaluate", "--data", &data, "--format", "json", "--predictions"], more].concat())
        };
        [evaluate(&[&local_csv, "--model", &model]), evaluate(&[&remote_csv, "--server", &url])]
    })
    .await
    .unwrap();

    let (here, there) = (report(&local), report(&remote));
    assert_eq!(here, there);
    assert_eq!((here.clips, here.skipped, here.model.as_str()), (4, 2, "tiny@1.0.0"));
    assert_eq!(here.labels, ["anger", "neutral", "sadness"]);
    assert_eq!(here.confusion_matrix.iter().map(|row| row.iter().sum()).collect::<Vec<u64>>(), [1, 2, 1]);
    let rows = std::fs::read_to_string(csv("local.csv")).unwrap();
    assert!(rows.starts_with("id,truth,prediction,anger,neutral,sadness\n"), "{rows}");
    assert_eq!(rows.lines().count(), 5);
    assert_eq!(rows, std::fs::read_to_string(csv("remote.csv")).unwrap());

    let stderr = String::from_utf8(local.stderr).unwrap();
    assert_eq!(stderr, String::from_utf8(remote.stderr).unwrap());
    assert!(stderr.contains("1 clip unreadable (left out)") && stderr.contains("broken.wav"), "{stderr}");
    assert!(stderr.contains("1 clip without sound (left out)") && stderr.contains("quiet.wav"), "{stderr}");
    assert!(stderr.contains("skipped 1 clips: audio (first: tiny.wav: "), "{stderr}");
    assert!(stderr.contains("skipped 1 clips: label \"surprise\" is not among the model's"), "{stderr}");
    daemon.stop.send(()).unwrap();
    daemon.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_labels_restricts_the_answers_and_only_clips_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny(folder.path(), Layout::Nct, Kind::Logits);
    let data = format!("manifest:{}", dataset(folder.path()).display());
    let daemon = daemon(&model).await;
    let csv = folder.path().join("predictions.csv");
    let (model, url) = (model.to_str().unwrap().to_owned(), daemon.url.clone());
    let [all, clips, local, remote] = tokio::task::spawn_blocking(move || {
        let evaluate = |more: &[&str]| {
            let common = ["evaluate", "--data", &data, "--format", "json", "--predictions"];
            let output = affectd(&[&common[..], &[csv.to_str().unwrap()], more].concat());
            (report(&output), rows(&csv))
        };
        [
            evaluate(&["--model", &model]),
            evaluate(&["--model", &model, "--only-clips", "anger,neutral"]),
            evaluate(&["--model", &model, "--only-labels", "anger,neutral"]),
            evaluate(&["--server", &url, "--only-labels", "anger,neutral"]),
        ]
    })
    .await
    .unwrap();

    assert_eq!(local, remote);
    assert_eq!((all.0.clips, clips.0.clips, local.0.clips), (4, 3, 3));
    let kept: Vec<_> = all.1.iter().filter(|(id, _)| clips.1.iter().any(|(other, _)| other == id)).collect();
    assert_eq!(kept, clips.1.iter().collect::<Vec<_>>());
    for ((id, free), (same, restricted)) in clips.1.iter().zip(&local.1) {
        assert_eq!(id, same);
        assert_eq!(restricted[2], 0.0, "{id}");
        for label in 0..2 {
            let expected = free[label] / (free[0] + free[1]);
            assert!((restricted[label] - expected).abs() < 1e-5, "{id}: {free:?} {restricted:?}");
        }
    }
    assert!(local.0.confusion_matrix.iter().all(|row| row[2] == 0), "{:?}", local.0.confusion_matrix);
    daemon.stop.send(()).unwrap();
    daemon.ended.await.unwrap().unwrap();
}

/// Returns the ids and probabilities of a file of predictions.
fn rows(csv: &Path) -> Vec<(String, Vec<f64>)> {
    let text = std::fs::read_to_string(csv).unwrap();
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[0].to_owned(), fields[3..].iter().map(|value| value.parse().unwrap()).collect())
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn only_labels_and_only_clips_exclude_each_other() {
    let flags = ["evaluate", "--data", "manifest:x.csv", "--only-labels", "anger", "--only-clips", "anger"];
    let output = affectd(&flags);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("--only-clips") && error.contains("--only-labels"), "{error}");
}

fn request(label: &str, format: Option<AudioFormat>, audio: Vec<u8>) -> EvaluateRequest {
    let clip = LabelledClip {
        id: "x".into(),
        label: label.into(),
        format,
        audio: audio.into(),
        ..Default::default()
    };
    EvaluateRequest { clip: Some(clip) }
}

/// Sends the requests in one call: the results and the report, or the status.
async fn call(url: &str, requests: Vec<EvaluateRequest>) -> Result<Vec<Answer>, tonic::Status> {
    let mut client = EvaluationServiceClient::connect(url.replace("grpc", "http")).await.unwrap();
    let mut answers = client.evaluate(futures::stream::iter(requests)).await?.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.extend(answer.response);
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_request_is_refused_with_the_field_name() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&tiny(folder.path(), Layout::Ntc, Kind::Logits)).await;
    let file = Some(AudioFormat { encoding: Encoding::File.into(), ..Default::default() });
    let unknown = Some(AudioFormat { encoding: 99, sample_rate_hz: 8000, channels: 1 });
    let cases = [
        (EvaluateRequest { clip: None }, "clip: missing"),
        (request("", file, vec![]), "clip.label: missing"),
        (request("anger", None, vec![]), "clip.format: missing"),
        (request("anger", unknown, vec![]), "clip.format: "),
    ];
    for (bad, expected) in cases {
        let status = call(&daemon.url, vec![bad]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(expected), "{status}");
    }
    let large = call(&daemon.url, vec![request("anger", file, vec![0; 2_000_000])]).await.unwrap_err();
    assert_eq!(large.code(), Code::OutOfRange, "{large}");

    // Raw samples, three windows, and a clip that is skipped: results in order, then the report.
    let raw = Some(AudioFormat { encoding: Encoding::PcmS16le.into(), sample_rate_hz: 8000, channels: 1 });
    let samples: Vec<u8> =
        tone(8000, 2.0, 700.0, 9000.0).iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let good = vec![request("anger", raw, samples), request("anger", file, b"noise".to_vec())];
    let answers = call(&daemon.url, good).await.unwrap();
    let [Answer::Clip(scored), Answer::Clip(skipped), Answer::Report(report)] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!((scored.scores.len(), scored.skipped.as_str()), (3, ""));
    assert!((scored.scores.iter().map(|score| score.probability).sum::<f32>() - 1.0).abs() < 1e-4);
    assert!(skipped.skipped.starts_with("audio: ") && skipped.prediction.is_empty(), "{skipped:?}");
    assert_eq!((report.clips, report.skipped), (1, 1));
    daemon.stop.send(()).unwrap();
    daemon.ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_evaluation_ends_when_the_daemon_drains() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(&tiny(folder.path(), Layout::Ntc, Kind::Logits)).await;
    let mut client = EvaluationServiceClient::connect(daemon.url.replace("grpc", "http")).await.unwrap();
    let (clips, sent) = tokio::sync::mpsc::channel(1);
    let file = Some(AudioFormat { encoding: Encoding::File.into(), ..Default::default() });
    clips.send(request("anger", file, b"noise".to_vec())).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut answers = client.evaluate(requests).await.unwrap().into_inner();
    assert!(matches!(
        answers.message().await.unwrap().unwrap().response,
        Some(Answer::Clip(ClipResult { .. }))
    ));
    // The client keeps its sending side open.
    daemon.stop.send(()).unwrap();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::Unavailable);
    daemon.ended.await.unwrap().unwrap();
    drop(clips);
}

#[tokio::test]
async fn an_unreachable_server_is_reported_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = format!("manifest:{}", dataset(folder.path()).display());
    let evaluate = async |server: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_affectd"));
        let output = command.args(["evaluate", "--data", &data, "--server", server]).output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for scheme in ["grpc", "grpcs"] {
        let (code, refused) = evaluate(&format!("{scheme}://{UNUSED_ADDRESS}")).await;
        assert_eq!(code, Some(1), "{refused}");
        assert!(refused.contains(&format!("connect to {scheme}://{UNUSED_ADDRESS}: ")), "{refused}");
    }
    let (code, wrong) = evaluate("localhost").await;
    assert_eq!(code, Some(2), "{wrong}");
    assert!(wrong.contains("expected grpc://host:port"), "{wrong}");
}
