//! Threads that decode the files of clients.
//!
//! Input: complete files. Output: their recordings, each with its part of the memory budget. Invariants: few files are decoded at a time, on threads of
//! lower priority than those of live streams; a file whose client has gone is given up at its next packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

use crate::audio::MAX_CLIENT_SAMPLES;
use crate::audio::{ChannelLayout, DecodeLimit, FileError, FileProblem, Recording, decode_bytes_within};
use crate::stream::{BadChunk, MemoryBudget, MemoryReservation};

/// How much lower the priority of the threads is than that of the others.
const NICE: i32 = 10;

type Outcome = Result<DecodedFile, FileError>;

/// A file on its way to a thread.
struct Task {
    file: Bytes,
    limit: DecodeLimit,
    reservation: Arc<MemoryReservation>,
    done: oneshot::Sender<Outcome>,
}

/// A recording with the memory that it holds.
#[derive(Debug)]
pub struct DecodedFile {
    /// The recording.
    pub recording: Recording,
    /// Its part of the budget.
    pub reservation: Arc<MemoryReservation>,
}

/// The threads that decode files. Clones share them; they end with the last clone.
#[derive(Debug, Clone)]
pub struct Decoders {
    tasks: crossbeam_channel::Sender<Task>,
    /// One permit for each thread.
    free: Arc<Semaphore>,
    budget: MemoryBudget,
    max_duration: Duration,
}

/// Notifies the decoder that the file has no recipient any more.
struct GiveUp(Arc<AtomicBool>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Decoders {
    /// Starts the threads: one for two cores, at least one. Files may have `max_duration`, and their samples use `budget`.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses a thread.
    pub fn start(budget: MemoryBudget, max_duration: Duration) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = cores.div_ceil(2);
        let (tasks, queue) = crossbeam_channel::bounded::<Task>(count);
        for number in 0..count {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("decoder-{number}"));
            thread.spawn(move || {
                // On Linux the priority of one thread; elsewhere of the process, where it is left alone.
                if cfg!(target_os = "linux") {
                    let _ = rustix::process::nice(NICE);
                }
                queue.into_iter().for_each(Task::run);
            })?;
        }
        Ok(Self { tasks, free: Arc::new(Semaphore::new(count)), budget, max_duration })
    }

    /// Returns the budget of memory.
    #[must_use]
    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Decodes a file. Dropping the future gives the file up.
    ///
    /// # Errors
    /// Why the file cannot be decoded; [`FileProblem::OutOfMemory`] where the budget has no room for its samples.
    pub async fn decode(&self, file: Bytes) -> Outcome {
        let failed = |problem| FileError { file: "file".to_owned(), problem };
        let panicked = || failed(FileProblem::Malformed { reason: "the decoder panicked".to_owned() });
        let abandoned = Arc::new(AtomicBool::new(false));
        let _give_up = GiveUp(abandoned.clone());
        // Never closed.
        let _thread = self.free.acquire().await.map_err(|_| panicked())?;
        let reservation = Arc::new(self.budget.reservation());
        let (held, budget) = (reservation.clone(), self.budget.limit());
        let observer = move |bytes| {
            if abandoned.load(Ordering::Relaxed) {
                return Err(FileProblem::Abandoned);
            }
            held.set(bytes).map_err(|_| FileProblem::OutOfMemory { limit: budget })
        };
        let limit =
            DecodeLimit::samples(MAX_CLIENT_SAMPLES).with_duration(self.max_duration).observed(observer);
        let (done, outcome) = oneshot::channel();
        // There is room: a thread is free, or about to be.
        let sent = self.tasks.try_send(Task { file, limit, reservation, done });
        sent.map_err(|_| panicked())?;
        outcome.await.map_err(|_| panicked())?
    }

    /// Decodes a file whose channels must fit `layout`, as [`Self::decode`] does.
    ///
    /// # Errors
    /// As [`Self::decode`], and [`BadChunk::Audio`] where the names of `layout` do not fit.
    pub async fn decode_stream(&self, file: Bytes, layout: &ChannelLayout) -> Result<DecodedFile, BadChunk> {
        let decoded = self.decode(file).await?;
        layout.check(decoded.recording.channels.len())?;
        Ok(decoded)
    }
}

impl Task {
    fn run(self) {
        let Self { file, limit, reservation, done } = self;
        let recording = decode_bytes_within(file, None, &limit);
        drop(limit);
        // Fails only where the file was given up.
        let _ = done.send(recording.map(|recording| DecodedFile { recording, reservation }));
    }
}
