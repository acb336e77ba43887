//! The reliability diagram (Guo et al. 2017, <https://arxiv.org/abs/1706.04599>): accuracy by confidence.
//!
//! Input: scored clips. Output: a picture; each bar is the accuracy of the clips in one tenth of confidence, and its shade
//! is the share of clips. A perfectly calibrated model has all bars on the diagonal.

use super::chart::{Frame, LEFT, Titles};
use super::svg::{Anchor, Svg};
use crate::evaluation::ScoredClip;

const BINS: usize = 10;

/// The clips of one tenth of confidence.
#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    clips: usize,
    right: usize,
    confidence: f64,
}

pub(super) fn draw(clips: &[ScoredClip]) -> Svg {
    let titles = Titles { plot: "Calibration", x: "confidence", y: "accuracy" };
    let (frame, mut svg) = Frame::draw(titles, (0.0, 1.0), (0.0, 1.0), false);
    let bins = bins(clips);
    let most = bins.iter().map(|bin| bin.clips).max().unwrap_or(0).max(1);
    for (at, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.clips > 0) {
        let accuracy = bin.right as f64 / bin.clips as f64;
        let (left, top) = frame.at((at as f64 / BINS as f64, accuracy));
        let (right, bottom) = frame.at(((at + 1) as f64 / BINS as f64, 0.0));
        let density = 0.25 + 0.6 * bin.clips as f64 / most as f64;
        svg.area("first", (left + 1.5, top), (right - left - 3.0, bottom - top), density);
        svg.dot("second", frame.at((bin.confidence / bin.clips as f64, accuracy)), 3.5);
        let (class, at) = if top < 70.0 { ("on small", top + 16.0) } else { ("muted small", top - 8.0) };
        svg.text(class, ((left + right) / 2.0, at), Anchor::Middle, &bin.clips.to_string());
    }
    svg.line("best", frame.at((0.0, 0.0)), frame.at((1.0, 1.0)));
    let note = "bar: accuracy, number: clips, dot: mean confidence";
    svg.text("muted small", (LEFT, 40.0), Anchor::Start, note);
    svg
}

fn bins(clips: &[ScoredClip]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for clip in clips {
        let prediction = clip.prediction();
        let confidence = f64::from(clip.probabilities[prediction]).clamp(0.0, 1.0);
        let at = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[at].clips += 1;
        bins[at].right += usize::from(prediction == clip.truth);
        bins[at].confidence += confidence;
    }
    bins
}
