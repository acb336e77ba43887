//! Evaluation in this process: a model, a batcher of its own, the clips of a dataset.
//!
//! Input: a loaded model and clips on disk. Output: each clip's result in the order of the clips, then the report.

use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::batch::ReplyOrigin;
use crate::batch::{self, ScoredBatch};
use crate::config::Config;
use crate::datasets;
use crate::evaluation::clips_in_flight;
use crate::evaluation::{EvaluationError, Evaluator, LabelledClip, Line, Report, Tally};
use crate::model::Model;
use crate::proto;
use crate::stream::StreamSetup;

/// Scored batches that may wait to be handed to their clips.
const SCORED: usize = 16;

/// Evaluates `model` on `clips` as a line leaves them, passing each clip's result to `each`.
///
/// Dropping the future stops the evaluation.
///
/// # Errors
/// A file that cannot be read, a model without answers; a clip that cannot be decoded is only skipped.
pub async fn evaluate(
    model: Model,
    config: &Config,
    (clips, line): (Vec<datasets::Clip>, &Line),
    mut each: impl FnMut(&proto::ClipResult),
) -> Result<Report, EvaluationError> {
    let (jobs, waiting) = batch::inbox(&config.batch);
    let (scored, results) = mpsc::channel(SCORED);
    let contract = model.contract.clone();
    let setup = StreamSetup::new(&contract, &config.window, &config.audio)?;
    let evaluator: Evaluator<ReplyOrigin> = Evaluator::new(contract.clone(), setup, jobs);
    let batcher = batch::start(model.contract, model.sessions, &config.batch, waiting, scored);
    let answers = tokio::spawn(answer(results));

    let mut tally = Tally::new(contract.clone());
    let mut outcomes = futures::stream::iter(clips)
        .map(|clip| async { evaluator.score(line.carry(LabelledClip::read(clip).await?)).await })
        .buffered(clips_in_flight());
    while let Some(outcome) = outcomes.try_next().await? {
        each(&outcome.to_proto(&contract.labels));
        tally.add(outcome);
    }
    drop(outcomes);
    drop(evaluator);
    batcher.join().await;
    let _ = answers.await;
    Ok(tally.report())
}

async fn answer(mut results: mpsc::Receiver<ScoredBatch<ReplyOrigin>>) {
    while let Some(batch) = results.recv().await {
        for window in batch.windows {
            window.origin.answer(window.prediction);
        }
    }
}
