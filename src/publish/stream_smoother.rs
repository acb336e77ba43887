//! Smoothing for many streams: the recent scores of each channel of each of them, while the stream lives.
//!
//! In: raw scores of windows, those of a channel in order. Out: smoothed scores, and what the channel's next window is smoothed with, for
//! whoever keeps the stream's progress. One owner, no lock: a stream is known by its [`StreamInfo`], which its windows share; once nobody
//! holds that any more, its scores are swept out.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::Smoothing;
use super::smoothing::RawScores;
use crate::stream::RecentScores;
use crate::stream::StreamInfo;

/// So few streams are not worth a sweep.
const FEW: usize = 64;

/// The smoothed scores of one window.
#[derive(Debug)]
pub struct Smoothed {
    /// One for each label; none of a silent window.
    pub scores: Vec<f32>,
    /// What the channel's next window is smoothed with.
    pub recent: Option<Arc<RecentScores>>,
}

/// The recent scores of all streams.
#[derive(Debug)]
pub struct StreamSmoother {
    smoothing: Smoothing,
    /// By the address of their info, which nothing else takes while it is known here.
    streams: HashMap<usize, Known>,
    /// With so many streams those that have ended are swept out: never more are kept than twice those that live.
    sweep_at: usize,
}

#[derive(Debug)]
struct Known {
    stream: Weak<StreamInfo>,
    /// Channel by channel.
    recent: Vec<Option<Arc<RecentScores>>>,
}

impl StreamSmoother {
    /// Of no stream yet.
    #[must_use]
    pub fn new(smoothing: Smoothing) -> Self {
        Self { smoothing, streams: HashMap::new(), sweep_at: FEW }
    }

    /// Smooths the next window of a channel; a silent one is passed over. A stream that is new here goes on with what its info brings
    /// along.
    pub fn smooth(&mut self, stream: &Arc<StreamInfo>, channel: u32, window: RawScores<'_>) -> Smoothed {
        if self.streams.len() >= self.sweep_at {
            self.streams.retain(|_, known| known.stream.strong_count() > 0);
            self.sweep_at = FEW.max(2 * self.streams.len());
        }
        let begin = || Known { stream: Arc::downgrade(stream), recent: stream.recent.clone() };
        let known = self.streams.entry(Arc::as_ptr(stream).addr()).or_insert_with(begin);
        let channel = channel as usize;
        if known.recent.len() <= channel {
            known.recent.resize(channel + 1, None);
        }
        let recent = &mut known.recent[channel];
        if window.scores.is_empty() {
            return Smoothed { scores: Vec::new(), recent: recent.clone() };
        }
        let (scores, next) = self.smoothing.smooth(recent.as_deref(), window);
        *recent = Some(Arc::new(next));
        Smoothed { scores, recent: recent.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::SmoothingMethod;
    use super::*;

    fn smoother() -> StreamSmoother {
        StreamSmoother::new(Smoothing { method: SmoothingMethod::Exponential, windows: 3 })
    }

    /// The smoothed score of the only label.
    fn smooth(smoother: &mut StreamSmoother, stream: &Arc<StreamInfo>, channel: u32, score: f32) -> Smoothed {
        let labels: Arc<[String]> = ["anger".to_owned()].into();
        smoother.smooth(
            stream,
            channel,
            RawScores { segment: Duration::ZERO, labels: &labels, scores: &[score] },
        )
    }

    #[test]
    fn streams_and_channels_are_smoothed_each_by_itself() {
        let (mut smoother, one, other) = (smoother(), Arc::default(), Arc::default());
        assert_eq!(smooth(&mut smoother, &one, 1, 1.0).scores, [1.0]);
        assert_eq!(smooth(&mut smoother, &one, 0, 0.0).scores, [0.0]);
        assert_eq!(smooth(&mut smoother, &other, 1, 0.0).scores, [0.0]);
        assert!((smooth(&mut smoother, &one, 1, 0.0).scores[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_stream_goes_on_with_the_scores_that_its_info_brings_along() {
        let first = smooth(&mut smoother(), &Arc::default(), 0, 1.0);
        let resumed = Arc::new(StreamInfo { recent: vec![first.recent], ..StreamInfo::default() });
        assert!((smooth(&mut smoother(), &resumed, 0, 0.0).scores[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn silence_is_passed_over() {
        let (mut smoother, stream, labels) = (smoother(), Arc::default(), ["anger".to_owned()].into());
        let before = smooth(&mut smoother, &stream, 0, 1.0).recent;
        let silent = RawScores { segment: Duration::ZERO, labels: &labels, scores: &[] };
        let silent = smoother.smooth(&stream, 0, silent);
        assert_eq!((silent.scores, silent.recent), (vec![], before));
        assert!((smooth(&mut smoother, &stream, 0, 0.0).scores[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn streams_that_have_ended_are_forgotten() {
        let mut smoother = smoother();
        let lives: Vec<Arc<StreamInfo>> = (0..100).map(|_| Arc::default()).collect();
        lives.iter().for_each(|stream| drop(smooth(&mut smoother, stream, 0, 1.0)));
        (0..10_000).for_each(|_| drop(smooth(&mut smoother, &Arc::default(), 0, 1.0)));
        assert!(smoother.streams.len() <= 2 * lives.len() + FEW, "{} streams", smoother.streams.len());
        for stream in &lives {
            assert!(smooth(&mut smoother, stream, 0, 0.0).scores[0] > 0.0, "a stream that lives is kept");
        }
    }
}
