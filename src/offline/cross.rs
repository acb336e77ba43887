//! Evaluation of several models on one corpus.
//!
//! Input: models and the clips of a corpus. Output: a report of each model over the labels that it shares with the corpus. Invariants: each file is read once;
//! a clip whose label a model does not have is left out for that model and not decoded for it.

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};

use super::OfflineModel;
use crate::datasets::Clip;
use crate::evaluation::{
    Answers, EvaluationError, LabelledClip, Perturbation, Report, SkipReason, Tally, clips_in_flight,
};

/// The figures of a model on a corpus.
#[derive(Debug)]
pub struct CorpusReport {
    /// The figures. Skipped clips are those whose audio is not usable.
    pub report: Report,
    /// The number of clips whose label the model does not have.
    pub left_out: u64,
}

/// Scores `clips` with every model, and calls `each` after every clip. Each model may answer only with its item of `answers`.
///
/// Dropping the future stops the evaluation.
///
/// # Errors
/// Returns an error where a file cannot be read or a model fails. A clip that cannot be decoded is skipped and counted.
pub async fn evaluate_corpus(
    models: &[OfflineModel],
    clips: Vec<Clip>,
    answers: &[Answers],
    perturbation: &Perturbation,
    mut each: impl FnMut(),
) -> Result<Vec<CorpusReport>, EvaluationError> {
    let tally = |model: &OfflineModel| (Tally::new(model.evaluator.contract().clone()), 0_u64);
    let mut tallies: Vec<(Tally, u64)> = models.iter().map(tally).collect();
    let mut outcomes = futures::stream::iter(clips)
        .map(|clip| async {
            let clip = perturbation.apply(LabelledClip::read(clip).await?);
            try_join_all(models.iter().map(|model| model.evaluator.score(clip.clone()))).await
        })
        .buffered(clips_in_flight());
    while let Some(of_models) = outcomes.try_next().await? {
        let of_models = of_models.into_iter().zip(models).zip(answers);
        for ((tally, left_out), ((mut outcome, model), answers)) in tallies.iter_mut().zip(of_models) {
            match &mut outcome.prediction {
                Err(SkipReason::Label(_)) => {
                    *left_out += 1;
                    continue;
                }
                Err(SkipReason::Audio(_)) => {}
                Ok(prediction) => {
                    answers.restrict(&model.evaluator.contract().labels, &mut prediction.scores);
                }
            }
            tally.add(outcome);
        }
        each();
    }
    let reported =
        tallies.into_iter().map(|(tally, left_out)| CorpusReport { report: tally.report(), left_out });
    Ok(reported.collect())
}
