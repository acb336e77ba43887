//! Evaluation in this process, with a model and a batcher of its own.
//!
//! Input: a loaded model and clips on disk. Output: the result of each clip in the order of the clips, then the report.
//! Invariants: the batcher is that of the daemon, so that the same clip has the same probabilities there.

use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::batch::ReplyOrigin;
use crate::batch::{self, ScoredBatch};
use crate::config::Config;
use crate::evaluation::clips_in_flight;
use crate::evaluation::{EvaluationError, EvaluationPlan, Evaluator, LabelledClip, Report, Tally};
use crate::model::Model;
use crate::proto;
use crate::stream::StreamSetup;

/// The capacity of the queue of scored batches.
const SCORED: usize = 16;

/// Evaluates `model` as `plan` describes, and calls `each` with every clip's result.
///
/// Dropping the future stops the evaluation.
///
/// # Errors
/// Returns an error where a file cannot be read or the model fails. A clip that cannot be decoded is skipped and counted.
pub async fn evaluate(
    model: Model,
    config: &Config,
    plan: EvaluationPlan,
    mut each: impl FnMut(&proto::ClipResult),
) -> Result<Report, EvaluationError> {
    let (jobs, waiting) = batch::inbox(&config.batch);
    let (scored, results) = mpsc::channel(SCORED);
    let contract = model.contract.clone();
    let setup = StreamSetup::new(&contract, &config.window, &config.audio)?;
    let evaluator: Evaluator<ReplyOrigin> = Evaluator::new(contract.clone(), setup, jobs);
    let batcher = batch::start(model.contract, model.sessions, &config.batch, waiting, scored);
    let replies = tokio::spawn(reply(results));

    let EvaluationPlan { clips, perturbation, answers } = plan;
    let mut tally = Tally::new(contract.clone());
    let mut outcomes = futures::stream::iter(clips)
        .map(|clip| async { evaluator.score(perturbation.apply(LabelledClip::read(clip).await?)).await })
        .buffered(clips_in_flight());
    while let Some(mut outcome) = outcomes.try_next().await? {
        if let Ok(prediction) = &mut outcome.prediction {
            answers.restrict(&contract.labels, &mut prediction.scores);
        }
        each(&outcome.to_proto(&contract.labels));
        tally.add(outcome);
    }
    drop(outcomes);
    drop(evaluator);
    batcher.join().await;
    let _ = replies.await;
    Ok(tally.report())
}

/// Sends the probabilities of every window to its clip, until the batcher ends.
async fn reply(mut results: mpsc::Receiver<ScoredBatch<ReplyOrigin>>) {
    while let Some(batch) = results.recv().await {
        for window in batch.windows {
            window.origin.reply(window.prediction);
        }
    }
}
