//! A reader of one partition with its shard and its publisher, and a broker that outlives it, all without a broker.
//!
//! In: records, and what happens after each: acknowledgements, commits, crashes. Out: what was published. A window that is published again
//! must be the same as before: that alone is asserted here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use affectd::config::{Config, Smoothing, SmoothingMethod};
use affectd::kafka::{Entry, OffsetTracker, Progress};
use affectd::model::{Layout, Output};
use affectd::publish::smoothing::RawScores;
use affectd::publish::stream_states::StreamStates;
use affectd::shard::ChunkAccepted;
use affectd::stream::ChannelState;
use affectd::stream::{Assignment, EpochPosition, StreamInfo, Ticket};
use affectd::stream::{Chunk, StreamFrontEnd, StreamSetup, Workbench};
use affectd::window::Window;

use crate::model_fixture;

const AT: Assignment = Assignment { partition: 0, epoch: 1 };
pub const IDLE_MS: i64 = 5_000;
const SMOOTHING: Smoothing = Smoothing { method: SmoothingMethod::Exponential, windows: 4 };

/// One record: its stream, what lies before its audio, its length, its time, whether it is the last.
#[derive(Debug, Clone)]
pub struct Input {
    pub stream_id: Arc<str>,
    pub chunk: Chunk,
    pub timestamp: i64,
}

/// Stream, channel, index, partial.
type Name = (String, u32, u64, bool);
/// Features and smoothed scores.
pub type Published = BTreeMap<Name, (Vec<f32>, Vec<f32>)>;

/// What outlives a reader.
#[derive(Debug, Default)]
pub struct Broker {
    pub committed: Option<i64>,
    pub progress: HashMap<Arc<str>, Progress>,
    pub published: Published,
}

/// A reader, its shard and its publisher in one.
pub struct Reader {
    setup: StreamSetup,
    bench: Workbench,
    tracker: OffsetTracker,
    streams: HashMap<Arc<str>, (StreamFrontEnd, i64, Arc<StreamInfo>)>,
    states: StreamStates,
    labels: Arc<[String]>,
    /// Windows that are not acknowledged, in order.
    pub under_way: Vec<UnderWay>,
}

/// A window that is not acknowledged.
pub struct UnderWay {
    ticket: Ticket,
    name: Name,
    said: (Vec<f32>, Vec<f32>),
    state: ChannelState,
}

impl Reader {
    pub fn start(setup: &StreamSetup, broker: &Broker) -> (Reader, usize) {
        let fitting = |progress: &Progress| progress.fitting(broker.committed).cloned();
        let left: HashMap<Arc<str>, Entry> = broker
            .progress
            .iter()
            .map(|(id, progress)| {
                (id.clone(), fitting(progress).expect("progress fits the committed offset"))
            })
            .collect();
        let start = broker.committed.unwrap_or(0);
        let tracker = OffsetTracker::open(start, broker.committed, &left);
        let (setup, bench) = (setup.clone(), setup.workbench());
        let states = StreamStates::default();
        let labels = ["anger".to_owned(), "fear".to_owned()].into();
        let (streams, under_way) = (HashMap::new(), Vec::new());
        (Reader { setup, bench, tracker, streams, states, labels, under_way }, start as usize)
    }

