//! Streams whose next job has no room: in their model's queue, or in a sink that they feed.
//!
//! Input: jobs as they are made. Output: the jobs in their stream's order, as soon as there is room for them. A stream in the backlog waits with
//! all its later messages, and the shard goes on with its other streams. So a slow model or a full sink delays its own streams alone. (Waiting
//! in `blocking_send` would delay every stream of the shard.)
//!
//! Invariants: a job needs room in each sink of its stream before it takes a place in the model's queue, so the publish stage never waits for a
//! sink; streams that wait for the same queue take turns, and a job of another stream of the shard goes behind them. The backlog is bounded: each
//! waiting chunk holds a permit of its model's share ([`ServedModel::share`]), so that one model's chunks leave the inbox to the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::mpsc::error::TrySendError;

use super::block_on::Parker;
use super::full_queue::{FullQueue, Waiter};
use super::{ShardMessage, StreamKey};
use crate::batch::Job;
use crate::serving::{JobOrigin, ServedModel, SinkEvent, StreamSinks};
use crate::stream::StreamInfo;

/// Jobs of one message that may wait. Only a chunk of minutes makes more, whose features would fill the memory. The thread then waits for room.
const MOST_OF_A_MESSAGE: usize = 256;

/// A job without room.
struct Pending {
    model: Arc<ServedModel>,
    job: Job<JobOrigin>,
}

/// The queue that lacks room for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacks {
    /// The model's.
    Model,
    /// That of the stream's sink with this number.
    Sink(usize),
}

/// A stream that waits.
#[derive(Default)]
struct WaitingStream {
    /// At least one while the stream waits and is not held.
    jobs: VecDeque<Pending>,
    /// Messages that came since.
    messages: VecDeque<ShardMessage>,
    /// Whether the stream waits until [`Backlog::release`], even without jobs.
    is_held: bool,
}

/// The streams of a shard that wait, and the queues that they wait for.
pub(super) struct Backlog {
    sinks: StreamSinks,
    /// Jobs of the message that is being handled, from the first one without room.
    unsent: VecDeque<Pending>,
    streams: HashMap<StreamKey, WaitingStream>,
    full_models: Vec<FullQueue<Job<JobOrigin>>>,
    full_sinks: Vec<FullQueue<SinkEvent>>,
}

/// Room that has come free.
pub(super) enum Room {
    /// In a model's queue; `None` where it is closed.
    Model(Waiter, Option<OwnedPermit<Job<JobOrigin>>>),
    /// In a sink's queue; `None` where it is closed.
    Sink(Waiter, Option<OwnedPermit<SinkEvent>>),
}

impl Backlog {
    pub fn new(sinks: StreamSinks) -> Self {
        let (full_models, full_sinks) = (Vec::new(), Vec::new());
        Self { sinks, unsent: VecDeque::new(), streams: HashMap::new(), full_models, full_sinks }
    }

    /// Submits a job of the stream whose message is being handled, or keeps it for [`Self::park`].
    pub fn submit(&mut self, model: &Arc<ServedModel>, job: Job<JobOrigin>) {
        if self.unsent.len() >= MOST_OF_A_MESSAGE {
            self.wait_for_first();
        }
        let waits = !self.unsent.is_empty();
        let rejected = if waits { Some((Lacks::Model, job)) } else { self.try_send(model, job).err() };
        match rejected {
            None => {}
            Some((Lacks::Model, job)) if model.is_only && !waits && self.is_empty() => {
                wait_for_room(model, job)
            }
            Some((_, job)) => self.unsent.push_back(Pending { model: model.clone(), job }),
        }
    }

    /// Submits the end marker of a stream behind all its jobs. It waits by itself where the stream has no pending job, so that a stream that
    /// opens with the same key does not wait for it.
    pub fn submit_end(&mut self, model: &Arc<ServedModel>, stream: Arc<StreamInfo>) {
        let job = Job::silent(JobOrigin::StreamEnd(stream.clone()));
        if self.unsent.iter().any(|pending| pending.job.origin.is_of(&stream)) {
            return self.unsent.push_back(Pending { model: model.clone(), job });
        }
        match self.try_send(model, job) {
            Ok(()) => {}
            Err((Lacks::Model, job)) if model.is_only && self.is_empty() => wait_for_room(model, job),
            Err(_) => self.wait_for_model(model, Waiter::End(stream)),
        }
    }

