//! The stream of a session after its first chunk: what later chunks must not change, and the way of its audio to the shard.
//!
//! Input: the messages of one stream, in order. Output: pieces for the stream's shard, each with room for its events, or a refusal. Invariants: room
//! is reserved before a piece is sent; a chunk is accepted or refused as a whole; dropping the value frees the stream's id and its admission permit.

use std::sync::Arc;
use std::time::Duration;

use prost::bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::opening::{Opening, format_of};
use super::pace::Pace;
use super::shard_sender::{Route, ShardSender};
use super::{OpenStreamGuard, Refusal, SessionLinks};
use super::{chunk_of, events_of_a_piece, most_events_of_a_piece, pieces};
use crate::audio::{AudioFormat, ChannelPolicy, FileAsSamples};
use crate::proto::AudioChunk;
use crate::serving::{AdmissionPermit, ClientFile, Decoders, ModelRegistry, ServedModel};
use crate::shard::{ChunkEnvelope, ShardMessage, StreamKey};
use crate::stream::{BadChunk, Chunk, CollectedFile, Declared, LastSequence, SequenceCheck};
use crate::stream::{MemoryReservation, SplitFrame, StreamCall, StreamInfo, StreamSetup, check_chunk};
use crate::telemetry::{excerpt, metrics};
use crate::window::time_of;

/// The time at which the sender captured a chunk.
type CapturedAt = Option<crate::proto::Timestamp>;

/// A stream that its first chunk has opened.
pub(super) struct OpenedStream {
    info: Arc<StreamInfo>,
    model: Arc<ServedModel>,
    /// The model's setup with the channel layout of the stream.
    setup: StreamSetup,
    format: AudioFormat,
    sequence: LastSequence,
    /// The sample behind the last chunk, and the bytes of a sample frame that it left incomplete.
    position: u64,
    split: SplitFrame,
    /// Whether the stream has had audio, whose first bytes may be the header of a file.
    has_audio: bool,
    /// The bytes of a file that is not complete yet.
    file: CollectedFile,
    /// The memory of the file, until its last sample is sent.
    upload: MemoryReservation,
    decoders: Decoders,
    shard: ShardSender,
    pace: Pace,
    idle_timeout: Duration,
    _id: OpenStreamGuard,
    _permit: AdmissionPermit,
}

impl OpenedStream {
    /// Opens the stream of a first chunk. Nothing is sent to the shard yet.
    pub fn open(
        links: &SessionLinks,
        registry: &ModelRegistry,
        route: &Route,
        message: &mut AudioChunk,
    ) -> Result<Self, Refusal> {
        let opening = Opening::new(registry, (&links.bounds, route), message)?;
        opening.check_utilization(registry, links.max_utilization_percent)?;
        let Opening { info, model, setup, format, analysed } = opening;
        let id = links.streams.open(&route.owner, &info.stream_id)?;
        let permit = model.utilization.enter(analysed);
        let shard = ShardSender::new(links.shards.of(&info.stream_id).clone(), route.clone());
        Ok(Self {
            info,
            model,
            setup,
            format,
            sequence: LastSequence::default(),
            position: 0,
            split: SplitFrame::default(),
            has_audio: false,
            file: CollectedFile::default(),
            upload: links.decoders.budget().reservation(),
            decoders: links.decoders.clone(),
            shard,
            pace: Pace::new(links.max_pace),
            idle_timeout: links.idle_timeout,
            _id: id,
            _permit: permit,
        })
    }

    /// Returns the call of the stream; `None` where no summary is made of it.
    pub fn call(&self) -> Option<&StreamCall> {
        self.info.call.as_deref()
    }

