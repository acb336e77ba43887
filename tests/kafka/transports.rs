//! One call over every transport: Twilio, `/v1/listen`, AudioHook, gRPC, Kafka and AudioSocket give equal events and an equal summary.
//!
//! The call has two channels of µ-law at 8 kHz, both of them analysed, and raises alerts. What is compared: of an event all fields but
//! the attributes, the time of its publication and, where the protocol chooses the stream's id, the ids; scores within 1e-6. Of a summary all
//! fields but `source`, `attributes` and `start_time`, and, where the protocol chooses the stream's id, the ids that contain it.
//! AudioSocket has one stream for each direction, which begin milliseconds apart: of its summary all that does not depend on that is compared.

use std::collections::HashMap;

use affectd::audio;
use affectd::client::{self, Credentials, GrpcServer, WatchedEvents};
use affectd::proto::call_service_client::CallServiceClient;
use affectd::proto::{
    Alert, AudioChunk, CallSummary, ChannelSummary, EmotionEvent, EmotionScore, Encoding, WatchCallsRequest,
    WatchCallsResponse, WatchEventsRequest,
};
use futures::SinkExt;
use prost::Message as _;
use tokio_tungstenite::tungstenite::Message;
use tonic::Streaming;
use uuid::Uuid;

use crate::support::audiohook_client::{self, with_keys};
use crate::support::audiosocket_client::{self, announce, frame};
use crate::support::call_fixture::{bounded, chunk, connect, format, last, more, recognize};
use crate::support::daemon::{Daemon, Options};
use crate::support::kafka::{Cluster, Record};
use crate::support::kafka_calls::{self, with_rules};
use crate::support::speech_fixture::Part::{Silence, Speech};
use crate::support::speech_fixture::{interleaved, telephone_talk};
use crate::support::twilio_fixture::Stream;
use crate::support::websocket_client::{closed, open};

const RUN: &str = "transports";
const STREAM: &str = "stream-1";
const CALL: &str = "call-1";
/// Bytes of half a second of one channel.
const HALF_SECOND: usize = 4_000;

/// The audio of the two channels: an interruption, a pause of more than three seconds, and a last word.
fn channels() -> [Vec<u8>; 2] {
    let customer = [Speech(3_000), Silence(5_500), Speech(1_500)];
    let agent = [Silence(2_000), Speech(2_500), Silence(5_500)];
    [&customer, &agent].map(|parts| audio::encode(&[telephone_talk(parts)], Encoding::Mulaw).to_vec())
}

fn names() -> Vec<String> {
    ["customer", "agent"].map(str::to_owned).to_vec()
}

fn options(cluster: &Cluster, folder: &std::path::Path) -> Options {
    let options = with_rules(kafka_calls::options(cluster, folder, RUN, "off"));
    let options = with_keys(options).set("ingest.audiosocket.address", "127.0.0.1:0");
    options.set("ingest.insecure_loopback", "true").set("ingest.analyse", "customer,agent")
}

/// The events and summaries of all calls of a daemon, in order.
struct Watch {
    events: WatchedEvents,
    calls: Streaming<WatchCallsResponse>,
    /// The events of the call that runs, and how far those of each channel reach, in milliseconds.
    received: Vec<EmotionEvent>,
    reached: HashMap<String, i64>,
}

/// What a call amounts to.
struct Outcome {
    events: Vec<EmotionEvent>,
    summary: CallSummary,
}

impl Watch {
    async fn open(daemon: &Daemon) -> Watch {
        let server = GrpcServer { authority: daemon.grpc.to_string(), tls: false };
        let channel = client::connect(&server, &Credentials::default()).await.unwrap();
        let events = WatchedEvents::open(channel.clone(), WatchEventsRequest::default());
        let events = bounded("the events", events).await.unwrap();
        let calls = CallServiceClient::new(channel).watch_calls(WatchCallsRequest {}).await.unwrap();
        Watch { events, calls: calls.into_inner(), received: Vec::new(), reached: HashMap::new() }
    }

    async fn event(&mut self) {
        let event = bounded("an event", self.events.next()).await.unwrap().expect("the daemon runs");
        let end = event.end.unwrap();
        let end = end.seconds * 1_000 + i64::from(end.nanos) / 1_000_000;
        self.reached.insert(event.channel_name.clone(), end);
        self.received.push(event);
    }

    /// Waits until no more than a second of the audio that was sent is left, so that none of it is dropped: two seconds may wait.
    async fn follow(&mut self, half_seconds: usize) {
        let least = half_seconds as i64 * 500 - 1_000;
        while least > 0 && names().iter().any(|name| self.reached.get(name).is_none_or(|end| *end < least)) {
            self.event().await;
        }
    }

    /// Waits for the summary of the call, and its last events.
    async fn outcome(&mut self) -> Outcome {
        let message = bounded("a summary", self.calls.message()).await.unwrap().expect("the daemon runs");
        assert_eq!(message.missed, 0);
        let summary = message.call.unwrap();
        let windows = summary.channels.iter().map(|channel| channel.windows).sum::<u64>() as usize;
        while self.received.len() < windows {
            self.event().await;
        }
        self.reached.clear();
        let mut events = std::mem::take(&mut self.received);
        events.sort_by_key(|event| (event.channel_name != "customer", event.window_index));
        Outcome { events, summary }
    }
}

