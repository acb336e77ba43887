//! The calls that have open streams, or whose last stream ended a moment ago.
//!
//! Input: the beginnings and ends of streams, and the time. Output: calls that have ended. Pure: the caller passes the time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::CallKey;
use crate::proto::Alert;
use crate::stream::{ChannelStates, StreamInfo, Ticket};

/// A stream that has ended.
#[derive(Debug, Clone)]
pub struct EndedStream {
    /// The stream.
    pub info: Arc<StreamInfo>,
    /// The totals of its channels.
    pub states: ChannelStates,
    /// Its length.
    pub duration: Duration,
    /// Places where audio is missing between its chunks; 0 where its transport counts them.
    pub holes: u64,
    /// Length of the missing audio.
    pub lost: Duration,
    /// Settles once the summary is delivered; `None` where no offset depends on it.
    pub ticket: Option<Ticket>,
    /// Alerts that its end has raised or cleared, to be delivered with the summary.
    pub alerts: Vec<Arc<Alert>>,
    /// Streams of the call that had ended when it began: it follows them, however fast they were sent.
    pub follows: usize,
}

impl EndedStream {
    fn is_earlier_reading_of(&self, newer: &Self) -> bool {
        self.ticket.as_ref().zip(newer.ticket.as_ref()).is_some_and(|(before, now)| {
            let (of, by) = (before.assignment, now.assignment);
            before.stream_id == now.stream_id && of.partition == by.partition && of.number != by.number
        })
    }
}

/// A call that has ended.
#[derive(Debug, Clone)]
pub struct EndedCall {
    /// The call.
    pub key: CallKey,
    /// Its streams in the order of their ends; at least one.
    pub streams: Vec<EndedStream>,
}

#[derive(Debug, Default)]
struct OpenCall {
    /// The open streams, each with the number of streams that had ended when it began. One id may be open twice for a moment: a partition that is
    /// assigned again is read before all of its streams have left.
    open: Vec<(Arc<StreamInfo>, usize)>,
    ended: Vec<EndedStream>,
    /// When the call ends, where no stream of it is open.
    ends_at: Option<Instant>,
}

impl OpenCall {
    /// Removes an open stream and returns how many streams had ended when it began; `None` where it is not open.
    fn close(&mut self, stream: &Arc<StreamInfo>) -> Option<usize> {
        let at = self.open.iter().position(|(open, _)| Arc::ptr_eq(open, stream))?;
        Some(self.open.remove(at).1)
    }

    /// Adds a stream that has ended. It takes the place of the same stream as it was read before its partition was assigned again: what that one would have
    /// settled is read again.
    fn end(&mut self, stream: EndedStream) {
        match self.ended.iter_mut().find(|before| before.is_earlier_reading_of(&stream)) {
            Some(before) => *before = EndedStream { follows: before.follows, ..stream },
            None => self.ended.push(stream),
        }
    }
}

/// The open calls by key.
#[derive(Debug)]
pub struct OpenCalls {
    linger: Duration,
    calls: HashMap<CallKey, OpenCall>,
    /// The times at which calls end, in order. An entry whose call has got another stream meanwhile has no effect.
    ends: VecDeque<(Instant, CallKey)>,
}

impl OpenCalls {
    /// Returns no calls. A call ends `linger` after its last stream.
    #[must_use]
    pub fn new(linger: Duration) -> Self {
        Self { linger, calls: HashMap::new(), ends: VecDeque::new() }
    }

    /// Notes that a stream of a call has begun.
    pub fn stream_began(&mut self, key: &CallKey, stream: &Arc<StreamInfo>) {
        let call = self.calls.entry(key.clone()).or_default();
        call.open.push((stream.clone(), call.ended.len()));
        call.ends_at = None;
    }

    /// Notes that a stream has ended.
    pub fn stream_ended(&mut self, key: &CallKey, stream: EndedStream, now: Instant) {
        let call = self.calls.entry(key.clone()).or_default();
        let follows = call.close(&stream.info).unwrap_or(call.ended.len());
        call.end(EndedStream { follows, ..stream });
        self.close(key, now);
    }

    /// Notes that another reader goes on with a stream: its partition was revoked. Has no effect on a stream that has ended.
    pub fn stream_left(&mut self, key: &CallKey, stream: &Arc<StreamInfo>, now: Instant) {
        let left = self.calls.get_mut(key).and_then(|call| call.close(stream));
        if left.is_some() {
            self.close(key, now);
        }
    }

    /// Lets a call end after the time to linger, if no stream of it is open.
    fn close(&mut self, key: &CallKey, now: Instant) {
        let Some(call) = self.calls.get_mut(key).filter(|call| call.open.is_empty()) else { return };
        if call.ended.is_empty() {
            self.calls.remove(key);
        } else {
            let ends_at = now + self.linger;
            call.ends_at = Some(ends_at);
            self.ends.push_back((ends_at, key.clone()));
        }
    }

