//! An input session without a transport: chunks in, windows at the model's queue out, and the refusals that every transport maps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use affectd::audio::encode;
use affectd::batch::{InferenceCost, Job};
use affectd::config::Config;
use affectd::model::{Layout, Output};
use affectd::proto::{AudioChunk, AudioFormat, ChannelPolicy, Encoding};
use affectd::serving::{
    CallReply, Decoders, JobOrigin, ModelRegistry, Recipient, ServedModel, StreamSinks, Utilization,
};
use affectd::session::{InputSession, OpenStreams, Refusal, RefusalClass, SessionError, SessionLinks};
use affectd::shard::{self, ReportSender, ShardThreads};
use affectd::stream::{InputBounds, MemoryBudget, StreamSetup};
use affectd::telemetry::metrics::Source;
use futures::{Stream, StreamExt, stream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::support::decoder_entries::file_fixture::{FLOAT, wav};
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
    let window = affectd::config::Window { min_length: Duration::from_millis(250), ..config.window };
    let setup = StreamSetup::new(&contract, &window, &config.audio).unwrap();
    let (sender, jobs) = mpsc::channel(256);
    let utilization = Utilization::new(Arc::new(InferenceCost::default()), 1, Duration::from_millis(500));
    let model = ServedModel {
        contract,
        setup,
        setup_number: 1,
        jobs: sender,
        share: Arc::new(Semaphore::new(64)),
        ahead: Arc::new(Semaphore::new(64)),
        backlog: Arc::new(Semaphore::new(64)),
        is_only: true,
        utilization,
        shadows: Vec::new(),
    };
    let registry = ModelRegistry::new(vec![Arc::new(model)], Arc::default());
    let (registries, receiver) = watch::channel(Arc::new(registry));
    let (reports, _) = crossbeam_channel::bounded(1);
    let decoders = Decoders::start(MemoryBudget::new(1 << 30), Duration::from_secs(3600)).unwrap();
    let (reports_to, sinks) = (ReportSender { reports }, StreamSinks::default());
    let (shards, threads) = shard::start(1, 16, &reports_to, &sinks, &decoders).unwrap();
    let links = SessionLinks {
        decoders,
        bounds: InputBounds::default(),
        shards,
        registries: receiver,
        streams: OpenStreams::new(max_streams),
        draining: CancellationToken::new(),
        first_chunk_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        unread_at_drain: AtomicUsize::new(0),
        max_pace: 2,
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
    let (session, _inbox) = InputSession::new(stage.links.clone(), websocket(), "".into());
    let chunks = stream::iter(chunks.into_iter().map(Ok::<_, SessionError<()>>));
    match session.run(chunks).await {
        Ok(()) => Ok(()),
        Err(SessionError::Refused(refusal)) => Err(refusal),
        Err(SessionError::Transport(())) => panic!("the chunks are all there"),
    }
}

/// The windows that reach the model of a session whose client takes every event, as (index, partial), and how the session ended.
async fn windows(
    stage: Stage,
    chunks: impl Stream<Item = AudioChunk>,
) -> (Vec<(u64, bool)>, Result<(), SessionError<()>>) {
    let Stage { links, mut jobs, _shards, _registries } = stage;
    let (session, mut inbox) = InputSession::new(links, websocket(), "".into());
    let (mut found, ended) = (Vec::new(), CancellationToken::new());
    let model_and_client = async {
        loop {
            let job = tokio::select! {
                Some(job) = jobs.recv() => job,
                () = ended.cancelled() => return,
            };
            let envelope = match job.origin {
                JobOrigin::Window(envelope) => envelope,
                JobOrigin::CallStream(_) | JobOrigin::StreamEnd(_) => continue,
                JobOrigin::Clip(_) => panic!("no clip is evaluated"),
            };
            found.push((envelope.index, envelope.partial));
            let Recipient::Call(answer) = envelope.recipient else { panic!("an event for the session") };
            assert!(answer.replies.try_send(CallReply::Event(Default::default(), answer.credit)).is_ok());
            drop(inbox.recv().await);
        }
    };
    let session = async {
        let outcome = session.run(chunks.map(Ok)).await;
        ended.cancel();
        outcome
    };
    let (outcome, ()) = tokio::join!(session, model_and_client);
    (found, outcome)
}

#[tokio::test]
async fn windows_reach_the_model_in_order_and_the_session_ends_after_its_last_event() {
    let chunks = [chunk(6_000), AudioChunk { format: None, ..chunk(6_000) }];
    let (found, outcome) = windows(stage(1), stream::iter(chunks)).await;
    assert!(outcome.is_ok());
    // 1.5 s are two whole windows of 1 s every 0.5 s, and nothing is left for a partial one.
    assert_eq!(found, [(0, false), (1, false)]);
}

#[tokio::test]
async fn a_duplicate_of_a_chunk_in_pieces_is_dropped_as_a_whole() {
    let numbered = |sequence| AudioChunk { sequence: Some(sequence), ..chunk(16_000) };
    let chunks = stream::iter([numbered(4), numbered(4), numbered(3), numbered(6)]);
    let (found, outcome) = windows(stage(1), chunks).await;
    assert!(outcome.is_ok());
    // Two chunks of 2 s; the gap between 4 and 6 is closed up.
    assert_eq!(found, (0..7).map(|index| (index, false)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_in_many_chunks_gives_the_windows_of_its_samples() {
    let samples = vec![(0..24_000).map(|n| (n % 89) as f32 / 89.0 - 0.5).collect::<Vec<f32>>()];
    let data = encode(&samples, Encoding::PcmF32le);
    let file = wav(FLOAT, 32, 1, 8_000, &data);
    let format = Some(AudioFormat { encoding: Encoding::File.into(), sample_rate_hz: 0, channels: 0 });
    let parts = file.chunks(7_000).map(|part| AudioChunk {
        format,
        audio: part.to_vec().into(),
        ..AudioChunk::default()
    });
    let (found, outcome) = windows(stage(1), stream::iter(parts.collect::<Vec<_>>())).await;
    assert!(outcome.is_ok());
    assert_eq!(found, (0..5).map(|index| (index, false)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_drain_ends_an_open_stream_with_its_partial_window() {
    let stage = stage(1);
    let draining = stage.links.draining.clone();
    // 2.3 s, then nothing until the drain.
    let chunks = stream::iter([chunk(18_400)]).chain(stream::once(async move {
        draining.cancel();
        std::future::pending().await
    }));
    let (found, outcome) = windows(stage, chunks).await;
    assert!(matches!(outcome, Err(SessionError::Refused(Refusal::Draining))));
    assert_eq!(found, [(0, false), (1, false), (2, false), (3, true)]);
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

    let held = stage.links.streams.open(&"".into(), &"call".into()).unwrap();
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

#[tokio::test]
async fn streams_ahead_of_real_time_leave_the_model_to_one_at_the_pace_of_speech() {
    let mut stage = stage(10);
    let start = |id: &str, seconds: usize| {
        let chunks = (0..seconds).map(|at| {
            let format = chunk(0).format.filter(|_| at == 0);
            Ok::<_, SessionError<()>>(AudioChunk { stream_id: id.into(), format, ..chunk(8_000) })
        });
        let (session, inbox) = InputSession::new(stage.links.clone(), websocket(), "".into());
        let chunks = stream::iter(chunks.collect::<Vec<_>>()).chain(stream::pending());
        (tokio::spawn(session.run(chunks)), inbox)
    };
    // Each has room for 64 events and more, and the queue of the model for 256.
    let floods: Vec<_> = (0..6).map(|number| start(&format!("flood {number}"), 60)).collect();
    // The model answers nothing: what has reached it stays there.
    let (mut held, mut of_live) = (Vec::new(), 0);
    let registry = stage.links.registries.borrow().clone();
    let model = registry.find("").unwrap();
    let mut live = None;
    while of_live < 3 {
        if model.ahead.available_permits() == 0 {
            live.get_or_insert_with(|| start("live", 2));
        }
        let job = tokio::time::timeout(Duration::from_secs(60), stage.jobs.recv()).await.unwrap().unwrap();
        let JobOrigin::Window(envelope) = &job.origin else { continue };
        of_live += usize::from(&*envelope.stream.stream_id == "live");
        held.push(job);
    }
    // The windows of two seconds that each flood may be ahead, and of the room for all of them.
    assert!(held.len() <= 6 * 4 + 64 + 3, "{}", held.len());
    for (session, _inbox) in floods.iter().chain(&live) {
        session.abort();
    }
}
