//! Readers from crash to crash.
//!
//! Input: records, what happens after each, and after which of them the partition is silent. Output: what all readers published together.

use std::collections::BTreeSet;

use affectd::stream::StreamSetup;

use super::Published;
use super::broker::{Broker, BrokerOutcome, Mode};
use super::input::Input;
use super::reader::Reader;

/// What happens after a record.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    Acknowledge(usize),
    /// A whole commit.
    Commit,
    /// A commit begins; records follow before its outcome is known.
    BeginCommit,
    FinishCommit(BrokerOutcome),
    /// The shard has not handled the record yet when the next one is read.
    ShardIsSlow,
    /// The reader dies in the middle of a commit.
    CrashInCommit(BrokerOutcome),
    Crash,
}

/// Reads all inputs with as many readers as crash, and returns what they published. After the records in `silences`, the partition is at its end and
/// silent for long.
pub fn run(
    setup: &StreamSetup,
    inputs: &[Input],
    events: &[(usize, Event)],
    silences: &BTreeSet<usize>,
) -> (Published, BTreeSet<usize>) {
    let (broker, silent) = run_as(Mode::AtLeastOnce, setup, inputs, events, silences);
    (broker.published, silent)
}

/// As [`run`], with readers that deliver as `delivery` says; returns the broker.
pub fn run_as(
    delivery: Mode,
    setup: &StreamSetup,
    inputs: &[Input],
    events: &[(usize, Event)],
    silences: &BTreeSet<usize>,
) -> (Broker, BTreeSet<usize>) {
    let (mut broker, mut events) = (Broker { delivery, ..Broker::default() }, events.iter().peekable());
    let mut silent = BTreeSet::new();
    loop {
        let (mut reader, start) = Reader::start(setup, &mut broker);
        let mut crashed = false;
        for (offset, input) in inputs.iter().enumerate().skip(start) {
            reader.read(offset as i64, input);
            let (mut turn, mut slow) = (Vec::new(), false);
            while turn.len() < 3
                && let Some((_, event)) = events.next_if(|(at, _)| (offset + at) % 3 != 0)
            {
                slow |= matches!(event, Event::ShardIsSlow);
                turn.push(*event);
            }
            if !slow {
                reader.catch_up();
            }
            for event in turn {
                crashed |= happens(event, &mut reader, &mut broker);
            }
            // The clock decides once. A replay must not depend on it: there the records come at once.
            if !crashed && silences.contains(&offset) && !silent.contains(&offset) {
                if reader.fall_silent(&mut broker) {
                    silent.insert(offset);
                    reader.finish_commit(&mut broker, BrokerOutcome::Acknowledged);
                    crashed = matches!(events.peek(), Some((_, Event::Crash | Event::CrashInCommit(_))));
                    if crashed {
                        events.next();
                    }
                }
                reader.catch_up();
            }
            if crashed {
                break;
            }
        }
        if !crashed {
            reader.finish(&mut broker);
            return (broker, silent);
        }
    }
}

/// Returns whether the reader crashes.
fn happens(event: Event, reader: &mut Reader, broker: &mut Broker) -> bool {
    match event {
        Event::Acknowledge(nth) => reader.acknowledge(nth, &mut broker.published),
        Event::Commit => reader.commit(broker, BrokerOutcome::Acknowledged),
        Event::BeginCommit => reader.begin_commit(),
        Event::FinishCommit(outcome) => reader.finish_commit(broker, outcome),
        Event::CrashInCommit(outcome) => reader.commit(broker, outcome),
        Event::ShardIsSlow | Event::Crash => {}
    }
    matches!(event, Event::Crash | Event::CrashInCommit(_))
}