/// The call in chunks of 100 ms. The samples of one channel in `holes` are missing before the chunk with that number.
fn chunks(holes: &[(usize, u64)]) -> Vec<AudioChunk> {
    let [customer, agent] = channels();
    let audio = interleaved(&customer, &agent);
    let mut chunks: Vec<AudioChunk> = audio.chunks(1_600).map(more).collect();
    let first = chunk(STREAM, format(Encoding::Mulaw, 8_000, 2), chunks[0].audio.clone());
    let attributes = [("call_id".to_owned(), CALL.to_owned())].into();
    chunks[0] = AudioChunk { channel_names: names(), attributes, ..first };
    let mut missing = 0;
    for (number, samples) in holes {
        missing += samples;
        chunks[*number].first_sample = Some(*number as u64 * 800 + missing);
    }
    *chunks.last_mut().unwrap() = last(chunks.last().unwrap().clone());
    chunks
}

async fn over_grpc(daemon: &Daemon, watch: &mut Watch, holes: &[(usize, u64)]) -> Outcome {
    recognize(&connect(daemon).await, chunks(holes)).await.good();
    watch.outcome().await
}

async fn over_kafka(cluster: &Cluster, watch: &mut Watch, holes: &[(usize, u64)]) -> Outcome {
    let records = chunks(holes).into_iter().map(|it| Record::new(STREAM, it.encode_to_vec()));
    let records: Vec<Record> = records.collect();
    cluster.produce(&format!("{RUN}.audio"), &records).await;
    watch.outcome().await
}

async fn over_twilio(daemon: &Daemon, watch: &mut Watch) -> Outcome {
    let [customer, agent] = channels();
    // 20 ms of each track in turn, behind `connected` and `start`.
    let messages =
        Stream::new(STREAM, CALL).messages(&[("inbound", &customer), ("outbound", &agent)], &[160]);
    let mut socket = open(daemon, "/ingest/twilio").await.unwrap();
    for (number, text) in messages.iter().enumerate() {
        socket.send(Message::text(text.as_str())).await.unwrap();
        watch.follow(number / 50).await;
    }
    closed(&mut socket).await;
    watch.outcome().await
}