    /// Makes the stream wait whose message was handled, if one of its jobs found no room.
    pub fn park(&mut self, key: &StreamKey) {
        if self.unsent.is_empty() {
            return;
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.streams.entry(key.clone()).or_default().jobs.extend(unsent);
        self.advance(key);
    }

    /// Whether the stream waits; messages for it must then go to [`Self::defer`].
    pub fn waits(&self, key: &StreamKey) -> bool {
        !self.streams.is_empty() && self.streams.contains_key(key)
    }

    /// Makes a stream wait although it has no job, until [`Self::release`].
    pub fn hold(&mut self, key: &StreamKey) {
        self.streams.entry(key.clone()).or_default().is_held = true;
    }

    /// Ends what [`Self::hold`] has begun. The stream's messages may be handled once its jobs are sent.
    pub fn release(&mut self, key: &StreamKey) {
        self.streams.get_mut(key).iter_mut().for_each(|stream| stream.is_held = false);
    }

    /// Whether the stream has jobs without room.
    pub fn has_jobs(&self, key: &StreamKey) -> bool {
        self.streams.get(key).is_some_and(|stream| !stream.jobs.is_empty())
    }

    /// Whether no job and no message waits, and no stream is held.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.full_models.is_empty()
    }

    /// Keeps a message of a stream that waits until the stream's jobs are sent.
    pub fn defer(&mut self, key: &StreamKey, message: ShardMessage) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.messages.push_back(message);
        }
    }

    /// Drops the pending jobs and messages of a stream, but for end markers: without them the stages behind the model would keep its state for ever.
    pub fn forget(&mut self, key: &StreamKey) {
        let Some(WaitingStream { jobs, .. }) = self.streams.remove(key) else { return };
        self.full_models.iter_mut().for_each(|queue| queue.remove(key));
        self.full_sinks.iter_mut().for_each(|queue| queue.remove(key));
        self.drop_done();
        for Pending { model, job } in jobs {
            if let JobOrigin::StreamEnd(stream) = job.origin {
                self.submit_end(&model, stream);
            }
        }
    }

    /// The waiting streams that `wanted` picks.
    pub fn waiting(&self, wanted: impl Fn(&StreamKey) -> bool) -> Vec<StreamKey> {
        self.streams.keys().filter(|key| wanted(key)).cloned().collect()
    }

    /// Room in one of the full queues.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Room> {
        for queue in &mut self.full_sinks {
            if let Poll::Ready((waiter, room)) = queue.poll(context) {
                return Poll::Ready(Room::Sink(waiter, room));
            }
        }
        for queue in &mut self.full_models {
            if let Poll::Ready((waiter, room)) = queue.poll(context) {
                return Poll::Ready(Room::Model(waiter, room));
            }
        }
        Poll::Pending
    }

    /// Uses room that has come free. Returns the stream that it was for, whose messages may be handled once it no longer waits.
    pub fn use_room(&mut self, room: Room) -> Option<StreamKey> {
        let key = match room {
            Room::Model(Waiter::End(stream), room) => {
                room.map(|room| room.send(Job::silent(JobOrigin::StreamEnd(stream))));
                None
            }
            Room::Model(Waiter::Stream(key), room) => {
                let first = self.streams.get_mut(&key).and_then(|stream| stream.jobs.pop_front());
                // A closed queue drops the job, as at the end of a drain: nothing settles, so nothing is lost.
                first.zip(room).map(|(first, room)| room.send(first.job));
                Some(key)
            }
            Room::Sink(Waiter::Stream(key), room) => {
                let stream = self.streams.get_mut(&key);
                match (stream.and_then(|stream| stream.jobs.front_mut()), room) {
                    (
                        Some(Pending { job: Job { origin: JobOrigin::Window(envelope), .. }, .. }),
                        Some(room),
                    ) => {
                        envelope.sinks.push(room);
                    }
                    (Some(_), None) => _ = self.streams.get_mut(&key).and_then(|it| it.jobs.pop_front()),
                    _ => {}
                }
                Some(key)
            }
            Room::Sink(Waiter::End(_), _) => None,
        };
        self.drop_done();
        key.inspect(|key| self.advance(key))
    }

    /// The next message of a stream whose jobs are all sent; it waits no longer once there is none.
    pub fn next_message(&mut self, key: &StreamKey) -> Option<ShardMessage> {
        let stream = self.streams.get_mut(key).filter(|stream| stream.jobs.is_empty() && !stream.is_held)?;
        let message = stream.messages.pop_front();
        if message.is_none() {
            self.streams.remove(key);
        }
        message
    }

    /// Sends the jobs of a waiting stream until one finds no room; the stream then waits for that queue.
    fn advance(&mut self, key: &StreamKey) {
        while let Some(first) = self.streams.get_mut(key).and_then(|stream| stream.jobs.pop_front()) {
            let Pending { model, job } = first;
            let Err((lacks, job)) = self.try_send(&model, job) else { continue };
            let waiter = Waiter::Stream(key.clone());
            match lacks {
                Lacks::Model => self.wait_for_model(&model, waiter),
                Lacks::Sink(number) => self.wait_for_sink(&job, number, waiter),
            }
            let stream = self.streams.get_mut(key).expect("it waits");
            return stream.jobs.push_front(Pending { model, job });
        }
        // Room may have come free since a job found none: a stream without jobs must not stay, as nothing would wake it.
        if self.streams.get(key).is_some_and(|stream| stream.messages.is_empty() && !stream.is_held) {
            self.streams.remove(key);
        }
    }

    /// Sends a job unless a queue lacks room for it, or other streams wait there.
    fn try_send(&self, model: &ServedModel, mut job: Job<JobOrigin>) -> Result<(), (Lacks, Job<JobOrigin>)> {
        if let JobOrigin::Window(envelope) = &mut job.origin {
            let sinks = self.sinks.of(&envelope.recipient);
            for (number, sink) in sinks.iter().enumerate().skip(envelope.sinks.len()) {
                let free = !self.full_sinks.iter().any(|queue| queue.is(&sink.0));
                match sink.try_reserve().filter(|_| free) {
                    Some(room) => envelope.sinks.push(room),
                    None => return Err((Lacks::Sink(number), job)),
                }
            }
        }
        if self.full_models.iter().any(|queue| queue.is(&model.jobs)) {
            return Err((Lacks::Model, job));
        }
        match model.jobs.try_send(job) {
            Err(TrySendError::Full(job)) => Err((Lacks::Model, job)),
            // Closed at the end of a drain: nothing settles, so nothing is lost.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
        }
    }

    fn wait_for_model(&mut self, model: &ServedModel, waiter: Waiter) {
        match self.full_models.iter_mut().find(|queue| queue.is(&model.jobs)) {
            Some(queue) => queue.push(waiter),
            None => self.full_models.push(FullQueue::new(&model.jobs, waiter)),
        }
    }

    fn wait_for_sink(&mut self, job: &Job<JobOrigin>, number: usize, waiter: Waiter) {
        let JobOrigin::Window(envelope) = &job.origin else { return };
        let sink = &self.sinks.of(&envelope.recipient)[number].0;
        match self.full_sinks.iter_mut().find(|queue| queue.is(sink)) {
            Some(queue) => queue.push(waiter),
            None => self.full_sinks.push(FullQueue::new(sink, waiter)),
        }
    }

    /// A queue that nobody waits for must not keep its sender: a batcher ends when its last sender is dropped.
    fn drop_done(&mut self) {
        self.full_models.retain(|queue| !queue.is_done());
        self.full_sinks.retain(|queue| !queue.is_done());
    }

    /// Waits on the thread itself until the first pending job of the message has room.
    fn wait_for_first(&mut self) {
        let Some(Pending { model, mut job }) = self.unsent.pop_front() else { return };
        let parker = Parker::new();
        if let JobOrigin::Window(envelope) = &mut job.origin {
            for sink in &self.sinks.of(&envelope.recipient)[envelope.sinks.len()..] {
                let Ok(room) = parker.block_on(sink.0.clone().reserve_owned()) else { return };
                envelope.sinks.push(room);
            }
        }
        _ = parker.block_on(model.jobs.send(job));
    }
}

/// Waits on the thread itself until the queue of the only model has room.
///
/// Every stream of the shard needs that queue, so there is none that could go on meanwhile. To park the stream as with several models would compute
/// windows ahead of their turn: they leave the processor's caches before the model reads them, which costs 3 % of the daemon's time under full load.
fn wait_for_room(model: &ServedModel, job: Job<JobOrigin>) {
    // Fails only once the batcher has ended, at the end of a drain: nothing settles, so nothing is lost.
    let _ = model.jobs.blocking_send(job);
}
