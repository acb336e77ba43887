//! One call, one stream: reads its chunks and hands them to their shard, as fast as the client takes its events.
//!
//! In: requests. Out: chunks with room for their events; at the end the stream's last windows, or a refusal. Cancelling the task (by
//! the server's end) forgets the stream.

use std::pin::pin;
use std::sync::Arc;

use prost::bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::recognition::{RecognitionLinks, draining};
use super::refusal::{invalid, refusal, too_large};
use crate::audio::{self, AudioFormat, ChannelPolicy};
use crate::proto::{AudioChunk, RecognizeRequest};
use crate::serving::CallReply;
use crate::serving::{ModelRegistry, ServedModel};
use crate::session::OpenRefused;
use crate::session::Opened;
use crate::session::{chunks_of, credits_of_a_call, events_of_a_piece, most_events_of_a_piece, pieces};
use crate::shard::{ChunkEnvelope, ShardMessage, Source, StreamKey};
use crate::stream::StreamInfo;
use crate::stream::{BadChunk, Chunk};
use crate::telemetry::metrics;

/// How reading ended.
enum End {
    /// The client closed its side, or said `last`.
    Finished,
    /// The daemon drains.
    Drained,
    /// The client has gone.
    Gone,
}

/// When the sender captured a chunk.
type CapturedAt = Option<pbjson_types::Timestamp>;

/// A call.
pub struct Call {
    number: u64,
    links: Arc<RecognitionLinks>,
    /// The models as they were when the call began.
    registry: Arc<ModelRegistry>,
    replies: mpsc::Sender<CallReply>,
    /// What the shard refuses, and where that is heard. Apart from the replies, so that events under way are not lost to it.
    refusals: mpsc::Sender<Status>,
    refused: mpsc::Receiver<Status>,
    credits: Arc<Semaphore>,
    /// Receives the refusal that the call ends with, if any.
    end: oneshot::Sender<Status>,
    opened: Option<Opened>,
}

impl Call {
    /// A call that answers on `replies`.
    pub fn new(
        number: u64,
        links: Arc<RecognitionLinks>,
        registry: Arc<ModelRegistry>,
        replies: mpsc::Sender<CallReply>,
        end: oneshot::Sender<Status>,
    ) -> Self {
        let credits = Arc::new(Semaphore::new(credits_of_a_call(&registry)));
        let (refusals, refused) = mpsc::channel(1);
        Self { number, links, registry, replies, refusals, refused, credits, end, opened: None }
    }

    /// Reads to the end, waits until every event has left for the client, then says why the call is over.
    pub async fn run(mut self, mut inbound: Streaming<RecognizeRequest>) {
        let end = match self.read(&mut inbound).await {
            Ok(End::Gone) => return self.forget().await,
            Ok(end) => self.close().await.map(|()| end),
            Err(status) => Err(status),
        };
        let status = match end {
            Ok(End::Finished | End::Gone) => None,
            Ok(End::Drained) => Some(draining()),
            Err(status) => {
                self.forget().await;
                Some(status)
            }
        };
        self.all_sent().await;
        // What a shard refused came before whatever ended the call.
        let status = self.refused.try_recv().ok().or(status);
        // The stream's place is free before the client can know that the call is over.
        self.opened = None;
        if let Some(status) = status {
            // Fails only where the client has left.
            let _ = self.end.send(status);
        }
    }

    /// Waits until nothing is under way: every chunk taken in or refused, every event gone to the client.
    async fn all_sent(&self) {
        let all = credits_of_a_call(&self.registry) as u32;
        tokio::select! {
            _ = self.credits.acquire_many(all) => {}
            () = self.replies.closed() => {}
        }
    }

