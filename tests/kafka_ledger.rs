//! At least once without a broker: whatever the chunks, the order of acknowledgements and the instants of crashes, readers that follow
//! each other publish exactly the windows of one that was never disturbed, with the same features and the same smoothed scores.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod model_fixture;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use affectd::audio::{AudioFormat, Encoding};
use affectd::config::{Config, Smoothing, SmoothingMethod};
use affectd::envelope::{Assignment, Standing, StreamInfo, Taken, Ticket};
use affectd::ingest::kafka::{Entry, Ledger, Progress};
use affectd::model::{Layout, Output};
use affectd::publish::smoothing::{RawScores, RecentScores};
use affectd::publish::stream_smoother::StreamSmoother;
use affectd::stream::{Chunk, StreamFrontEnd, StreamSetup, Window, Workbench};
use proptest::prelude::*;

const AT: Assignment = Assignment { partition: 0, epoch: 1 };
const IDLE_MS: i64 = 5_000;

/// One record: its stream, what lies before its audio, its length, its time, whether it is the last.
#[derive(Debug, Clone)]
struct Input {
    stream_id: Arc<str>,
    chunk: Chunk,
    timestamp: i64,
}

/// Stream, channel, index, partial.
type Name = (String, u32, u64, bool);
/// Features and smoothed scores.
type Published = BTreeMap<Name, (Vec<f32>, Vec<f32>)>;

/// What outlives a reader.
#[derive(Debug, Default)]
struct Broker {
    committed: Option<i64>,
    progress: HashMap<Arc<str>, Progress>,
    published: Published,
}

/// A reader, its shard and its publisher in one.
struct Reader {
    setup: StreamSetup,
    bench: Workbench,
    ledger: Ledger,
    streams: HashMap<Arc<str>, (StreamFrontEnd, i64, Arc<StreamInfo>)>,
    smoother: StreamSmoother,
    labels: Arc<[String]>,
    /// Windows that are not acknowledged, in order.
    under_way: Vec<UnderWay>,
}

/// A window that is not acknowledged.
struct UnderWay {
    ticket: Ticket,
    name: Name,
    said: (Vec<f32>, Vec<f32>),
    recent: Arc<RecentScores>,
}

impl Reader {
    fn start(setup: &StreamSetup, broker: &Broker) -> (Reader, usize) {
        let fitting = |progress: &Progress| progress.fitting(broker.committed).cloned();
        let left: HashMap<Arc<str>, Entry> = broker
            .progress
            .iter()
            .map(|(id, progress)| {
                (id.clone(), fitting(progress).expect("progress fits the committed offset"))
            })
            .collect();
        let start = broker.committed.unwrap_or(0);
        let ledger = Ledger::open(start, broker.committed, &left);
        let (setup, bench) = (setup.clone(), setup.workbench());
        let smoother = StreamSmoother::new(Smoothing { method: SmoothingMethod::Exponential, windows: 4 });
        let labels = ["anger".to_owned(), "fear".to_owned()].into();
        let (streams, under_way) = (HashMap::new(), Vec::new());
        (Reader { setup, bench, ledger, streams, smoother, labels, under_way }, start as usize)
    }

    fn take(&mut self, offset: i64, input: &Input) {
        let id = &input.stream_id;
        let mut resume = self.ledger.resume(id);
        if self.ledger.was_idle(id, input.timestamp, IDLE_MS) {
            if let Some(at) = resume.as_mut().and_then(|resume| resume.at.as_ref().map(|at| at.position)) {
                resume.as_mut().unwrap().idle_ends.push_front(at);
            }
            self.end_stretch(id);
        }
        self.ledger.read(offset, Some(id), input.timestamp);
        let resumed = resume.as_ref().is_some_and(|resume| resume.at.is_some());
        let known = self.streams.remove(id);
        let begun = known.is_some() || resumed;
        let (mut stream, life, info) = known.unwrap_or_else(|| {
            let new = || Arc::new(StreamInfo { stream_id: id.clone(), ..StreamInfo::default() });
            let info = self.ledger.info(id).filter(|_| resumed).cloned().unwrap_or_else(new);
            match resume {
                Some(resume) => {
                    let stream =
                        StreamFrontEnd::resume(&self.setup, &mut self.bench, resume, &input.chunk).unwrap();
                    (stream, if resumed { -1 } else { offset }, info)
                }
                None => (StreamFrontEnd::begin(&self.setup, &input.chunk).unwrap(), offset, info),
            }
        });
        let before = begun.then(|| Standing { incarnation: life, place: stream.place() });
        let mut windows = Vec::new();
        stream.accept(&mut self.bench, &input.chunk, &mut |window| windows.push(window)).unwrap();
        if input.chunk.last {
            stream.end(&mut self.bench, &mut |window| windows.push(window)).unwrap();
        }
        self.emit(&info, life, windows);
        let now = Standing { incarnation: life, place: stream.place() };
        self.ledger.taken(Taken {
            assignment: AT,
            stream_id: id.clone(),
            offset,
            before,
            end: (life, now.place.position),
            after: Some(now).filter(|_| !input.chunk.last),
            info: info.clone(),
            format: stream.format(),
        });
        if !input.chunk.last {
            self.streams.insert(id.clone(), (stream, life, info));
        }
    }

