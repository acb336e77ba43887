//! A model with a batcher of its own, for evaluation in this process.
//!
//! Input: a loaded model. Output: an evaluator of clips. Invariants: the batcher is that of the daemon, so that the same clip has the same probabilities
//! there.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::batch::{self, Batcher, ReplyOrigin, ScoredBatch};
use crate::config::Config;
use crate::evaluation::{EvaluationError, Evaluator};
use crate::model::{Model, Session};
use crate::stream::StreamSetup;

/// The capacity of the queue of scored batches.
const SCORED: usize = 16;

/// A model that scores clips. Its threads end after [`Self::stop`], and when it is dropped.
#[derive(Debug)]
pub struct OfflineModel {
    /// Scores clips with the model.
    pub evaluator: Evaluator<ReplyOrigin>,
    batcher: Batcher<Session>,
    replies: JoinHandle<()>,
}

impl OfflineModel {
    /// Starts the batcher. Requires a tokio runtime.
    ///
    /// # Errors
    /// Returns an error where the front end cannot be set up for the model.
    pub fn start(model: Model, config: &Config) -> Result<Self, EvaluationError> {
        let (jobs, waiting) = batch::inbox(&config.batch);
        let (scored, results) = mpsc::channel(SCORED);
        let setup = StreamSetup::new(&model.contract, &config.window, &config.audio)?;
        let evaluator = Evaluator::new(model.contract.clone(), setup, jobs);
        let batcher = batch::start(model.contract, model.sessions, &config.batch, waiting, scored);
        Ok(Self { evaluator, batcher, replies: tokio::spawn(reply(results)) })
    }

    /// Waits until the threads have ended.
    pub async fn stop(self) {
        drop(self.evaluator);
        self.batcher.join().await;
        let _ = self.replies.await;
    }
}

/// Sends the probabilities of every window to its clip, until the batcher ends.
async fn reply(mut results: mpsc::Receiver<ScoredBatch<ReplyOrigin>>) {
    while let Some(batch) = results.recv().await {
        for window in batch.windows {
            window.origin.reply(window.prediction);
        }
    }
}