    async fn read(&mut self, inbound: &mut Streaming<RecognizeRequest>) -> Result<End, Status> {
        let (draining, replies) = (self.links.draining.clone(), self.replies.clone());
        let idle_timeout = self.links.audio.idle_timeout;
        // Made once: with each chunk they would take their places in shared lists, and leave them.
        let (mut drained, mut gone) = (pin!(draining.cancelled()), pin!(replies.closed()));
        let mut idle = pin!(tokio::time::sleep(idle_timeout));
        let mut silent = false;
        loop {
            let next = tokio::select! {
                biased;
                () = &mut drained => return Ok(End::Drained),
                () = &mut gone => return Ok(End::Gone),
                Some(status) = self.refused.recv() => return Err(status),
                next = inbound.message() => next,
                () = &mut idle, if !silent => {
                    silent = true;
                    self.end_segment().await?;
                    continue;
                }
            };
            match next {
                Err(status) => return Err(too_large(status, self.links.audio.max_chunk_bytes)),
                Ok(None) => return Ok(End::Finished),
                Ok(Some(request)) => {
                    silent = false;
                    idle.as_mut().reset(Instant::now() + idle_timeout);
                    let missing = || invalid("chunk_missing", "chunk: missing in the request");
                    let chunk = request.chunk.ok_or_else(missing)?;
                    if self.take(chunk).await? {
                        return Ok(End::Finished);
                    }
                }
            }
        }
    }

    /// Takes a chunk in. Says whether it was the last one.
    async fn take(&mut self, mut chunk: AudioChunk) -> Result<bool, Status> {
        let format = chunk.format.as_ref().map(AudioFormat::try_from).transpose().map_err(BadChunk::from);
        let format = format.map_err(|bad| refusal(&bad))?;
        if self.opened.is_none() {
            self.open(&mut chunk, format)?;
        }
        let opened = self.opened.as_mut().expect("opened above");
        opened.check(&chunk, format)?;
        // Known here already: the pieces of a chunk have one sequence among them.
        if chunk.sequence.zip(opened.sequence).is_some_and(|(new, seen)| new <= seen) {
            metrics::rejected(metrics::Source::Grpc, "duplicate");
            return Ok(false);
        }
        opened.sequence = chunk.sequence.or(opened.sequence);
        let (format, last, captured_at) = (opened.format, chunk.last, chunk.captured_at);
        if format.is_file() {
            self.take_file(chunk.audio, last, captured_at).await?;
            return Ok(last);
        }
        let whole = Chunk {
            sequence: chunk.sequence,
            first_sample: chunk.first_sample,
            format: Some(format),
            audio: chunk.audio,
            last,
        };
        self.submit(format, whole, captured_at).await?;
        Ok(last)
    }

    /// Opens the stream that its first chunk names.
    fn open(&mut self, chunk: &mut AudioChunk, format: Option<AudioFormat>) -> Result<(), Status> {
        let format = format.ok_or_else(|| refusal(&BadChunk::FormatMissing))?;
        let model = self.registry.find(&chunk.model).map_err(|no| invalid("model", no.to_string()))?;
        let stream_id = match std::mem::take(&mut chunk.stream_id) {
            empty if empty.is_empty() => uuid::Uuid::new_v4().to_string(),
            named => named,
        };
        let channels = ChannelPolicy::from_proto(chunk.channels).map_err(|bad| refusal(&bad.into()))?;
        let info = StreamInfo {
            stream_id: stream_id.into(),
            attributes: std::mem::take(&mut chunk.attributes),
            model: chunk.model.clone(),
            channels,
            channel_names: std::mem::take(&mut chunk.channel_names),
            channel_states: Default::default(),
        };
        let analysed = model.setup.for_stream(&info).channels.analysed(format.channels());
        let limit = self.links.max_utilization_percent;
        let busy = self.registry.utilization_with(&model, analysed) * 100.0 > limit as f64;
        let place =
            if busy { Err(OpenRefused::Busy(limit)) } else { self.links.streams.open(&info.stream_id) };
        let place = place.map_err(|no| no.refusal())?;
        self.opened = Some(Opened::new(Arc::new(info), model, format, place));
        Ok(())
    }

    /// Collects a file; decodes it here once it is whole, so that its windows come no faster than the client takes the events.
    async fn take_file(&mut self, audio: Bytes, last: bool, captured_at: CapturedAt) -> Result<(), Status> {
        let limit = self.links.audio.max_file_bytes;
        let opened = self.opened.as_mut().expect("a file's stream is open");
        opened.file.push(&audio, limit).map_err(|bad| refusal(&bad))?;
        if last && opened.file.is_empty() && !opened.begun {
            let nothing = audio::decode_bytes(Bytes::new(), None);
            return nothing.map(drop).map_err(|error| refusal(&error.into()));
        }
        if last { self.end_file(captured_at).await } else { Ok(()) }
    }

