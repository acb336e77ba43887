//! The files of a partition's stream: what is done with their samples, and what follows the last one.
//!
//! Input: the pieces of a file that is decoded elsewhere. Output: the windows of the stream, as of a chunk of samples, and the report that the chunk which
//! completed the file was accepted. Invariant: every window of a file needs all of its chunks, since a file can be decoded only from its first byte on.

use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::ChunkEnvelope;
use super::backlog::Backlog;
use super::open_stream::{After, OpenStream};
use super::report::ReportSender;
use super::scratch_pool::ScratchPool;
use crate::serving::ClientFile;
use crate::stream::{BadChunk, ChunkOutcome, EpochPosition, MemoryReservation};
use crate::window::{Window, time_of};

/// What completes a file, and so what follows its last sample.
pub(super) enum FileEnd {
    /// Its last chunk.
    Chunk(Box<LastChunk>),
    /// The stream is idle.
    Segment,
}

/// The chunk that has completed a file.
pub(super) struct LastChunk {
    pub envelope: ChunkEnvelope,
    pub outcome: ChunkOutcome,
    /// The position before the chunk.
    pub before: Option<EpochPosition>,
    /// Whether the stream stays open if the file is refused.
    pub may_stay: bool,
}

/// The file of a stream.
#[derive(Debug, Default)]
pub(super) struct FileState {
    /// The memory of its collected bytes.
    memory: Option<MemoryReservation>,
    /// The sample at which it begins, while its samples are accepted.
    begins_at: Option<u64>,
}

impl FileState {
    /// Adds the memory of a chunk.
    pub fn hold(&mut self, memory: Option<MemoryReservation>, is_complete: bool) {
        match (&mut self.memory, memory) {
            (Some(all), Some(chunk)) => all.join(chunk),
            (all @ None, chunk) => *all = chunk,
            (Some(_), None) => {}
        }
        self.memory.iter_mut().for_each(|all| all.set_incomplete(!is_complete));
    }
}

impl OpenStream {
    /// Begins the samples of a file that was checked.
    ///
    /// # Errors
    /// As [`crate::stream::StreamFrontEnd::begin_file`]; the file must then be refused.
    pub fn begin_file(
        &mut self,
        scratch_pool: &mut ScratchPool,
        (reports_to, backlog): (&ReportSender, &mut Backlog),
        file: &ClientFile,
    ) -> Result<(), BadChunk> {
        let format = (file.sample_rate_hz(), file.channels());
        self.shadows.iter_mut().for_each(|shadow| shadow.begin_file(scratch_pool, format));
        let begins_at = self.front_end.position().position;
        let scratch = scratch_pool.of(&self.model);
        let (front_end, mut output) = self.parts((reports_to, backlog), None);
        // Windows that a segment from before the file completes here do not need it.
        front_end.begin_file(scratch, format, &mut |window| output.submit(window, None))?;
        self.file.begins_at = Some(begins_at);
        Ok(())
    }

    /// Accepts the next samples of a file. `room` is their part of the room for windows of backlogs.
    pub fn accept_block(
        &mut self,
        scratch_pool: &mut ScratchPool,
        (reports_to, backlog): (&ReportSender, &mut Backlog),
        block: &[Vec<f32>],
        room: Option<OwnedSemaphorePermit>,
    ) {
        let (started, begins_at) = (Instant::now(), self.file.begins_at);
        let scratch = scratch_pool.of(&self.model);
        let (front_end, mut output) = self.parts((reports_to, backlog), room);
        front_end.accept_block(scratch, block, &mut |window| output.submit(of_file(window, begins_at), None));
        self.shadows.iter_mut().for_each(|shadow| shadow.accept_block(scratch_pool, block));
        let samples = block.first().map_or(0, Vec::len) as u64;
        let duration = time_of(samples, self.front_end.source_rate_hz().max(1));
        self.meter.audio(duration, started.elapsed());
    }

    /// Ends a file behind its last sample, and with it the segment.
    pub fn finish_file(
        &mut self,
        scratch_pool: &mut ScratchPool,
        (reports_to, backlog): (&ReportSender, &mut Backlog),
        end: FileEnd,
    ) -> After {
        let FileState { begins_at, .. } = std::mem::take(&mut self.file);
        let scratch = scratch_pool.of(&self.model);
        let (front_end, mut output) = self.parts((reports_to, backlog), None);
        front_end.end(scratch, &mut |window| output.submit(of_file(window, begins_at), None));
        self.shadows.iter_mut().for_each(|shadow| shadow.end(scratch_pool));
        match end {
            FileEnd::Segment => {
                self.report_segment_ended(reports_to);
                After::Open
            }
            FileEnd::Chunk(last) => {
                let LastChunk { envelope, outcome, before, .. } = *last;
                self.report_chunk(reports_to, (&envelope, &outcome, Duration::ZERO), before, true);
                After::Ended
            }
        }
    }

    /// Restores the stream as it was before the chunk that completed a file which cannot be decoded. A file that no chunk has completed is dropped.
    pub fn refuse_file(&mut self, file: Bytes) {
        self.front_end.refuse_file(file);
        let collected = self.front_end.collected_bytes();
        self.file.begins_at = None;
        match &mut self.file.memory {
            Some(memory) if collected > 0 => {
                // It only shrinks.
                let _ = memory.set(collected.min(memory.bytes()));
                memory.set_incomplete(true);
            }
            memory => *memory = None,
        }
    }
}

/// Returns a window of a file that begins at a sample.
fn of_file(window: Window, begins_at: Option<u64>) -> Window {
    Window { needed_from: begins_at.unwrap_or(window.needed_from), ..window }
}
