//! Evaluation in this process.
//!
//! Input: a loaded model and clips on disk. Output: the result of each clip in the order of the clips, then the report.
//! Invariants: the batcher is that of the daemon, so that the same clip has the same probabilities there.

use futures::{StreamExt, TryStreamExt};

use super::OfflineModel;
use crate::config::Config;
use crate::evaluation::clips_in_flight;
use crate::evaluation::{EvaluationError, EvaluationPlan, LabelledClip, Report, Tally};
use crate::model::Model;
use crate::proto;

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
    let model = OfflineModel::start(model, config)?;
    let (evaluator, contract) = (&model.evaluator, model.evaluator.contract().clone());
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
    model.stop().await;
    Ok(tally.report())
}
