//! Clips as streams: what adaptation to a stream gains where a stream holds several emotions, and what it loses where it holds one.
//!
//! Input: scored clips with their speakers. Output: the same clips, adapted to the clips before them in their stream. Each clip counts as one window, with the
//! mean of its windows' probabilities. Pure: the order depends on the seed and the ids alone.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::ScoredClip;
use crate::datasets::order_of;
use crate::publish::{Adaptation, TrainedLabels};

/// Which clips of a speaker form a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// All clips of the speaker in random order.
    Mixed,
    /// The neutral clips first, then the others in random order.
    Neutral,
    /// The clips of one emotion: a stream for each.
    Single,
}

impl FromStr for StreamKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mixed" => Ok(Self::Mixed),
            "neutral" => Ok(Self::Neutral),
            "single" => Ok(Self::Single),
            _ => Err("expected mixed, neutral or single".to_owned()),
        }
    }
}

/// A clip with its id, which decides its place in the stream.
#[derive(Debug, Clone)]
pub struct NamedClip {
    /// The id of the clip.
    pub id: String,
    /// The clip. One without a speaker is a stream of its own.
    pub clip: ScoredClip,
}

/// Returns the clips adapted to their streams, in the order of `clips`, and the number of streams. `labels` are those of the model.
#[must_use]
pub fn adapt_streams(
    clips: &[NamedClip],
    labels: TrainedLabels<'_>,
    (kind, seed): (StreamKind, u64),
    adaptation: Adaptation,
) -> (Vec<ScoredClip>, usize) {
    let mut adapted: Vec<ScoredClip> = clips.iter().map(|named| named.clip.clone()).collect();
    let streams = streams(clips, labels.names, kind, seed);
    for stream in streams.values() {
        let mut state = None;
        for at in stream {
            let clip = &mut adapted[*at];
            let (probabilities, next) = adaptation.adapt(state.as_ref(), labels, &clip.probabilities);
            (clip.probabilities, state) = (probabilities, Some(next));
        }
    }
    (adapted, streams.len())
}

/// Returns the indices of the clips of each stream, in the order of the stream.
fn streams(
    clips: &[NamedClip],
    labels: &[String],
    kind: StreamKind,
    seed: u64,
) -> BTreeMap<(String, usize), Vec<usize>> {
    let mut streams: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, NamedClip { id, clip }) in clips.iter().enumerate() {
        let speaker = clip.speaker.clone().unwrap_or_else(|| format!("clip {id}"));
        let part = if kind == StreamKind::Single { clip.truth } else { 0 };
        streams.entry((speaker, part)).or_default().push(at);
    }
    let is_neutral = |at: usize| labels.get(clips[at].clip.truth).is_some_and(|label| label == "neutral");
    for stream in streams.values_mut() {
        stream.sort_by_key(|at| {
            (kind == StreamKind::Neutral && !is_neutral(*at), order_of(seed, &clips[*at].id))
        });
    }
    streams
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn clip(id: &str, speaker: &str, truth: usize, probabilities: [f32; 2]) -> NamedClip {
        let (probabilities, speaker) = (probabilities.to_vec(), Some(speaker.to_owned()));
        NamedClip { id: id.to_owned(), clip: ScoredClip { truth, probabilities, speaker } }
    }

    fn labels() -> Arc<[String]> {
        ["neutral", "sadness"].map(str::to_owned).into()
    }

    fn adapted(clips: &[NamedClip], kind: StreamKind) -> (Vec<ScoredClip>, usize) {
        let labels = TrainedLabels { names: &labels(), mean_logits: &[], variance: None };
        adapt_streams(clips, labels, (kind, 0), Adaptation { windows: 4 })
    }

    fn clips() -> Vec<NamedClip> {
        (0..40)
            .map(|at| {
                let scores = if at % 2 == 0 { [0.97, 0.03] } else { [0.6, 0.4] };
                clip(&format!("clip {at}"), if at < 20 { "a" } else { "b" }, at % 2, scores)
            })
            .collect()
    }

    fn ids(kind: StreamKind, seed: u64) -> Vec<Vec<usize>> {
        streams(&clips(), &labels(), kind, seed).into_values().collect()
    }

    #[test]
    fn streams_hold_the_clips_of_one_speaker_and_their_order_is_that_of_the_seed() {
        let mixed = ids(StreamKind::Mixed, 0);
        assert_eq!(mixed.len(), 2);
        assert!(mixed[0].iter().all(|at| *at < 20) && mixed[0].len() == 20);
        assert_eq!(mixed, ids(StreamKind::Mixed, 0));
        assert_ne!(mixed, ids(StreamKind::Mixed, 1));
        let neutral = ids(StreamKind::Neutral, 0);
        assert!(
            neutral[0][..10].iter().all(|at| at % 2 == 0) && neutral[0][10..].iter().all(|at| at % 2 == 1)
        );
        assert_eq!(ids(StreamKind::Single, 0).len(), 4);
    }

    #[test]
    fn a_stream_of_two_emotions_gains_and_one_of_one_emotion_stays() {
        let right =
            |clips: &[ScoredClip]| clips.iter().filter(|clip| clip.prediction() == clip.truth).count();
        let raw: Vec<ScoredClip> = clips().into_iter().map(|named| named.clip).collect();
        assert_eq!(right(&raw), 20, "the model answers neutral throughout");
        assert!(right(&adapted(&clips(), StreamKind::Mixed).0) > 26);
        assert_eq!(right(&adapted(&clips(), StreamKind::Single).0), 20);
    }

    #[test]
    fn clips_without_a_speaker_stay_as_they_are() {
        let alone: Vec<NamedClip> = clips()
            .into_iter()
            .map(|mut named| {
                named.clip.speaker = None;
                named
            })
            .collect();
        let (adapted, count) = adapted(&alone, StreamKind::Mixed);
        assert_eq!(count, 40);
        for (before, after) in alone.iter().zip(&adapted) {
            assert!((before.clip.probabilities[0] - after.probabilities[0]).abs() < 1e-6);
        }
    }
}
