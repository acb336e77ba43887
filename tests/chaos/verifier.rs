//! Compares what a disturbed run published with an undisturbed one.
//!
//! Input: events and dead letters as a consumer with `isolation.level=read_committed` reads them, and the group's offsets. Output: the figures of one row
//! of the table, and whether they are right.

use std::collections::{BTreeMap, BTreeSet};

use affectd::proto::EmotionEvent;
use prost::Message;

use crate::support::kafka::Stored;

/// The largest difference of a score that still counts as equal: batches of other sizes add up in another order.
const TOLERANCE: f32 = 1e-4;

/// The delivery mode of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    AtLeastOnce,
    ExactlyOnce,
}

impl Mode {
    pub fn name(self) -> &'static str {
        if self == Mode::AtLeastOnce { "at-least-once" } else { "exactly-once" }
    }
}

/// Events by id, each as it was published first.
pub type Events = BTreeMap<String, EmotionEvent>;

/// Decodes the events of a topic, in the order of each partition.
pub fn events(records: &[Stored]) -> Vec<EmotionEvent> {
    let decode = |value: &[u8]| EmotionEvent::decode(value).expect("an event");
    records.iter().map(|record| decode(record.value.as_deref().expect("a value"))).collect()
}

/// Returns the events by id.
pub fn by_id(events: Vec<EmotionEvent>) -> Events {
    let mut first = Events::new();
    for event in events {
        first.entry(event.event_id.clone()).or_insert(event);
    }
    first
}

/// The figures of one run.
#[derive(Debug, Default)]
pub struct Figures {
    pub published: usize,
    pub missing: Vec<String>,
    pub unknown: Vec<String>,
    pub duplicates: usize,
    pub unequal: Vec<String>,
    pub disordered: Vec<String>,
    /// Records behind the committed offsets.
    pub lag: i64,
    /// Dead letters of records that are no poison, and poison without a dead letter.
    pub wrong_letters: Vec<String>,
    /// Daemons that ended by themselves, or with an error.
    pub exits: Vec<String>,
    /// Where records hang that are not committed.
    pub diagnosis: String,
}

impl Figures {
    /// Compares the events of a run with the expected ones.
    pub fn of(expected: &Events, published: Vec<EmotionEvent>) -> Figures {
        let mut figures = Figures { published: published.len(), ..Figures::default() };
        let mut seen = BTreeSet::new();
        let mut last: BTreeMap<(String, u32), u64> = BTreeMap::new();
        for event in &published {
            let known = expected.get(&event.event_id);
            if known.is_some_and(|known| !is_equal(known, event)) {
                figures.unequal.push(name(event));
            }
            if !seen.insert(event.event_id.clone()) {
                figures.duplicates += 1;
                continue;
            }
            if known.is_none() {
                figures.unknown.push(name(event));
            }
            let channel = (event.stream_id.clone(), event.channel);
            if last.insert(channel, event.window_index).is_some_and(|before| before >= event.window_index) {
                figures.disordered.push(name(event));
            }
        }
        let missing = expected.values().filter(|event| !seen.contains(&event.event_id));
        figures.missing = missing.map(name).collect();
        figures
    }

    /// Compares the origins of dead letters with those of the poison.
    pub fn letters(&mut self, letters: &[Stored], poison: &BTreeSet<(i32, i64)>) {
        let number =
            |letter: &Stored, header| letter.header(header).and_then(|text| text.parse::<i64>().ok());
        let origin = |letter: &Stored| {
            let (partition, offset) =
                (number(letter, "affectd-partition")?, number(letter, "affectd-offset")?);
            Some((partition as i32, offset))
        };
        let mut found = BTreeSet::new();
        for letter in letters {
            match origin(letter).filter(|origin| poison.contains(origin)) {
                Some(origin) => _ = found.insert(origin),
                None => self.wrong_letters.push(format!("{:?}", letter.header("affectd-error"))),
            }
        }
        self.wrong_letters
            .extend(poison.difference(&found).map(|origin| format!("no letter for {origin:?}")));
    }

    /// Returns what is wrong in `mode`, with examples.
    pub fn faults(&self, mode: Mode) -> Vec<String> {
        let lists = [
            ("missing", &self.missing),
            ("unknown", &self.unknown),
            ("unequal", &self.unequal),
            ("disordered", &self.disordered),
            ("dead letters", &self.wrong_letters),
            ("exits", &self.exits),
        ];
        let shown = lists.iter().filter(|(_, list)| !list.is_empty());
        let mut faults: Vec<String> = shown
            .map(|(what, list)| format!("{} {what}, such as {:?}", list.len(), &list[..list.len().min(4)]))
            .collect();
        if mode == Mode::ExactlyOnce && self.duplicates > 0 {
            faults.push(format!("{} duplicates", self.duplicates));
        }
        if self.lag != 0 {
            faults.push(format!("{} records are not committed", self.lag));
        }
        faults
    }
}

fn name(event: &EmotionEvent) -> String {
    let EmotionEvent { stream_id, channel, window_index, partial, .. } = event;
    format!("{stream_id}/{channel}/{window_index}{}", if *partial { "p" } else { "" })
}

fn is_equal(one: &EmotionEvent, other: &EmotionEvent) -> bool {
    let close = |a: f32, b: f32| (a - b).abs() <= TOLERANCE;
    let scores = |event: &EmotionEvent| {
        let all = event.scores.iter().chain(&event.smoothed_scores);
        all.map(|score| (score.emotion.clone(), score.probability)).collect::<Vec<_>>()
    };
    let (scores, others) = (scores(one), scores(other));
    scores.len() == others.len()
        && scores.iter().zip(&others).all(|(a, b)| a.0 == b.0 && close(a.1, b.1))
        && (&one.start, &one.end) == (&other.start, &other.end)
}
