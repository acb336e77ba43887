//! The figures of an evaluation on a daemon whose answers are restricted.
//!
//! Input: the result of each clip in the order of the clips, and the server's report. Output: results and a report with the accepted
//! answers alone. Invariants: without a restriction, results and report stay those of the server.

use std::vec;

use crate::evaluation::{Answers, Metrics, Report, ScoredClip, most_probable};
use crate::proto::ClipResult;

/// Collects the restricted results of an evaluation.
#[derive(Debug)]
pub(super) struct RestrictedResults {
    answers: Answers,
    /// The speakers of the clips whose results are still missing.
    speakers: vec::IntoIter<Option<String>>,
    clips: Vec<ScoredClip>,
}

impl RestrictedResults {
    /// Creates an empty collection; `speakers` has one entry for each clip.
    pub(super) fn new(answers: Answers, speakers: Vec<Option<String>>) -> Self {
        Self { answers, speakers: speakers.into_iter(), clips: Vec::new() }
    }

    /// Restricts the next clip's result.
    pub(super) fn restrict(&mut self, result: &mut ClipResult) {
        let speaker = self.speakers.next().flatten();
        if !self.answers.are_restricted() || result.scores.is_empty() {
            return;
        }
        let labels: Vec<String> = result.scores.iter().map(|score| score.emotion.clone()).collect();
        let mut probabilities: Vec<f32> = result.scores.iter().map(|score| score.probability).collect();
        self.answers.restrict(&labels, &mut probabilities);
        for (score, probability) in result.scores.iter_mut().zip(&probabilities) {
            score.probability = *probability;
        }
        result.prediction.clone_from(&labels[most_probable(&probabilities)]);
        if let Some(truth) = labels.iter().position(|label| *label == result.truth) {
            self.clips.push(ScoredClip { truth, probabilities, speaker });
        }
    }

    /// Returns the report on the restricted results, with model, skipped clips and duration of the server's report.
    pub(super) fn report(self, server: Report) -> Report {
        if !self.answers.are_restricted() {
            return server;
        }
        let metrics = Metrics::of_unless(&server.labels, &self.clips, &|| false);
        Report::new(server.model, server.labels, metrics, server.skipped, server.seconds)
    }
}
