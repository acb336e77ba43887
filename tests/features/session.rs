//! An input session without a transport: chunks in, windows at the model's queue out, and the refusals that every transport maps.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use affectd::batch::{InferenceCost, Job};
use affectd::config::Config;
use affectd::model::{Layout, Output};
use affectd::proto::{AudioChunk, AudioFormat, ChannelPolicy, Encoding};
use affectd::serving::{CallReply, JobOrigin, ModelRegistry, ServedModel, Utilization};
use affectd::session::{InputSession, OpenStreams, Refusal, RefusalClass, SessionError, SessionLinks};
use affectd::shard::{self, ReportSender, ShardThreads};
use affectd::stream::StreamSetup;
use affectd::telemetry::metrics::Source;
use futures::stream;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::support::model_fixture;

/// A source that the daemon itself does not have.
fn websocket() -> Source {
    static MICROSECONDS: AtomicU64 = AtomicU64::new(0);
    Source::new("websocket", &MICROSECONDS)
}

/// A model whose windows wait in a queue that the test reads, one shard, and the links of sessions.
struct Stage {
    links: Arc<SessionLinks>,
    jobs: mpsc::Receiver<Job<JobOrigin>>,
    _shards: ShardThreads,
    _registries: watch::Sender<Arc<ModelRegistry>>,
}

fn stage(max_streams: usize) -> Stage {
    let contract = Arc::new(model_fixture::contract(Layout::Ntc, Output::Logits));
    let config = Config::default();
    let setup = StreamSetup::new(&contract, &config.window, &config.audio).unwrap();
    let (sender, jobs) = mpsc::channel(256);
    let utilization = Utilization::new(Arc::new(InferenceCost::default()), 1, Duration::from_millis(500));
    let model =
        ServedModel { contract, setup, setup_number: 1, jobs: sender, utilization, shadows: Vec::new() };
    let registry = ModelRegistry::new(vec![Arc::new(model)], Arc::default());
    let (registries, receiver) = watch::channel(Arc::new(registry));
    let (reports, _) = crossbeam_channel::bounded(1);
    let (shards, threads) = shard::start(1, 16, &ReportSender { reports }).unwrap();
    let links = SessionLinks {
        shards,
        registries: receiver,
        streams: OpenStreams::new(max_streams),
        draining: CancellationToken::new(),
        idle_timeout: Duration::from_secs(30),
        max_utilization_percent: 80,
    };
    Stage { links: Arc::new(links), jobs, _shards: threads, _registries: registries }
}

/// A chunk of µ-law at 8 kHz that declares nothing but its format.
fn chunk(samples: usize) -> AudioChunk {
    AudioChunk {
        format: Some(AudioFormat { encoding: Encoding::Mulaw.into(), sample_rate_hz: 8_000, channels: 1 }),
        audio: (0..samples).map(|n| (n * 7) as u8).collect::<Vec<u8>>().into(),
        ..AudioChunk::default()
    }
}

/// Runs a session on the chunks, without a reader of its events that matters.
async fn run(stage: &Stage, chunks: Vec<AudioChunk>) -> Result<(), Refusal> {
    let (session, _inbox) = InputSession::new(stage.links.clone(), websocket());
    let chunks = stream::iter(chunks.into_iter().map(Ok::<_, SessionError<()>>));
    match session.run(chunks).await {
        Ok(()) => Ok(()),
        Err(SessionError::Refused(refusal)) => Err(refusal),
        Err(SessionError::Transport(())) => panic!("the chunks are all there"),
    }
}

#[tokio::test]
async fn windows_reach_the_model_in_order_and_the_session_ends_after_its_last_event() {
    let Stage { links, mut jobs, _shards, _registries } = stage(1);
    let (session, mut inbox) = InputSession::new(links.clone(), websocket());
    let chunks = [chunk(6_000), AudioChunk { format: None, ..chunk(6_000) }];
    let chunks = stream::iter(chunks.map(Ok::<_, SessionError<()>>));
    // Passes each window on as its event, as the model and the publisher do.
    let model = tokio::spawn(async move {
        let mut indexes = Vec::new();
        while indexes.len() < 2 {
            let Some(Job { origin: JobOrigin::Window(envelope), .. }) = jobs.recv().await else { break };
            indexes.push(envelope.index);
            let affectd::serving::Answer::Call(answer) = envelope.answer else {
                panic!("a session's window")
            };
            let event = Box::default();
            assert!(answer.replies.try_send(CallReply::Event(event, answer.credit)).is_ok());
        }
        indexes
    });
    let client = async {
        let mut events = 0;
        while let Some(CallReply::Event(..)) = inbox.recv().await {
            events += 1;
        }
        events
    };
    let (outcome, events) = tokio::join!(session.run(chunks), client);
    assert!(outcome.is_ok());
    // 1.5 s are two whole windows of 1 s every 0.5 s, and nothing is left for a partial one.
    assert_eq!((model.await.unwrap(), events), (vec![0, 1], 2));
}

#[tokio::test]
async fn every_refusal_has_its_class_and_its_label() {
    let stage = stage(1);
    let first = || AudioChunk { stream_id: "call".into(), ..chunk(80) };
    let later = || AudioChunk { format: None, ..chunk(80) };
    let other_format = AudioFormat { encoding: Encoding::Alaw.into(), sample_rate_hz: 8_000, channels: 1 };
    let cases = [
        (vec![AudioChunk { format: None, ..chunk(80) }], "format_missing"),
        (vec![AudioChunk { model: "none".into(), ..first() }], "model"),
        (vec![first(), AudioChunk { model: "other".into(), ..later() }], "model"),
        (vec![first(), AudioChunk { stream_id: "other".into(), ..later() }], "stream_id"),
        (vec![first(), AudioChunk { channels: ChannelPolicy::Mix.into(), ..later() }], "channels_changed"),
        (vec![first(), AudioChunk { channel_names: vec!["agent".into()], ..later() }], "channels_changed"),
        (vec![first(), AudioChunk { format: Some(other_format), ..later() }], "format_changed"),
        (vec![first(), AudioChunk { first_sample: Some(u64::MAX), ..later() }], "first_sample"),
        (vec![AudioChunk { channels: 99, ..first() }], "audio"),
    ];
    for (chunks, label) in cases {
        let refusal = run(&stage, chunks).await.unwrap_err();
        assert_eq!(
            (refusal.class(), refusal.reason()),
            (RefusalClass::InvalidInput, Some(label)),
            "{refusal}"
        );
    }

    let held = stage.links.streams.open(&"call".into()).unwrap();
    let refusal = run(&stage, vec![first()]).await.unwrap_err();
    assert_eq!((refusal.class(), refusal.reason()), (RefusalClass::AlreadyOpen, Some("already_open")));
    let refusal = run(&stage, vec![chunk(80)]).await.unwrap_err();
    assert_eq!((refusal.class(), refusal.reason()), (RefusalClass::LimitReached, Some("stream_limit")));
    drop(held);
    run(&stage, vec![first()]).await.unwrap();

    stage.links.draining.cancel();
    let refusal = run(&stage, vec![first()]).await.unwrap_err();
    assert_eq!((refusal.class(), refusal.reason()), (RefusalClass::Unavailable, None));
}
