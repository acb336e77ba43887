//! `affectd send` to a gRPC server that records what it receives: chunks sent, events printed, and refusals.

use std::path::PathBuf;
use std::pin::Pin;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use affectd::proto::recognition_service_server::{RecognitionService, RecognitionServiceServer};
use affectd::proto::{AudioChunk, EmotionEvent, RecognizeRequest, RecognizeResponse};
use futures::Stream;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use crate::support::PATIENCE;

const RATE_HZ: u32 = 8_000;

/// Returns an event for each chunk, which ends where the chunk ends, and records the chunk.
#[derive(Clone, Default)]
struct Recorder {
    chunks: Arc<Mutex<Vec<AudioChunk>>>,
}

type Events = Pin<Box<dyn Stream<Item = Result<RecognizeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RecognitionService for Recorder {
    type RecognizeStream = Events;

    async fn recognize(
        &self,
        call: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Events>, Status> {
        let (chunks, mut incoming) = (Arc::clone(&self.chunks), call.into_inner());
        let events = async_stream::try_stream! {
            while let Some(request) = incoming.message().await? {
                let chunk = request.chunk.unwrap_or_default();
                if chunk.stream_id.contains("refused") {
                    Err(Status::invalid_argument("chunk.format: not today"))?;
                }
                let samples = chunk.first_sample.unwrap_or(0) + chunk.audio.len() as u64 / 2;
                let end = Duration::from_secs_f64(samples as f64 / f64::from(RATE_HZ));
                let event = EmotionEvent {
                    stream_id: chunk.stream_id.clone(),
                    end: Some(end.into()),
                    emotion: "calm".into(),
                    ..Default::default()
                };
                chunks.lock().unwrap().push(chunk);
                yield RecognizeResponse { event: Some(event) };
            }
        };
        Ok(Response::new(Box::pin(events)))
    }
}

async fn server() -> (Recorder, String) {
    let (recorder, listener) = (Recorder::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    let service = RecognitionServiceServer::new(recorder.clone());
    let serving = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    (recorder, url)
}

/// A mono 16-bit WAV file whose samples count up.
fn wav(folder: &tempfile::TempDir, name: &str, frames: u32) -> PathBuf {
    let path = folder.path().join(name);
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + frames * 2).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(RATE_HZ.to_le_bytes());
    bytes.extend((RATE_HZ * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((frames * 2).to_le_bytes());
    (0..frames).for_each(|n| bytes.extend((n as u16 as i16).to_le_bytes()));
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn send(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    let running = command.arg("send").args(arguments).kill_on_drop(true).output();
    timeout(PATIENCE, running).await.expect("it ends").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_recording_is_sent_completely_and_its_events_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = wav(&folder, "one.wav", 2_100);
    let (recorder, url) = server().await;
    let file_name = file.to_str().unwrap();
    let sent =
        send(&[file_name, "--to", &url, "--speed", "max", "--format", "jsonl", "--stream-id", "s"]).await;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let events: Vec<EmotionEvent> =
        text(&sent.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 3);
    let chunks = recorder.chunks.lock().unwrap().clone();
    let firsts: Vec<Option<u64>> = chunks.iter().map(|chunk| chunk.first_sample).collect();
    assert_eq!(firsts, [Some(0), Some(800), Some(1_600)]);
    assert_eq!(chunks.iter().map(|chunk| chunk.last).collect::<Vec<_>>(), [false, false, true]);
    let audio: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.audio.to_vec()).collect();
    assert_eq!(audio, std::fs::read(&file).unwrap()[44..]);
    assert!(chunks.iter().all(|chunk| chunk.stream_id == "s" && chunk.captured_at.is_some()));
}

#[tokio::test]
async fn the_speed_multiplies_the_real_time_pace() {
    let folder = tempfile::tempdir().unwrap();
    let file = wav(&folder, "one.wav", 4 * RATE_HZ);
    let (recorder, url) = server().await;
    let start = Instant::now();
    let sent = send(&[file.to_str().unwrap(), "--to", &url, "--speed", "4", "--no-first-sample"]).await;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    let stdout = text(&sent.stdout);
    assert!(stdout.contains("4.0 s of audio, 40 windows") && stdout.contains("latency p50"), "{stdout}");
    let chunks = recorder.chunks.lock().unwrap().clone();
    assert!(chunks.iter().all(|chunk| chunk.first_sample.is_none()));
    let times: Vec<_> = chunks.iter().map(|chunk| chunk.captured_at.unwrap()).collect();
    let seconds = |index: usize| times[index].seconds as f64 + f64::from(times[index].nanos) * 1e-9;
    assert!(seconds(39) - seconds(0) >= 0.9, "39 chunks of 25 ms after the first one");
}

#[tokio::test]
async fn a_refused_stream_is_named_and_the_other_stream_completes() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (wav(&folder, "good.wav", 1_600), wav(&folder, "refused.wav", 1_600));
    let (recorder, url) = server().await;
    let files = [bad.to_str().unwrap(), good.to_str().unwrap()];
    let sent = send(&[files[0], files[1], "--to", &url, "--speed", "max"]).await;
    assert_eq!(sent.status.code(), Some(1));
    let stderr = text(&sent.stderr);
    assert!(stderr.starts_with("error: stream refused-"), "{stderr}");
    assert!(stderr.contains("InvalidArgument: chunk.format: not today"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let stdout = text(&sent.stdout);
    assert!(stdout.contains("0.2 s of audio") && stdout.trim_end().ends_with("; 1 failed"), "{stdout}");
    assert_eq!(recorder.chunks.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn input_that_cannot_be_sent_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = wav(&folder, "one.wav", 100);
    let note = folder.path().join("note.wav");
    std::fs::write(&note, "dear all").unwrap();
    let (file, note) = (file.to_str().unwrap(), note.to_str().unwrap());
    let cases: [(&[&str], i32, &str); 5] = [
        (&[file, "--to", "grpc://127.0.0.1:1"], 1, "connect to grpc://127.0.0.1:1"),
        (&[note, "--to", "grpc://127.0.0.1:1"], 1, "note.wav"),
        (&["/nowhere.wav", "--to", "grpc://127.0.0.1:1"], 1, "/nowhere.wav"),
        (&[file, "--to", "grpc://127.0.0.1:1", "--raw"], 2, "--raw is only allowed with kafka://"),
        (
            &[file, "--to", "kafka://127.0.0.1:1", "--raw", "--encoding", "pcm_f32le"],
            2,
            "expected --encoding",
        ),
    ];
    for (arguments, code, part) in cases {
        let output = send(arguments).await;
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(part), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[tokio::test]
async fn totals_are_printed_only_where_a_stream_completed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, url) = server().await;
    let bad = wav(&folder, "refused.wav", 1_600);
    let sent = send(&[bad.to_str().unwrap(), "--to", &url, "--speed", "max"]).await;
    assert_eq!((sent.status.code(), text(&sent.stdout).as_str()), (Some(1), ""));
}

#[tokio::test]
async fn a_folder_is_sent_with_the_requested_model_and_without_events_on_stdout() {
    let folder = tempfile::tempdir().unwrap();
    wav(&folder, "one.wav", 1_600);
    wav(&folder, "two.wav", 800);
    let (recorder, url) = server().await;
    let path = folder.path().to_str().unwrap();
    let sent =
        send(&[path, "--to", &url, "--speed", "max", "--quiet", "--model", "m", "--stream-id", "s"]).await;
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    let stdout = text(&sent.stdout);
    assert!(stdout.starts_with("0.3 s of audio, 3 windows") && stdout.lines().count() == 1, "{stdout}");
    let chunks = recorder.chunks.lock().unwrap().clone();
    assert!(chunks.iter().all(|chunk| chunk.model == "m"));
    let of = |id: &str| chunks.iter().filter(|chunk| chunk.stream_id == id).count();
    assert_eq!((of("s-1"), of("s-2")), (2, 1));
}

#[tokio::test]
async fn standard_input_is_read_to_its_end_also_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = wav(&folder, "one.wav", 1_600);
    let (recorder, url) = server().await;
    for encoding in ["pcm_s16le", "file"] {
        let input = std::fs::File::open(&file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
        command.args(["send", "-", "--to", &url, "--speed", "max", "--encoding", encoding]).stdin(input);
        let sent = timeout(PATIENCE, command.kill_on_drop(true).output()).await.expect("it ends").unwrap();
        assert!(sent.status.success(), "{}", text(&sent.stderr));
        let chunks = std::mem::take(&mut *recorder.chunks.lock().unwrap());
        let audio: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.audio.to_vec()).collect();
        let skipped = if encoding == "file" { 0 } else { 44 };
        assert_eq!(audio, std::fs::read(&file).unwrap()[skipped..]);
        assert!(chunks[0].stream_id.starts_with("stdin-"));
    }
}