    /// Decodes the file that was collected, if any.
    async fn end_file(&mut self, captured_at: CapturedAt) -> Result<(), Status> {
        let file = self.opened.as_mut().map(|opened| opened.file.take()).unwrap_or_default();
        if file.is_empty() {
            return Ok(());
        }
        let decoded = tokio::task::spawn_blocking(move || audio::decode_bytes(file, None)).await;
        let recording = decoded.map_err(|panic| Status::internal(panic.to_string()))?;
        let recording = recording.map_err(|error| refusal(&error.into()))?;
        let (format, chunks) = chunks_of(recording).map_err(|bad| refusal(&bad))?;
        for chunk in chunks {
            self.submit(format, chunk, captured_at).await?;
        }
        Ok(())
    }

    /// Hands a chunk to its shard, each piece once there is room for its events.
    async fn submit(
        &mut self,
        format: AudioFormat,
        chunk: Chunk,
        captured_at: CapturedAt,
    ) -> Result<(), Status> {
        let opened = self.opened.as_ref().expect("opened by its first chunk");
        let model = opened.model.clone();
        let events = events_of_a_piece(&opened.setup, format);
        let pieces = pieces(&opened.setup, format, chunk).map_err(|bad| refusal(&bad))?;
        for (number, chunk) in pieces.into_iter().enumerate() {
            let Some(credits) = self.credits(events).await else { return Ok(()) };
            let Some(place) = self.place(&model).await else { return Ok(()) };
            let opened = self.opened.as_mut().expect("opened by its first chunk");
            let info = opened.info.clone();
            let source = Source::Call {
                number: self.number,
                first: !std::mem::replace(&mut opened.begun, true),
                continues: number > 0,
                replies: self.replies.clone(),
                refusals: self.refusals.clone(),
                credits,
            };
            let envelope = ChunkEnvelope {
                info,
                chunk,
                captured_at,
                source,
                resume: None,
                model: model.clone(),
                place: Some(place),
            };
            self.tell(ShardMessage::Chunk(Box::new(envelope))).await?;
        }
        Ok(())
    }

    /// The stream was idle: its stretch ends, and it goes on with the next chunk.
    async fn end_segment(&mut self) -> Result<(), Status> {
        self.end_file(None).await?;
        self.end_with(|key, credits| ShardMessage::EndSegment { key, credits }).await
    }

    /// The stream's end: its last windows are given.
    async fn close(&mut self) -> Result<(), Status> {
        self.end_file(None).await?;
        self.end_with(|key, credits| ShardMessage::Close { key, credits }).await
    }

    async fn end_with(
        &mut self,
        message: impl FnOnce(StreamKey, Option<OwnedSemaphorePermit>) -> ShardMessage,
    ) -> Result<(), Status> {
        let Some(opened) = &self.opened else { return Ok(()) };
        let events = most_events_of_a_piece(&opened.setup);
        let Some(credits) = self.credits(events).await else {
            // The client has gone, perhaps right after it closed its side: nobody wants the last windows.
            self.forget().await;
            return Ok(());
        };
        self.tell(message(StreamKey::Call(self.number), Some(credits))).await
    }

    async fn forget(&self) {
        if self.opened.is_some() {
            // Fails only where the shards have ended, and forgotten everything.
            let _ = self.tell(ShardMessage::Forget(StreamKey::Call(self.number))).await;
        }
    }

    async fn tell(&self, message: ShardMessage) -> Result<(), Status> {
        let Some(opened) = &self.opened else { return Ok(()) };
        self.links.shards.of(&opened.info.stream_id).send(message).await.map_err(|_| draining())
    }

    /// A place in the model's share of the shards; `None` where the client has gone.
    async fn place(&self, model: &ServedModel) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = model.share.clone().try_acquire_owned() {
            return Some(place);
        }
        tokio::select! {
            place = model.share.clone().acquire_owned() => place.ok(),
            () = self.replies.closed() => None,
        }
    }

    /// Room for `events`; `None` where the client has gone.
    async fn credits(&self, events: usize) -> Option<OwnedSemaphorePermit> {
        let events = events as u32;
        if let Ok(credits) = Arc::clone(&self.credits).try_acquire_many_owned(events) {
            return Some(credits);
        }
        tokio::select! {
            credits = Arc::clone(&self.credits).acquire_many_owned(events) => credits.ok(),
            () = self.replies.closed() => None,
        }
    }
}