    pub fn take(&mut self, offset: i64, input: &Input) {
        let id = &input.stream_id;
        let mut resume = self.tracker.resume(id);
        if self.tracker.was_idle(id, input.timestamp, IDLE_MS) {
            if let Some(at) = resume.as_mut().and_then(|resume| resume.at.as_ref().map(|at| at.position)) {
                resume.as_mut().unwrap().idle_ends.push_front(at);
            }
            self.end_segment(id);
        }
        self.tracker.read(offset, Some(id), input.timestamp);
        let resumed = resume.as_ref().is_some_and(|resume| resume.at.is_some());
        let known = self.streams.remove(id);
        let begun = known.is_some() || resumed;
        let (mut stream, life, info) = known.unwrap_or_else(|| {
            let new = || Arc::new(StreamInfo { stream_id: id.clone(), ..StreamInfo::default() });
            let info = self.tracker.info(id).filter(|_| resumed).cloned().unwrap_or_else(new);
            match resume {
                Some(resume) => {
                    let stream =
                        StreamFrontEnd::resume(&self.setup, &mut self.bench, resume, &input.chunk).unwrap();
                    (stream, if resumed { -1 } else { offset }, info)
                }
                None => (StreamFrontEnd::begin(&self.setup, &input.chunk).unwrap(), offset, info),
            }
        });
        let before = begun.then(|| EpochPosition { epoch: life, place: stream.place() });
        let mut windows = Vec::new();
        stream.accept(&mut self.bench, &input.chunk, &mut |window| windows.push(window)).unwrap();
        if input.chunk.last {
            stream.end(&mut self.bench, &mut |window| windows.push(window)).unwrap();
        }
        self.emit(&info, life, windows);
        let now = EpochPosition { epoch: life, place: stream.place() };
        self.tracker.taken(ChunkAccepted {
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

    pub fn end_segment(&mut self, id: &Arc<str>) {
        let Some((mut stream, life, info)) = self.streams.remove(id) else { return };
        let mut windows = Vec::new();
        stream.end(&mut self.bench, &mut |window| windows.push(window)).unwrap();
        self.emit(&info, life, windows);
        let standing = EpochPosition { epoch: life, place: stream.place() };
        self.tracker.segment_ended(id, standing);
        self.streams.insert(id.clone(), (stream, life, info));
    }

    fn emit(&mut self, info: &Arc<StreamInfo>, epoch: i64, windows: Vec<Window>) {
        for Window { channel, index, partial, needed_from, stretch, features, .. } in windows {
            // As a gate does, by the window's own audio: some windows are silent and give no event, some give one without scores.
            let kind = features.first().map_or(0, |value| value.to_bits() % 4);
            if kind == 0 {
                continue;
            }
            let stream_id = info.stream_id.clone();
            let name = (stream_id.to_string(), channel, index, partial);
            let ticket = Ticket { assignment: AT, stream_id, epoch, channel, index, needed_from };
            self.tracker.emitted(ticket.clone());
            let share = 1.0 / (1.0 + (-features.iter().sum::<f32>() / 100.0).exp());
            let scores: &[f32] = if kind == 1 { &[] } else { &[share, 1.0 - share] };
            let raw = RawScores { stretch, labels: &self.labels, scores };
            let state = self.states.of(info, channel);
            let smoothed = SMOOTHING.smooth_channel(state, raw);
            self.under_way.push(UnderWay { ticket, name, said: (features, smoothed), state: state.clone() });
        }
    }

    /// Acknowledges the `nth` window under way; a channel's windows come in order, so its first one.
    pub fn acknowledge(&mut self, nth: usize, published: &mut Published) {
        if self.under_way.is_empty() {
            return;
        }
        let wanted = self.under_way[nth % self.under_way.len()].ticket.clone();
        let same = |other: &Ticket| other.stream_id == wanted.stream_id && other.channel == wanted.channel;
        let first = self.under_way.iter().position(|window| same(&window.ticket)).unwrap();
        let UnderWay { ticket, name, said, state } = self.under_way.remove(first);
        self.tracker.delivered(&ticket, state);
        if let Some(earlier) = published.insert(name.clone(), said.clone()) {
            assert_eq!(earlier, said, "{name:?} published again is the same");
        }
    }

    /// Writes progress, and commits unless the reader dies in between.
    pub fn commit(&mut self, broker: &mut Broker, dies: bool) {
        let settled = self.tracker.low_watermark();
        if broker.committed.is_some_and(|committed| committed >= settled) || !self.tracker.has_read() {
            return;
        }
        broker.progress.extend(self.tracker.progress_at(settled));
        if dies {
            return;
        }
        broker.committed = Some(settled);
        for ended in self.tracker.commit_acknowledged(settled) {
            broker.progress.remove(&ended);
        }
    }
}

/// What happens after a record.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    Acknowledge(usize),
    Commit,
    CrashInCommit,
    Crash,
}

pub fn run(setup: &StreamSetup, inputs: &[Input], events: &[(usize, Event)]) -> Published {
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
            assert!(reader.tracker.is_quiet());
            return broker.published;
        }
    }
}

pub fn setup() -> StreamSetup {
    let contract = model_fixture::contract(Layout::Ntc, Output::Logits);
    let config = Config::default();
    let window =
        affectd::config::Window { min_length: std::time::Duration::from_millis(500), ..config.window };
    StreamSetup::new(&contract, &window, &config.audio).unwrap()
}