async fn over_listen(daemon: &Daemon, watch: &mut Watch) -> Outcome {
    let [customer, agent] = channels();
    let path = format!("/v1/listen?encoding=mulaw&sample_rate=8000&channels=2&call_id={CALL}");
    let mut socket = open(daemon, &path).await.unwrap();
    for (number, piece) in interleaved(&customer, &agent).chunks(2 * HALF_SECOND).enumerate() {
        socket.send(Message::binary(piece.to_vec())).await.unwrap();
        watch.follow(number + 1).await;
    }
    socket.send(Message::text(r#"{"type":"CloseStream"}"#)).await.unwrap();
    closed(&mut socket).await;
    watch.outcome().await
}

async fn over_audiohook(daemon: &Daemon, watch: &mut Watch) -> Outcome {
    let [customer, agent] = channels();
    let mut client = audiohook_client::Client::open(daemon, STREAM, CALL).await;
    for (number, piece) in interleaved(&customer, &agent).chunks(2 * HALF_SECOND).enumerate() {
        client.audio(piece, 3_200).await;
        watch.follow(number + 1).await;
    }
    client.close("end").await;
    watch.outcome().await
}

/// The same samples as 16-bit audio, each channel over a socket of its own.
async fn over_audiosocket(daemon: &Daemon, watch: &mut Watch) -> Outcome {
    let mut clients = Vec::new();
    for (number, (name, audio)) in (1..).zip(names().into_iter().zip(channels())) {
        let (id, json) = (Uuid::from_u128(number), format!(r#"{{"call_id":"{CALL}","channel":"{name}"}}"#));
        assert_eq!(announce(daemon, &id.to_string(), &json).await, 204);
        let audio: Vec<u8> = audio.iter().flat_map(|byte| linear(*byte).to_le_bytes()).collect();
        clients.push((audiosocket_client::Client::open(daemon, id).await, audio));
    }
    for number in 0..clients[0].1.len() / (2 * HALF_SECOND) {
        for (client, audio) in &mut clients {
            client.audio(&audio[number * 2 * HALF_SECOND..][..2 * HALF_SECOND]).await;
        }
        watch.follow(number + 1).await;
    }
    for (mut client, _) in clients {
        client.send(&frame(0x00, &[])).await;
        client.rest().await;
    }
    watch.outcome().await
}

/// The sample of a byte of µ-law (ITU-T G.711).
fn linear(byte: u8) -> i16 {
    let bits = !byte;
    let magnitude = (((i16::from(bits & 0x0f) << 3) + 132) << ((bits & 0x70) >> 4)) - 132;
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// Whether the protocol lets the client name the stream.
#[derive(Clone, Copy, PartialEq)]
enum Ids {
    Same,
    Other,
}

/// Asserts that a call has the events of another one.
fn check_events(name: &str, found: &[EmotionEvent], expected: &[EmotionEvent], ids: Ids) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        let scores = |event: &EmotionEvent| -> Vec<EmotionScore> {
            let of_event = EmotionScore { emotion: event.emotion.clone(), probability: event.confidence };
            [&[of_event], &event.scores[..], &event.smoothed_scores, &event.adapted_scores].concat()
        };
        let (one, other) = (scores(found), scores(expected));
        assert_eq!(one.len(), other.len(), "{name}: {found:?}");
        for (a, b) in one.iter().zip(&other) {
            let close = (a.probability - b.probability).abs() <= 1e-6;
            assert!(close && a.emotion == b.emotion, "{name}: {found:?} is not {expected:?}");
        }
        let rest = |event: &EmotionEvent| {
            let EmotionEvent { event_id, stream_id, channel, .. } = event.clone();
            let ids = (ids == Ids::Same).then_some((event_id, stream_id, channel));
            let EmotionEvent { channel_name, window_index, start, end, model, partial, values, .. } =
                event.clone();
            (ids, channel_name, window_index, start, end, model, partial, values)
        };
        assert_eq!(rest(found), rest(expected), "{name}");
    }
}

/// A summary without what depends on the transport.
fn comparable(summary: &CallSummary, ids: Ids) -> CallSummary {
    let alert = |alert: &Alert| {
        let alert = Alert { attributes: HashMap::new(), ..alert.clone() };
        match ids {
            Ids::Same => alert,
            Ids::Other => Alert {
                alert_id: String::new(),
                stream_id: String::new(),
                event_ids: vec![String::new(); alert.event_ids.len()],
                ..alert
            },
        }
    };
    let mut comparable = CallSummary {
        source: String::new(),
        attributes: HashMap::new(),
        start_time: None,
        alerts: summary.alerts.iter().map(alert).collect(),
        ..summary.clone()
    };
    if ids == Ids::Other {
        comparable.stream_ids.clear();
        // Alerts of one instant are in the order of their ids.
        comparable.alerts.sort_by_key(|it| {
            (it.raised_at.map(|at| (at.seconds, at.nanos)), it.rule.clone(), it.channel_name.clone())
        });
    }
    comparable
}

/// A channel without what depends on the start of the call.
fn own(channel: &ChannelSummary) -> ChannelSummary {
    let longest =
        channel.longest.clone().map(|it| affectd::proto::EmotionPeriod { start: None, end: None, ..it });
    ChannelSummary { longest, valence_by_quarter: Vec::new(), valence_trend: None, ..channel.clone() }
}

#[tokio::test]
async fn one_call_over_every_transport_has_equal_events_and_an_equal_summary() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    kafka_calls::topics(&cluster, RUN).await;
    let daemon = options(&cluster, folder.path()).start().await;
    let watch = &mut Watch::open(&daemon).await;
    let expected = over_grpc(&daemon, watch, &[]).await;
    let summary = &expected.summary;
    assert_eq!((summary.call_id.as_str(), summary.source.as_str()), (CALL, "grpc"));
    assert!(expected.events.len() >= 36 && summary.alerts.len() >= 2, "{summary:?}");
    assert!(!summary.interruptions.is_empty() && !summary.non_talk.as_ref().unwrap().instances.is_empty());
    let audio = summary.audio.as_ref().unwrap();
    assert_eq!((audio.lost, audio.late, audio.holes), (Some(Default::default()), 0, 0));
    for (name, ids, found) in [
        ("kafka", Ids::Same, over_kafka(&cluster, watch, &[]).await),
        ("twilio", Ids::Same, over_twilio(&daemon, watch).await),
        ("audiohook", Ids::Same, over_audiohook(&daemon, watch).await),
        ("websocket", Ids::Other, over_listen(&daemon, watch).await),
    ] {
        assert_eq!(found.summary.source, name);
        check_events(name, &found.events, &expected.events, ids);
        assert_eq!(comparable(&found.summary, ids), comparable(summary, ids), "{name}");
    }
    let found = over_audiosocket(&daemon, watch).await;
    check_events("audiosocket", &found.events, &expected.events, Ids::Other);
    assert_eq!((found.summary.source.as_str(), found.summary.channels.len()), ("audiosocket", 2));
    assert_eq!(found.summary.summary_id, summary.summary_id);
    for expected in &summary.channels {
        let found = found.summary.channels.iter().find(|found| found.name == expected.name).unwrap();
        assert_eq!(own(found), own(expected));
    }
    let holes = [(10, 800), (50, 40_000)];
    let [grpc, kafka] = [over_grpc(&daemon, watch, &holes).await, over_kafka(&cluster, watch, &holes).await];
    let audio = grpc.summary.audio.as_ref().unwrap();
    assert_eq!((audio.holes, audio.lost.as_ref().unwrap().nanos), (2, 100_000_000), "{audio:?}");
    check_events("kafka with holes", &kafka.events, &grpc.events, Ids::Same);
    assert_eq!(comparable(&kafka.summary, Ids::Same), comparable(&grpc.summary, Ids::Same));
}