    fn end_stretch(&mut self, id: &Arc<str>) {
        let Some((mut stream, life, info)) = self.streams.remove(id) else { return };
        let mut windows = Vec::new();
        stream.end(&mut self.bench, &mut |window| windows.push(window)).unwrap();
        self.emit(&info, life, windows);
        let standing = Standing { incarnation: life, place: stream.place() };
        self.ledger.stretch_ended(id, standing);
        self.streams.insert(id.clone(), (stream, life, info));
    }

    fn emit(&mut self, info: &Arc<StreamInfo>, incarnation: i64, windows: Vec<Window>) {
        for Window { channel, index, partial, needed_from, stretch, features, .. } in windows {
            let stream_id = info.stream_id.clone();
            let name = (stream_id.to_string(), channel, index, partial);
            let ticket = Ticket { assignment: AT, stream_id, incarnation, channel, index, needed_from };
            self.ledger.emitted(ticket.clone());
            let share = 1.0 / (1.0 + (-features.iter().sum::<f32>() / 100.0).exp());
            let raw = RawScores { stretch, labels: &self.labels, scores: &[share, 1.0 - share] };
            let smoothed = self.smoother.smooth(info, channel, raw);
            self.under_way.push(UnderWay {
                ticket,
                name,
                said: (features, smoothed.scores),
                recent: smoothed.recent,
            });
        }
    }

    /// Acknowledges the `nth` window under way; a channel's windows come in order, so its first one.
    fn acknowledge(&mut self, nth: usize, published: &mut Published) {
        if self.under_way.is_empty() {
            return;
        }
        let wanted = self.under_way[nth % self.under_way.len()].ticket.clone();
        let same = |other: &Ticket| other.stream_id == wanted.stream_id && other.channel == wanted.channel;
        let first = self.under_way.iter().position(|window| same(&window.ticket)).unwrap();
        let UnderWay { ticket, name, said, recent } = self.under_way.remove(first);
        self.ledger.delivered(&ticket, Some(recent));
        if let Some(earlier) = published.insert(name.clone(), said.clone()) {
            assert_eq!(earlier, said, "{name:?} published again is the same");
        }
    }

    /// Writes progress, and commits unless the reader dies in between.
    fn commit(&mut self, broker: &mut Broker, dies: bool) {
        let settled = self.ledger.low_watermark();
        if broker.committed.is_some_and(|committed| committed >= settled) || !self.ledger.has_read() {
            return;
        }
        broker.progress.extend(self.ledger.progress_at(settled));
        if dies {
            return;
        }
        broker.committed = Some(settled);
        for ended in self.ledger.commit_acknowledged(settled) {
            broker.progress.remove(&ended);
        }
    }
}

/// What happens after a record.
#[derive(Debug, Clone, Copy)]
enum Event {
    Acknowledge(usize),
    Commit,
    CrashInCommit,
    Crash,
}

fn run(setup: &StreamSetup, inputs: &[Input], events: &[(usize, Event)]) -> Published {
    let mut broker = Broker::default();
    let mut events = events.iter().peekable();
    loop {
        let (mut reader, start) = Reader::start(setup, &broker);
        let mut crashed = false;
        for (offset, input) in inputs.iter().enumerate().skip(start) {
            reader.take(offset as i64, input);
            for _ in 0..3 {
                let Some((_, event)) = events.next_if(|(at, _)| (offset + at) % 3 != 0) else { break };
                match *event {
                    Event::Acknowledge(nth) => reader.acknowledge(nth, &mut broker.published),
                    Event::Commit => reader.commit(&mut broker, false),
                    Event::CrashInCommit => reader.commit(&mut broker, true),
                    Event::Crash => {}
                }
                crashed |= matches!(event, Event::Crash | Event::CrashInCommit);
            }
            if crashed {
                break;
            }
        }
        if !crashed {
            while !reader.under_way.is_empty() {
                reader.acknowledge(0, &mut broker.published);
            }
            reader.commit(&mut broker, false);
            assert!(reader.ledger.is_quiet());
            return broker.published;
        }
    }
}

fn setup() -> StreamSetup {
    let contract = model_fixture::contract(Layout::Ntc, Output::Logits);
    let config = Config::default();
    let window =
        affectd::config::Window { min_length: std::time::Duration::from_millis(500), ..config.window };
    StreamSetup::new(&contract, &window, &config.audio).unwrap()
}

