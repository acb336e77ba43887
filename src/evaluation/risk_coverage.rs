//! The risk-coverage curve: the error of the surest clips by their share (Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017).
//!
//! Input: scored clips. Output: points of the curve, its area, and the accuracy of the surest half. Invariant: clips of equal confidence have no order, so each
//! counts as their mean.

use serde::{Deserialize, Serialize};

use super::ScoredClip;

/// The number of points of a curve.
const POINTS: usize = 20;

/// A point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RiskCoverage {
    /// The share of the clips that are covered, the surest ones.
    pub coverage: f64,
    /// The share of errors among them.
    pub risk: f64,
    /// The lowest confidence among them: with this value of `publish.uncertain_below` about this share of windows is named.
    pub confidence: f64,
}

/// The curve over all clips.
#[derive(Debug)]
pub(super) struct RiskCoverageCurve {
    /// For the surest 1, 2, … and all clips: how many of them are right, and their lowest confidence.
    steps: Vec<(f64, f32)>,
}

impl RiskCoverageCurve {
    pub fn new(clips: &[ScoredClip]) -> Self {
        let mut sorted: Vec<(f32, bool)> = clips
            .iter()
            .map(|clip| (clip.probabilities[clip.prediction()], clip.prediction() == clip.truth))
            .collect();
        sorted.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let (mut steps, mut right) = (Vec::with_capacity(clips.len()), 0.0);
        for equal in sorted.chunk_by(|(a, _), (b, _)| a == b) {
            let share = equal.iter().filter(|(_, is_right)| *is_right).count() as f64 / equal.len() as f64;
            for (confidence, _) in equal {
                right += share;
                steps.push((right, *confidence));
            }
        }
        Self { steps }
    }

    /// The accuracy of the surest half of the clips, rounded up; 0 without clips.
    pub fn surest_half_accuracy(&self) -> f64 {
        let half = self.steps.len().div_ceil(2);
        half.checked_sub(1).map_or(0.0, |at| self.steps[at].0 / half as f64)
    }

    /// The area under the curve; 0 without clips.
    pub fn area(&self) -> f64 {
        let risks = (1..=self.steps.len()).map(|covered| self.risk(covered));
        risks.fold(0.0, |sum, risk| sum + risk) / self.steps.len().max(1) as f64
    }

    /// The points at equal distances of coverage, each number of covered clips once.
    pub fn points(&self) -> Vec<RiskCoverage> {
        let clips = self.steps.len();
        let mut covered: Vec<usize> = (1..=POINTS).map(|point| (clips * point).div_ceil(POINTS)).collect();
        covered.dedup();
        covered.retain(|covered| *covered > 0);
        let point = |covered: usize| RiskCoverage {
            coverage: covered as f64 / clips as f64,
            risk: rounded(self.risk(covered)),
            confidence: rounded(f64::from(self.steps[covered - 1].1)),
        };
        covered.into_iter().map(point).collect()
    }

    /// The share of errors among the surest `covered` clips, at least one.
    fn risk(&self, covered: usize) -> f64 {
        1.0 - self.steps[covered - 1].0 / covered as f64
    }
}

/// Rounds to six decimal places, because further digits vary with the composition of the batches.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(confidence: f32, is_right: bool) -> ScoredClip {
        let probabilities = vec![confidence, 1.0 - confidence];
        ScoredClip { truth: usize::from(!is_right), probabilities, speaker: None }
    }

    #[test]
    fn the_curve_is_what_a_hand_computes() {
        let clips = [clip(0.6, false), clip(0.9, true), clip(0.8, false), clip(0.7, true)];
        // Errors of the surest 1 to 4: 0, 1/2, 1/3, 1/2.
        let curve = RiskCoverageCurve::new(&clips);
        assert_eq!(curve.surest_half_accuracy(), 0.5);
        assert!((curve.area() - (0.5 + 1.0 / 3.0 + 0.5) / 4.0).abs() < 1e-12, "{}", curve.area());
        let point = |coverage, risk, confidence| RiskCoverage { coverage, risk, confidence };
        let expected =
            [point(0.25, 0.0, 0.9), point(0.5, 0.5, 0.8), point(0.75, 0.333_333, 0.7), point(1.0, 0.5, 0.6)];
        assert_eq!(curve.points(), expected);
    }

    #[test]
    fn clips_of_equal_confidence_have_no_order() {
        let right_first = [clip(0.7, true), clip(0.7, false), clip(0.7, false), clip(0.7, true)];
        let curve = RiskCoverageCurve::new(&right_first);
        assert_eq!((curve.surest_half_accuracy(), curve.area()), (0.5, 0.5));
        assert!(curve.points().iter().all(|point| point.risk == 0.5));
    }

    #[test]
    fn many_clips_give_twenty_points_and_none_give_no_point() {
        let clips: Vec<ScoredClip> =
            (0..1_000).map(|at| clip(0.5 + at as f32 / 2_001.0, at % 4 > 0)).collect();
        let points = RiskCoverageCurve::new(&clips).points();
        assert_eq!((points.len(), points[0].coverage, points[19].coverage), (20, 0.05, 1.0));
        assert!(points.is_sorted_by(|a, b| a.coverage < b.coverage && a.confidence > b.confidence));
        let none = RiskCoverageCurve::new(&[]);
        assert_eq!((none.surest_half_accuracy(), none.area(), none.points()), (0.0, 0.0, vec![]));
    }
}