    /// Accepts a chunk, waiting until there is room for its events. Returns whether it ends the stream.
    pub async fn accept(&mut self, mut message: AudioChunk) -> Result<bool, Refusal> {
        self.check(&message)?;
        match self.sequence.check(message.sequence) {
            SequenceCheck::Duplicate => {
                metrics::rejected(self.shard.source(), "duplicate");
                return Ok(false);
            }
            SequenceCheck::New { missing: 0 } => {}
            SequenceCheck::New { .. } => metrics::rejected(self.shard.source(), "missing"),
        }
        self.sequence.accept(message.sequence);
        let captured_at = message.captured_at.take();
        let mut chunk = Chunk::from_message(message).map_err(BadChunk::from)?;
        let last = chunk.last;
        self.check_file_header(&chunk.audio)?;
        if self.format.is_file() {
            self.accept_file(chunk.audio, last, captured_at).await?;
        } else {
            self.join_split_frame(&mut chunk)?;
            if self.may_become_file() && !last {
                return Ok(false);
            }
            // The chunk as a whole was checked: its pieces need no number.
            chunk.sequence = None;
            chunk.format = Some(self.format);
            self.submit(self.format, chunk, captured_at).await?;
        }
        Ok(last)
    }

    /// Looks for the header of a file in the first bytes of a stream of samples, and handles it as `audio.file_as_samples` configures.
    fn check_file_header(&mut self, audio: &[u8]) -> Result<(), Refusal> {
        if audio.is_empty() || std::mem::replace(&mut self.has_audio, true) || self.format.is_file() {
            return Ok(());
        }
        if let Some(file) = self.setup.file_header(audio)? {
            warn_of_file(&self.info, file, self.setup.file_as_samples);
            if self.setup.file_as_samples == FileAsSamples::Decode {
                self.format = AudioFormat::FILE;
            }
        }
        Ok(())
    }

    /// Returns whether the next audio may turn the stream into one of a file. Its shard receives nothing before that, because it could not change the
    /// format.
    fn may_become_file(&self) -> bool {
        !self.has_audio && self.setup.file_as_samples == FileAsSamples::Decode
    }

    /// Puts the bytes that the last chunk left over before those of `chunk`, and takes off what `chunk` leaves over.
    fn join_split_frame(&mut self, chunk: &mut Chunk) -> Result<(), BadChunk> {
        let (bytes, limit) = (chunk.audio.len(), self.setup.max_chunk_bytes);
        if bytes > limit {
            return Err(BadChunk::ChunkTooLarge { bytes, limit });
        }
        (chunk.audio, self.split) = self.split.join(self.format, self.position, chunk)?;
        if !self.shard.has_begun() {
            // The shard has not received the position of an empty first chunk.
            chunk.first_sample = chunk.first_sample.or(Some(self.position));
        }
        // As in the front end: an overlap with earlier audio does not move the position back.
        let frames = chunk.audio.len() / self.format.frame_bytes().unwrap_or(1).max(1);
        let begin = chunk.first_sample.unwrap_or(self.position);
        self.position = self.position.max(begin.saturating_add(frames as u64));
        Ok(())
    }

    /// Checks that a chunk belongs to the stream and changes nothing of it.
    fn check(&self, message: &AudioChunk) -> Result<(), Refusal> {
        check_chunk(message).map_err(BadChunk::from)?;
        let format = format_of(message)?;
        if !message.stream_id.is_empty() && *message.stream_id != *self.info.stream_id {
            let (is, open) = (message.stream_id.clone(), self.info.stream_id.to_string());
            return Err(Refusal::OtherStream { is, open });
        }
        let channels = ChannelPolicy::from_proto(message.channels).map_err(BadChunk::from)?;
        let declared = Declared { model: &message.model, channels, channel_names: &message.channel_names };
        declared.check(&self.info.model, &self.setup.channels)?;
        Ok(self.setup.check_format(self.format, format)?)
    }

    /// Collects the bytes of a file and sends the file on when it is complete.
    async fn accept_file(
        &mut self,
        audio: Bytes,
        last: bool,
        captured_at: CapturedAt,
    ) -> Result<(), Refusal> {
        self.upload.set(self.file.len() + audio.len())?;
        self.file.push(&audio, self.setup.max_file_bytes)?;
        if !last || (self.file.is_empty() && self.shard.has_begun()) {
            return Ok(());
        }
        self.send_file(captured_at).await
    }