/// Chunks of three streams: one at the model's rate, one resampled, one in stereo; with gaps, silences and ends.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let record = (0..3usize, 1..4_500usize, 0..20u32, 0..12u32, 0..40u32);
    proptest::collection::vec(record, 10..60).prop_map(|records| {
        let mut position = [0u64; 3];
        let mut over = [false; 3];
        let mut now = 0;
        let mut inputs = Vec::new();
        for (stream, length, gap, pause, last) in records {
            if over[stream] {
                continue;
            }
            let (rate, channels) = [(8_000, 1), (16_000, 1), (8_000, 2)][stream];
            // Rarely a short gap, more rarely a long one.
            position[stream] += match gap {
                0 => 2 * u64::from(rate),
                1 => 700,
                _ => 0,
            };
            now += if pause == 0 { 2 * IDLE_MS } else { 50 };
            over[stream] = last == 0;
            let wave = |at: u64| ((at as f64 * 0.05).sin() * 60.0 + (at % 97) as f64) as i64 as u8;
            let from = position[stream] * channels as u64;
            let audio: Vec<u8> = (from..from + (length * channels) as u64).map(wave).collect();
            let chunk = Chunk {
                sequence: None,
                first_sample: (stream != 0 || gap < 2).then_some(position[stream]),
                format: Some(AudioFormat::new(Encoding::MuLaw, rate, channels as u32).unwrap()),
                audio: audio.into(),
                last: last == 0,
            };
            position[stream] += length as u64;
            inputs.push(Input { stream_id: format!("stream-{stream}").into(), chunk, timestamp: now });
        }
        inputs
    })
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        8 => (0..64usize).prop_map(Event::Acknowledge),
        4 => Just(Event::Commit),
        1 => Just(Event::CrashInCommit),
        1 => Just(Event::Crash),
    ];
    proptest::collection::vec((0..3usize, event), 0..80)
}

/// A stream without an open stretch may be silent over many commits, and its entry stays as it was written for the first of them.
#[test]
fn a_reader_that_dies_in_a_commit_leaves_an_entry_that_fits_also_where_its_own_was_written_long_before() {
    let setup = setup();
    let (quiet, other): (Arc<str>, Arc<str>) = ("quiet".into(), "other".into());
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).ok();
    let input = |stream_id: &Arc<str>, timestamp, last| Input {
        stream_id: stream_id.clone(),
        chunk: Chunk { format, audio: vec![7; 80].into(), last, ..Chunk::default() },
        timestamp,
    };
    let inputs = [
        input(&quiet, 0, false),
        // Quiet's stretch ends by the partition's time, and its entry is written.
        input(&other, 2 * IDLE_MS, true),
        input(&other, 2 * IDLE_MS, true),
        input(&quiet, 3 * IDLE_MS, false),
    ];
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup, &broker);
    reader.take(0, &inputs[0]);
    reader.take(1, &inputs[1]);
    reader.end_stretch(&quiet);
    reader.commit(&mut broker, false);
    reader.take(2, &inputs[2]);
    reader.commit(&mut broker, false);
    assert_eq!((broker.committed, broker.progress[&quiet].next.offset), (Some(3), Some(2)));

    let (mut reader, start) = Reader::start(&setup, &broker);
    assert_eq!(start, 3);
    reader.take(3, &inputs[3]);
    reader.commit(&mut broker, true);
    assert!(broker.progress[&quiet].fitting(Some(3)).is_some(), "{:?}", broker.progress[&quiet]);
}

/// The reader before has written progress for a commit that it did not live to see; the next one commits below that.
#[test]
fn a_commit_below_what_a_dead_reader_wrote_has_progress_that_fits() {
    let setup = setup();
    let stream_id: Arc<str> = "call".into();
    let format = AudioFormat::new(Encoding::MuLaw, 8_000, 1).ok();
    let chunk = |seconds: usize| Chunk { format, audio: vec![7; 8_000 * seconds].into(), ..Chunk::default() };
    let input = |seconds| Input { stream_id: stream_id.clone(), chunk: chunk(seconds), timestamp: 0 };
    let mut broker = Broker::default();
    let (mut reader, _) = Reader::start(&setup, &broker);
    reader.take(0, &input(2));
    reader.take(1, &input(1));
    while !reader.under_way.is_empty() {
        reader.acknowledge(0, &mut broker.published);
    }
    reader.commit(&mut broker, true);
    let written = broker.progress[&stream_id].next.offset;

    let (mut reader, start) = Reader::start(&setup, &broker);
    assert_eq!(start, 0);
    reader.take(0, &input(2));
    reader.commit(&mut broker, false);
    assert_eq!((written, broker.committed), (Some(1), Some(0)), "the windows are not acknowledged yet");
    assert!(broker.progress[&stream_id].fitting(Some(0)).is_some(), "{:?}", broker.progress[&stream_id]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn readers_that_crash_publish_the_windows_of_one_that_does_not(inputs in inputs(), events in events()) {
        let setup = setup();
        let calm = run(&setup, &inputs, &[]);
        let rough = run(&setup, &inputs, &events);
        prop_assert_eq!(rough.keys().collect::<Vec<_>>(), calm.keys().collect::<Vec<_>>());
        prop_assert!(rough == calm, "features or smoothed scores differ");
    }
}
