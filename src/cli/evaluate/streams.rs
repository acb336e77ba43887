//! Clips that are chained to streams, to report what adaptation makes of them.
//!
//! Input: the result of each clip, with the clips' speakers. Output: the report of the adapted clips.

use std::collections::HashMap;

use crate::config::Config;
use crate::datasets::Clip;
use crate::evaluation::{Metrics, NamedClip, Report, ScoredClip, StreamKind, adapt_streams};
use crate::proto::ClipResult;
use crate::publish::{Adaptation, TrainedLabels};

/// The clips of an evaluation that are chained to streams.
pub struct Streams {
    kind: StreamKind,
    adaptation: Adaptation,
    speakers: HashMap<String, Option<String>>,
    /// With the name of the true label.
    clips: Vec<(NamedClip, String)>,
}

impl Streams {
    /// Creates an empty collection; `clips` gives the speakers.
    pub fn new(kind: StreamKind, clips: &[Clip], config: &Config) -> Self {
        let speakers = clips.iter().map(|clip| (clip.id.clone(), clip.speaker.clone())).collect();
        let adaptation = Adaptation { windows: config.publish.adaptation_windows };
        Self { kind, adaptation, speakers, clips: Vec::new() }
    }

    /// Adds the result of one clip.
    pub fn add(&mut self, result: &ClipResult) {
        if result.skipped.is_empty() {
            let speaker = self.speakers.get(&result.id).cloned().flatten();
            let probabilities = result.scores.iter().map(|score| score.probability).collect();
            let clip = ScoredClip { truth: 0, probabilities, speaker };
            self.clips.push((NamedClip { id: result.id.clone(), clip }, result.truth.clone()));
        }
    }

    /// Returns a title and the report of the adapted clips, which `raw` is the report of without adaptation. `mean_logits` and
    /// `variance` are those of the model's training data, where they are known.
    pub fn report(
        self,
        raw: &Report,
        (mean_logits, variance): (&[f32], Option<f32>),
        seed: u64,
    ) -> (String, Report) {
        let truth = |label: &str| raw.labels.iter().position(|known| known == label);
        let clips = self.clips.into_iter().filter_map(|(mut named, label)| {
            named.clip.truth = truth(&label)?;
            Some(named)
        });
        let clips: Vec<NamedClip> = clips.collect();
        let labels = TrainedLabels { names: &raw.labels.clone().into(), mean_logits, variance };
        let (adapted, streams) = adapt_streams(&clips, labels, (self.kind, seed), self.adaptation);
        let kind = match self.kind {
            StreamKind::Mixed => "of all emotions in random order",
            StreamKind::Neutral => "that begin with the neutral clips",
            StreamKind::Single => "of one emotion each",
        };
        let windows = self.adaptation.windows;
        let title = format!("adapted, {streams} streams {kind} (publish.adaptation_windows = {windows}):");
        let metrics = Metrics::of(&raw.labels, &adapted);
        (title, Report::new(raw.model.clone(), raw.labels.clone(), metrics, raw.skipped, raw.seconds))
    }
}
