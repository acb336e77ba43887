//! Collection of the outcomes of an evaluation.
//!
//! Input: the outcome of each clip. Output: the report.

use std::sync::Arc;
use std::time::Instant;

use super::{ClipOutcome, Metrics, Report, ScoredClip};
use crate::model::Contract;

/// The outcomes of one evaluation.
#[derive(Debug)]
pub struct Tally {
    contract: Arc<Contract>,
    clips: Vec<ScoredClip>,
    skipped: u64,
    started: Instant,
}

impl Tally {
    /// Creates an empty tally and starts the clock of the evaluation.
    #[must_use]
    pub fn new(contract: Arc<Contract>) -> Self {
        Self { contract, clips: Vec::new(), skipped: 0, started: Instant::now() }
    }

    /// Adds the outcome of one clip.
    pub fn add(&mut self, outcome: ClipOutcome) {
        let truth = self.contract.labels.iter().position(|label| *label == outcome.truth);
        match (truth, outcome.prediction) {
            (Some(truth), Ok(prediction)) => {
                let (probabilities, speaker) = (prediction.scores, outcome.speaker);
                self.clips.push(ScoredClip { truth, probabilities, speaker });
            }
            _ => self.skipped += 1,
        }
    }

    /// Computes the report. The bootstrap takes tens of milliseconds of CPU time.
    #[must_use]
    pub fn report(self) -> Report {
        self.report_unless(&|| false)
    }

    /// Returns the number of clips that were added.
    #[must_use]
    pub fn clips(&self) -> u64 {
        self.clips.len() as u64 + self.skipped
    }

    /// Computes the report as [`Self::report`] does, without intervals once `is_cancelled` returns true: the report has no recipient then.
    #[must_use]
    pub fn report_unless(self, is_cancelled: &dyn Fn() -> bool) -> Report {
        let metrics = Metrics::of_unless(&self.contract.labels, &self.clips, is_cancelled);
        let seconds = self.started.elapsed().as_secs_f64();
        Report::new(self.contract.full_name(), self.contract.labels.clone(), metrics, self.skipped, seconds)
    }
}
