//! Threads that decode the files of clients.
//!
//! Input: short steps of decodings. Output: their results. Invariants: few files are decoded at a time, on threads of lower priority than those of live
//! streams; a file holds a thread for one step only, so a client that reads slowly keeps no other file from being decoded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::audio::DecodeLimit;
use crate::stream::MemoryBudget;

/// How much lower the priority of the threads is than that of the others.
const NICE: i32 = 10;

/// A step on its way to a thread.
type Step = Box<dyn FnOnce() + Send>;

/// The threads that decode files. Clones share them; they end with the last clone.
#[derive(Debug, Clone)]
pub struct Decoders {
    steps: crossbeam_channel::Sender<Step>,
    /// One permit for each thread; a step holds one until it has ended.
    free: Arc<Semaphore>,
    budget: MemoryBudget,
    max_duration: Duration,
}

impl Decoders {
    /// Starts the threads: one for two cores, at least one. Files may have `max_duration`, and what is held of them uses `budget`.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses a thread.
    pub fn start(budget: MemoryBudget, max_duration: Duration) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = cores.div_ceil(2);
        let (steps, queue) = crossbeam_channel::bounded::<Step>(count);
        for number in 0..count {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("decoder-{number}"));
            thread.spawn(move || {
                // On Linux the priority of one thread; elsewhere of the process, where it is left alone.
                if cfg!(target_os = "linux") {
                    let _ = rustix::process::nice(NICE);
                }
                queue.into_iter().for_each(|step| step());
            })?;
        }
        Ok(Self { steps, free: Arc::new(Semaphore::new(count)), budget, max_duration })
    }

    /// Returns the budget of memory.
    #[must_use]
    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Returns the limit of the files of clients. Their samples never lie in memory as a whole, so that their number alone needs none.
    pub(super) fn limit(&self) -> DecodeLimit {
        DecodeLimit::NONE.with_duration(self.max_duration)
    }

    /// Runs `step` on a thread as soon as one is free, in turn with other files, and returns its result; `None` where it panics. Needs no runtime. Dropping
    /// the future drops the step, or its result where it runs already.
    pub async fn run<T: Send + 'static>(&self, step: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let thread = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let (done, result) = oneshot::channel();
        let step = move || {
            let result = step();
            drop(thread);
            // Fails only where the file was given up.
            let _ = done.send(result);
        };
        // There is room: a thread is free, or about to be.
        self.steps.try_send(Box::new(step)).ok()?;
        result.await.ok()
    }
}