    /// Returns the time at which a call may end next; `None` where no call is about to end.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.front().map(|(at, _)| *at)
    }

    /// Removes and returns the calls that have ended by `now`.
    pub fn take_ended(&mut self, now: Instant) -> Vec<EndedCall> {
        let mut ended = Vec::new();
        while let Some((at, key)) = self.ends.pop_front_if(|(at, _)| *at <= now) {
            if self.calls.get(&key).is_some_and(|call| call.ends_at == Some(at)) {
                ended.extend(self.calls.remove(&key).map(|call| EndedCall { key, streams: call.ended }));
            }
        }
        ended
    }

    /// Removes and returns the calls without an open stream, in the order of their ends.
    pub fn take_rest(&mut self) -> Vec<EndedCall> {
        let last = self.ends.back().map(|(at, _)| *at);
        last.map_or_else(Vec::new, |last| self.take_ended(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Assignment, SUMMARY_CHANNEL};

    fn key(owner: &str) -> CallKey {
        CallKey { owner: owner.into(), call_id: "call".into() }
    }

    fn stream(stream_id: &str) -> Arc<StreamInfo> {
        Arc::new(StreamInfo { stream_id: stream_id.into(), ..StreamInfo::default() })
    }

    fn ended(info: &Arc<StreamInfo>) -> EndedStream {
        EndedStream {
            info: info.clone(),
            states: ChannelStates::default(),
            duration: Duration::ZERO,
            holes: 0,
            lost: Duration::ZERO,
            ticket: None,
            alerts: Vec::new(),
            follows: 0,
        }
    }

    /// A stream that ended while its partition was assigned for the `number`th time.
    fn ended_at(number: u64, info: &Arc<StreamInfo>) -> EndedStream {
        let assignment = Assignment { partition: 0, number };
        let stream_id = info.stream_id.clone();
        let (epoch, channel) = (0, SUMMARY_CHANNEL);
        let ticket = Some(Ticket { assignment, stream_id, epoch, channel, index: 0, needed_from: 0 });
        EndedStream { ticket, ..ended(info) }
    }

    #[test]
    fn a_call_ends_when_its_last_stream_has_ended_and_none_came_within_linger() {
        let (linger, now) = (Duration::from_secs(5), Instant::now());
        let (mut calls, id) = (OpenCalls::new(linger), key(""));
        let (one, two) = (stream("one"), stream("two"));
        calls.stream_began(&id, &one);
        calls.stream_ended(&id, ended(&one), now);
        assert_eq!(calls.next_end(), Some(now + linger));
        calls.stream_began(&id, &two);
        assert!(calls.take_ended(now + linger).is_empty(), "a transfer goes on with the call");
        calls.stream_ended(&id, ended(&two), now + linger);
        assert!(calls.take_ended(now + linger).is_empty());
        let done = calls.take_ended(now + linger * 2);
        assert_eq!((done.len(), done[0].streams.len(), done[0].streams[1].follows), (1, 2, 1));
        assert_eq!(calls.next_end(), None);
    }

    #[test]
    fn a_call_whose_only_stream_moved_to_another_reader_is_forgotten() {
        let (mut calls, id) = (OpenCalls::new(Duration::ZERO), key(""));
        let one = stream("one");
        calls.stream_began(&id, &one);
        calls.stream_left(&id, &one, Instant::now());
        assert!(calls.take_rest().is_empty());
    }

    #[test]
    fn a_stream_that_is_read_again_leaves_and_ends_by_itself() {
        let (mut calls, id, now) = (OpenCalls::new(Duration::ZERO), key(""), Instant::now());
        let (first, again) = (stream("one"), stream("one"));
        calls.stream_began(&id, &first);
        calls.stream_began(&id, &again);
        calls.stream_left(&id, &first, now);
        assert!(calls.take_rest().is_empty(), "the second one is open");
        calls.stream_ended(&id, ended(&again), now);
        assert_eq!(calls.take_rest()[0].streams.len(), 1);
    }

    #[test]
    fn a_stream_that_ended_and_is_read_again_counts_once() {
        let (mut calls, id, now) = (OpenCalls::new(Duration::ZERO), key(""), Instant::now());
        let (before, first, again) = (stream("before"), stream("one"), stream("one"));
        for (number, info) in [(1, &before), (1, &first), (2, &again)] {
            calls.stream_began(&id, info);
            calls.stream_ended(&id, ended_at(number, info), now);
        }
        let done = calls.take_rest().remove(0);
        let found: Vec<(u64, usize)> = done
            .streams
            .iter()
            .map(|stream| (stream.ticket.as_ref().unwrap().assignment.number, stream.follows))
            .collect();
        assert_eq!(found, [(1, 0), (2, 1)]);
    }

    #[test]
    fn streams_of_two_principals_are_two_calls_of_one_id() {
        let (mut calls, now) = (OpenCalls::new(Duration::ZERO), Instant::now());
        for owner in ["", "token/a", "token/b"] {
            calls.stream_began(&key(owner), &stream("one"));
        }
        for owner in ["token/a", "token/b"] {
            let open = calls.calls[&key(owner)].open[0].0.clone();
            calls.stream_ended(&key(owner), ended(&open), now);
        }
        let done = calls.take_ended(now);
        let owners: Vec<&str> = done.iter().map(|call| &*call.key.owner).collect();
        assert_eq!(owners, ["token/a", "token/b"]);
        assert!(done.iter().all(|call| call.streams.len() == 1));
    }
}
