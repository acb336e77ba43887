//! Scoring of clips through a batcher.
//!
//! Input: labelled clips. Output: a [`ClipOutcome`] for each: the mean of the probabilities of its windows, or the reason
//! why it was skipped. Invariants: no event is published; the batcher may serve other streams at the same time.

use std::sync::Arc;

use futures::future::try_join_all;
use prost::bytes::Bytes;
use tokio::sync::mpsc;

use super::{ClipFrontEnd, EvaluationError, LabelledClip};
use crate::audio::AudioFormat;
use crate::batch::Job;
use crate::batch::ReplyOrigin;
use crate::model::{Contract, EngineError, Prediction};
use crate::proto;
use crate::serving::{JobOrigin, ServedModel};
use crate::stream::{InputBounds, StreamSetup};
use crate::telemetry::excerpt;

/// Why a clip was skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The model does not have the clip's label, so no prediction could be correct.
    #[error("label {:?} is not among the model's", excerpt(.0))]
    Label(String),
    /// The audio cannot be decoded, or is too short.
    #[error("audio: {0}")]
    Audio(String),
}

/// The result of one clip.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipOutcome {
    /// The clip's id.
    pub id: String,
    /// The true emotion.
    pub truth: String,
    /// The speaker's id, where it is known.
    pub speaker: Option<String>,
    /// The mean prediction over the clip's windows; or why there is none.
    pub prediction: Result<Prediction, SkipReason>,
}

/// Scores clips with the model of a batcher.
#[derive(Debug)]
pub struct Evaluator<O> {
    contract: Arc<Contract>,
    setup: Arc<StreamSetup>,
    jobs: mpsc::Sender<Job<O>>,
    /// Idle front ends. They are kept because each holds resampling tables that are expensive to build.
    spare: (crossbeam_channel::Sender<ClipFrontEnd>, crossbeam_channel::Receiver<ClipFrontEnd>),
}

impl<O> Clone for Evaluator<O> {
    fn clone(&self) -> Self {
        Self {
            contract: self.contract.clone(),
            setup: self.setup.clone(),
            jobs: self.jobs.clone(),
            spare: self.spare.clone(),
        }
    }
}

impl Evaluator<JobOrigin> {
    /// Returns an evaluator for a model in service, on the batcher of its streams.
    #[must_use]
    pub fn of(model: &ServedModel) -> Self {
        Self::new(model.contract.clone(), model.setup.clone(), model.jobs.clone())
    }
}

impl<O: From<ReplyOrigin>> Evaluator<O> {
    /// Creates an evaluator for the model with `contract`, its front end `setup` and the queue `jobs` of its batcher.
    #[must_use]
    pub fn new(contract: Arc<Contract>, setup: StreamSetup, jobs: mpsc::Sender<Job<O>>) -> Self {
        let spare = crossbeam_channel::bounded(clips_in_flight());
        Self { contract, setup: Arc::new(setup), jobs, spare }
    }

    /// Returns the model's contract.
    #[must_use]
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Returns the bounds of a clip's id, label and speaker.
    #[must_use]
    pub fn bounds(&self) -> InputBounds {
        self.setup.bounds
    }

    /// Scores one clip. Dropping the future abandons the clip's windows.
    ///
    /// # Errors
    /// Returns [`EvaluationError::Engine`] where the model fails.
    pub async fn score(&self, clip: LabelledClip) -> Result<ClipOutcome, EvaluationError> {
        let LabelledClip { id, label, speaker, format, audio } = clip;
        let outcome = |prediction| ClipOutcome { id, truth: label.clone(), speaker, prediction };
        if !self.contract.labels.contains(&label) {
            return Ok(outcome(Err(SkipReason::Label(label.clone()))));
        }
        match self.windows(format, audio).await {
            Ok(windows) => Ok(outcome(Ok(self.mean_over(windows).await?))),
            Err(reason) => Ok(outcome(Err(SkipReason::Audio(reason)))),
        }
    }

    /// Decodes the audio and computes the features on a blocking thread.
    async fn windows(&self, format: AudioFormat, audio: Bytes) -> Result<Vec<Vec<f32>>, String> {
        let (setup, (back, spare)) = (self.setup.clone(), self.spare.clone());
        let windows = tokio::task::spawn_blocking(move || {
            let mut front_end = spare.try_recv().unwrap_or_else(|_| ClipFrontEnd::new(&setup));
            let windows = front_end.windows(format, &audio);
            // The channel is bounded; a front end that does not fit is dropped.
            let _ = back.try_send(front_end);
            windows
        });
        windows.await.unwrap_or_else(|_| Err("the front end panicked".to_owned()))
    }

    async fn mean_over(&self, windows: Vec<Vec<f32>>) -> Result<Prediction, EngineError> {
        let count = windows.len() as f32;
        let mut replies = Vec::with_capacity(windows.len());
        for features in windows {
            let (origin, reply) = ReplyOrigin::new();
            self.jobs.send(Job::new(features, origin.into())).await.map_err(|_| EngineError::Ended)?;
            replies.push(async { reply.await.unwrap_or(Err(EngineError::Ended)) });
        }
        let mut mean = Prediction {
            scores: vec![0.0; self.contract.labels.len()],
            values: vec![0.0; self.contract.values.len()],
        };
        for prediction in try_join_all(replies).await? {
            add(&mut mean.scores, prediction.scores);
            add(&mut mean.values, prediction.values);
        }
        mean.scores.iter_mut().chain(&mut mean.values).for_each(|sum| *sum /= count);
        Ok(mean)
    }
}

fn add(sums: &mut [f32], row: Vec<f32>) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

/// Returns the number of clips of one evaluation that are processed concurrently: two for each core, so that decoding and
/// inference overlap.
pub(crate) fn clips_in_flight() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

impl ClipOutcome {
    /// Converts the outcome to the protocol's message; `labels` are the model's, in their order.
    #[must_use]
    pub fn to_proto(&self, labels: &[String]) -> proto::ClipResult {
        let (id, truth) = (self.id.clone(), self.truth.clone());
        match &self.prediction {
            Err(skipped) => {
                proto::ClipResult { id, truth, skipped: skipped.to_string(), ..Default::default() }
            }
            Ok(Prediction { scores, .. }) => proto::ClipResult {
                id,
                truth,
                prediction: labels[super::most_probable(scores)].clone(),
                scores: labels
                    .iter()
                    .zip(scores)
                    .map(|(emotion, probability)| proto::EmotionScore {
                        emotion: emotion.clone(),
                        probability: *probability,
                    })
                    .collect(),
                skipped: String::new(),
            },
        }
    }
}
