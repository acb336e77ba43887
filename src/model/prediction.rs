//! What a model predicts for a window: class probabilities, named real values, and an out-of-domain score.
//!
//! Input: nothing. Output: plain numbers in the order of the contract's `labels` and `values`.
//! Invariant: a model without values or out-of-domain score costs nothing for them: an empty `Vec` allocates nothing.

/// The prediction for one window. Everything is empty where the model was not run (a silent window).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prediction {
    /// One probability for each label of the contract.
    pub scores: Vec<f32>,
    /// One real value for each name in the contract's `values`, such as arousal; empty for models that give none.
    pub values: Vec<f32>,
    /// The graph's output `ood`: the larger it is, the less the window resembles the training data; `None` for models without it.
    pub out_of_domain: Option<f32>,
}

/// The predictions of one run, window by window. A session clears and fills it, so that it keeps its allocations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// `[batch, labels]`
    pub scores: Vec<f32>,
    /// `[batch, values]`; empty for models that give none.
    pub values: Vec<f32>,
    /// `[batch]`; empty for models without an out-of-domain score.
    pub out_of_domain: Vec<f32>,
}

impl Predictions {
    /// Removes all rows.
    pub fn clear(&mut self) {
        self.scores.clear();
        self.values.clear();
        self.out_of_domain.clear();
    }

    /// Appends the rows of `other`.
    pub fn append(&mut self, other: &Self) {
        self.scores.extend_from_slice(&other.scores);
        self.values.extend_from_slice(&other.values);
        self.out_of_domain.extend_from_slice(&other.out_of_domain);
    }

    /// Whether the lists divide into `windows` rows of equal length, and there is at least one score in each and at most one out-of-domain score.
    #[must_use]
    pub fn divides_into(&self, windows: usize) -> bool {
        windows > 0
            && !self.scores.is_empty()
            && self.scores.len().is_multiple_of(windows)
            && self.values.len().is_multiple_of(windows)
            && (self.out_of_domain.is_empty() || self.out_of_domain.len() == windows)
    }

    /// The prediction of each of `windows` windows, in order.
    pub fn rows(&self, windows: usize) -> impl Iterator<Item = Prediction> {
        let (scores, values) = (self.scores.len() / windows.max(1), self.values.len() / windows.max(1));
        (0..windows).map(move |window| Prediction {
            scores: self.scores[window * scores..][..scores].to_vec(),
            values: self.values[window * values..][..values].to_vec(),
            out_of_domain: self.out_of_domain.get(window).copied(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_the_scores_and_values_of_their_window() {
        let (scores, values) = (vec![0.9, 0.1, 0.2, 0.8], vec![0.5, -0.5]);
        let two = Predictions { scores, values, out_of_domain: vec![3.0, -1.0] };
        assert!(two.divides_into(2) && !two.divides_into(3) && !two.divides_into(0));
        let short = Predictions { out_of_domain: vec![3.0], ..two.clone() };
        assert!(!short.divides_into(2));
        let row = |scores: [f32; 2], value, out_of_domain| Prediction {
            scores: scores.to_vec(),
            values: vec![value],
            out_of_domain: Some(out_of_domain),
        };
        let rows: Vec<_> = two.rows(2).collect();
        assert_eq!(rows, [row([0.9, 0.1], 0.5, 3.0), row([0.2, 0.8], -0.5, -1.0)]);
    }

    #[test]
    fn a_model_without_values_gives_rows_without_values() {
        let rows: Vec<_> = Predictions { scores: vec![1.0], ..Predictions::default() }.rows(1).collect();
        assert_eq!(rows, [Prediction { scores: vec![1.0], ..Prediction::default() }]);
        assert_eq!(Predictions::default().rows(0).count(), 0);
    }
}
