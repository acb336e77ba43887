//! Summaries of calls over gRPC and HTTP, and the computation beside that of the Python package `call-ai-metrics`.
//!
//! The comparison needs a Python with `call-ai-metrics` 0.1.0: `python3`, or the interpreter that `AFFECTD_TEST_PYTHON` names. Without it the
//! test reports that it did not run.

use std::io::Write;
use std::process::{Command, Stdio};

use affectd::calls::talk::{Span, interruptions, overlaps, total};
use affectd::proto::call_service_client::CallServiceClient;
use affectd::proto::{
    AudioChunk, CallSummary, ChannelSummary, Encoding, GetCallRequest, ListCallsRequest, WatchCallsRequest,
};
use tonic::Code;

use crate::support::call_fixture::{
    Call, bounded, chunk, connect, format, last, more, recognize, telephone, tiny,
};
use crate::support::daemon::Options;
use crate::support::gated_talk::model;
use crate::support::speech_fixture::Part::{Silence, Speech};
use crate::support::speech_fixture::talk;
use crate::support::websocket_client::summary;

fn options(folder: &std::path::Path) -> Options {
    let options = Options::new().set("model.path", model(folder).to_str().unwrap());
    options.set("engine.device", "cpu").set("calls.linger", "300ms")
}

/// Two channels at 16 kHz in chunks of 100 ms, of a stream of the call `talk`.
fn stereo(stream_id: &str, customer: &[f32], agent: &[f32]) -> Vec<AudioChunk> {
    let samples = customer.iter().zip(agent).flat_map(|(one, other)| [*one, *other]);
    let bytes: Vec<u8> = samples.flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect();
    let mut chunks: Vec<AudioChunk> = bytes.chunks(6_400).map(more).collect();
    let first = chunk(stream_id, format(Encoding::PcmS16le, 16_000, 2), chunks[0].audio.clone());
    chunks[0] = AudioChunk {
        attributes: [("call_id".to_owned(), "talk".to_owned()), ("queue".to_owned(), "sales".to_owned())]
            .into(),
        channel_names: vec!["customer".to_owned(), "agent".to_owned()],
        ..first
    };
    *chunks.last_mut().unwrap() = last(chunks.last().unwrap().clone());
    chunks
}

fn seconds(time: &Option<pbjson_types::Duration>) -> f64 {
    let time = time.as_ref().expect("a time");
    time.seconds as f64 + f64::from(time.nanos) / 1e9
}

fn channel<'a>(summary: &'a CallSummary, name: &str) -> &'a ChannelSummary {
    summary.channels.iter().find(|channel| channel.name == name).unwrap()
}