    /// Decodes the collected file piece by piece, and sends each piece to the shard once there is room for the one before.
    async fn send_file(&mut self, captured_at: CapturedAt) -> Result<(), Refusal> {
        self.upload.set(self.file.len() + ClientFile::DECODING_BYTES)?;
        let file = self.file.take();
        let opening = ClientFile::open(&self.decoders, file, &self.setup.channels);
        let Some(opened) = self.shard.while_connected(opening).await else { return Ok(()) };
        let mut file = opened?;
        let format = file.format().map_err(BadChunk::from)?;
        while let Some(piece) = self.shard.while_connected(file.next()).await {
            let Some(piece) = piece.map_err(BadChunk::from)? else { break };
            self.submit(format, chunk_of(format, &piece), captured_at).await?;
        }
        self.upload = self.decoders.budget().reservation();
        Ok(())
    }

    /// Sends a chunk to the shard in pieces, each once there is room for its events. Sends no more if the client has gone.
    async fn submit(
        &mut self,
        format: AudioFormat,
        chunk: Chunk,
        captured_at: CapturedAt,
    ) -> Result<(), Refusal> {
        let events = events_of_a_piece(&self.setup, format);
        for (number, piece) in pieces(&self.setup, format, chunk)?.into_iter().enumerate() {
            let Some(credits) = self.shard.reserve(events).await? else { return Ok(()) };
            let ahead = self.pace.is_ahead_with(duration_of(format, &piece));
            let Some(ahead) = self.shard.reserve_ahead(&self.model, ahead.then_some(format)).await else {
                return Ok(());
            };
            let Some(share) = self.shard.reserve_share(&self.model).await else { return Ok(()) };
            let envelope = ChunkEnvelope {
                info: self.info.clone(),
                declared: None,
                model: self.model.clone(),
                chunk: piece,
                captured_at,
                source: self.shard.chunk_source(number > 0, credits),
                resume: None,
                share: Some(share),
                ahead,
                memory: None,
            };
            self.shard.send(ShardMessage::Chunk(Box::new(envelope))).await?;
        }
        Ok(())
    }

    /// Ends the segment of an idle stream. The next chunk begins a new segment. A file that has arrived completely is decoded, since a client may
    /// leave out the mark of its end.
    ///
    /// # Errors
    /// [`Refusal::FileIdle`] where the file is not complete.
    pub async fn end_segment(&mut self) -> Result<(), Refusal> {
        let ended = self.end(|key, credits| ShardMessage::EndSegment { key, credits }).await;
        ended.map_err(|refusal| match refusal {
            Refusal::Chunk(BadChunk::File(_)) => Refusal::FileIdle { timeout: self.idle_timeout },
            other => other,
        })
    }

    /// Ends the stream; its partial windows are analysed.
    ///
    /// # Errors
    /// [`BadChunk::Audio`] where the stream ends inside a sample.
    pub async fn close(&mut self) -> Result<(), Refusal> {
        self.split.check_end(self.format).map_err(BadChunk::from)?;
        self.end(|key, credits| ShardMessage::Close { key, credits }).await
    }

    async fn end(
        &mut self,
        message: impl FnOnce(StreamKey, Option<OwnedSemaphorePermit>) -> ShardMessage,
    ) -> Result<(), Refusal> {
        if !self.file.is_empty() {
            self.send_file(None).await?;
        }
        let Some(credits) = self.shard.reserve(most_events_of_a_piece(&self.setup)).await? else {
            // The client has gone, perhaps right after it closed its side: no component needs the last windows.
            self.forget().await;
            return Ok(());
        };
        self.shard.send(message(self.shard.key(), Some(credits))).await
    }

    /// Drops the stream's state in its shard without analysing what is left.
    pub async fn forget(&self) {
        // Fails only if the shards have ended, and with them every state.
        let _ = self.shard.send(ShardMessage::Forget(self.shard.key())).await;
    }
}

/// Returns the duration of a piece of samples.
fn duration_of(format: AudioFormat, piece: &Chunk) -> Duration {
    let frames = piece.audio.len() / format.frame_bytes().unwrap_or(1).max(1);
    time_of(frames as u64, format.sample_rate_hz().max(1))
}

/// Logs that a stream of samples begins with the header of a file.
fn warn_of_file(info: &StreamInfo, file: &str, handling: FileAsSamples) {
    tracing::warn!(
        stream_id = %excerpt(&info.stream_id),
        file_as_samples = handling.name(),
        "a stream of raw samples begins with the header of a {file} file; send it as ENCODING_FILE"
    );
}