#[tokio::test]
async fn a_call_of_two_channels_has_a_summary_of_who_spoke_when() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(folder.path()).start().await;
    let connection = connect(&daemon).await;
    // The customer speaks from 1 to 5 s and from 12 to 15 s, the agent from 4 to 8 s: an overlap of one second, then four seconds of silence.
    let customer = talk(&[Silence(1_000), Speech(4_000), Silence(7_000), Speech(3_000), Silence(1_000)]);
    let agent = talk(&[Silence(4_000), Speech(4_000), Silence(8_000)]);
    let mut calls = CallServiceClient::new(connection.clone());
    let mut watch = calls.watch_calls(WatchCallsRequest {}).await.unwrap().into_inner();
    let events = recognize(&connection, stereo("one", &customer, &agent)).await.good();

    let found = summary(&daemon, "talk").await;
    assert_eq!((found.stream_ids.as_slice(), found.source.as_str()), (&["one".to_owned()][..], "grpc"));
    assert_eq!((seconds(&found.duration), found.end_reason.as_str()), (16.0, "completed"));
    assert_eq!((found.attributes["queue"].as_str(), found.model.as_str()), ("sales", "tiny@1.0.0"));
    let (customer, agent) = (channel(&found, "customer"), channel(&found, "agent"));
    for (channel, spoken) in [(customer, 7.0), (agent, 4.0)] {
        assert!((seconds(&channel.talk_time) - spoken).abs() < 1.0, "{channel:?}");
        let windows = events.iter().filter(|event| event.channel_name == channel.name).count();
        assert_eq!(channel.windows, windows as u64);
        let shares: f64 = channel.emotion_shares.iter().map(|it| it.share).sum();
        assert!((shares - 1.0).abs() < 1e-9 && !channel.dominant_emotion.is_empty(), "{channel:?}");
        assert_eq!(channel.valence_by_quarter.len(), 4);
        let lufs = channel.loudness.as_ref().unwrap().integrated_lufs.unwrap();
        assert!((-45.0..-10.0).contains(&lufs), "{lufs}");
    }
    assert!((customer.talk_share.unwrap() + agent.talk_share.unwrap() - 1.0).abs() < 1e-9);
    assert!((0.5..1.5).contains(&seconds(&found.overlap_total)), "{:?}", found.overlap_total);
    let interruption = &found.interruptions[0];
    assert_eq!((interruption.by.as_str(), interruption.over.as_str()), ("agent", "customer"));
    let pauses = &found.non_talk.as_ref().unwrap().instances;
    assert_eq!(pauses.len(), 1, "{pauses:?}");
    assert!((seconds(&pauses[0].start) - 8.0).abs() < 0.5 && (seconds(&pauses[0].end) - 12.0).abs() < 0.5);

    let watched = bounded("a watched call", watch.message()).await.unwrap().unwrap();
    let got = calls.get_call(GetCallRequest { call_id: "talk".to_owned() }).await.unwrap().into_inner();
    assert_eq!((watched.call.as_ref(), watched.missed), (Some(&got), 0));
    assert_eq!((&got.summary_id, &got.interruptions), (&found.summary_id, &found.interruptions));
    let listed = calls.list_calls(ListCallsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.calls, [got]);
    let missing = calls.get_call(GetCallRequest { call_id: "none".to_owned() }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn streams_of_one_call_are_one_summary_and_identical_channels_are_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = options(folder.path()).set("calls.linger", "2s").start().await;
    let connection = connect(&daemon).await;
    let voice = talk(&[Speech(3_000), Silence(1_000)]);
    recognize(&connection, stereo("one", &voice, &voice)).await.good();
    recognize(&connection, stereo("two", &voice, &voice)).await.good();
    let found = summary(&daemon, "talk").await;
    assert_eq!(found.stream_ids, ["one", "two"]);
    assert!(found.audio.as_ref().unwrap().identical_channels);
    assert_eq!((seconds(&found.overlap_total), found.interruptions.len()), (0.0, 0));
    assert!(
        seconds(&found.duration) >= 4.0 && seconds(&channel(&found, "agent").talk_time) > 4.0,
        "{found:?}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_call_as_disconnected() {
    let (_folder, options) = tiny();
    let daemon = options.set("calls.summaries", "all").set("calls.linger", "0s").start().await;
    // The runtime holds the client's connection: its end closes the socket in the middle of the call.
    let client = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = daemon.grpc_url();
    let begun = client.spawn(async move {
        let channel = tonic::transport::Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        let mut call = Call::begin(&channel, chunk("left", telephone(), vec![0x55; 16_000])).await;
        call.event().await;
        call
    });
    let call = bounded("an event", begun).await.unwrap();
    client.shutdown_background();
    let found = summary(&daemon, "left").await;
    assert_eq!((found.call_id.as_str(), found.end_reason.as_str()), ("left", "disconnected"));
    drop(call);
    let only = &found.channels[0];
    assert!(only.talk_time.is_none() && only.windows >= 1, "speech is detected at 16 kHz only: {only:?}");
}

#[tokio::test]
async fn streams_without_a_call_id_have_no_summary_unless_all_have() {
    let (_folder, options) = tiny();
    let daemon = options.set("calls.linger", "0s").start().await;
    let connection = connect(&daemon).await;
    recognize(&connection, vec![last(chunk("plain", telephone(), vec![0x55; 16_000]))]).await.good();
    let named = [("call_id".to_owned(), "named".to_owned())].into();
    let first = AudioChunk { attributes: named, ..chunk("other", telephone(), vec![0x55; 16_000]) };
    recognize(&connection, vec![last(first)]).await.good();
    summary(&daemon, "named").await;
    assert_eq!(daemon.get("/api/calls/plain").await.unwrap().0, 404);
}

/// Speech of two channels with pieces and gaps as after the cleaning.
fn random_speech(seed: u64) -> [Vec<Span>; 2] {
    let mut state = seed | 1;
    let mut next = |most: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % most
    };
    [0, 1].map(|_| {
        let mut at = next(2_000);
        let piece = |_| {
            let (start, end) = (at, at + 120 + next(4_000));
            at = end + 300 + next(3_000);
            (start, end)
        };
        (0..60).map(piece).collect()
    })
}

const PEER: &str = "
import json, sys
from call_ai_metrics import analyze
for line in sys.stdin:
    rows = [(a / 1000, b / 1000, name) for name, spans in json.loads(line).items() for a, b in spans]
    report = analyze(rows)
    talk = [report['a'].talk_time_s, report['b'].talk_time_s]
    print(json.dumps(talk + [report.overlap_share * report.speech_span_s, report.interruption_count]))
";

#[test]
fn talk_overlap_and_interruptions_are_those_of_call_ai_metrics() {
    let python = std::env::var("AFFECTD_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let run = |program: &str| {
        Command::new(&python)
            .args(["-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    let import = run("import call_ai_metrics").and_then(std::process::Child::wait_with_output);
    if !import.is_ok_and(|output| output.status.success()) {
        return eprintln!("not run: {python} has no call-ai-metrics");
    }
    let calls: Vec<[Vec<Span>; 2]> = (1..20).map(random_speech).collect();
    let mut peer = run(PEER).unwrap();
    let mut input = peer.stdin.take().unwrap();
    for [a, b] in &calls {
        writeln!(input, "{}", serde_json::json!({"a": a, "b": b})).unwrap();
    }
    drop(input);
    let output = peer.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), calls.len());
    for (line, call) in lines.lines().zip(&calls) {
        let expected: Vec<f64> = serde_json::from_str(line).unwrap();
        let seconds = |milliseconds: u64| milliseconds as f64 / 1_000.0;
        let times = [seconds(total(&call[0])), seconds(total(&call[1])), seconds(total(&overlaps(call)))];
        assert!(times.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.002), "{times:?}, {expected:?}");
        assert_eq!(interruptions(call).len() as f64, expected[3]);
    }
}
