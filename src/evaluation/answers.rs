//! The answers that an evaluation accepts.
//!
//! Input: the labels of `--only-labels` and the probabilities of a clip. Output: probabilities of these labels alone. Invariants: the
//! probabilities keep the order and the number of the model's labels, and their sum is 1.

use std::collections::BTreeSet;

use crate::publish::adaptation;

/// The labels that a prediction can have; without a restriction these are all labels of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers(BTreeSet<String>);

impl Answers {
    /// Accepts only the given labels; an empty list accepts all.
    #[must_use]
    pub fn only(labels: &[String]) -> Self {
        Self(labels.iter().cloned().collect())
    }

    /// Returns true if some labels are not accepted.
    #[must_use]
    pub fn are_restricted(&self) -> bool {
        !self.0.is_empty()
    }

    /// Sets the probabilities of the other labels to 0 and divides the rest by their sum, which gives the model's
    /// probabilities under the condition that one of the accepted labels is true.
    ///
    /// `labels` and `probabilities` have the same order. Where the accepted labels have no probability at all, each of
    /// them receives the same. Where the model has none of them, nothing changes.
    pub fn restrict(&self, labels: &[String], probabilities: &mut [f32]) {
        let accepted: Vec<bool> = labels.iter().map(|label| self.0.contains(label)).collect();
        let count = accepted.iter().filter(|accepted| **accepted).count();
        if count == 0 {
            return;
        }
        let pairs = || probabilities.iter().zip(&accepted);
        let sum: f32 = pairs().filter(|(_, accepted)| **accepted).map(|(probability, _)| *probability).sum();
        for (probability, accepted) in probabilities.iter_mut().zip(accepted) {
            *probability = match (accepted, sum > 0.0) {
                (false, _) => 0.0,
                (true, true) => *probability / sum,
                (true, false) => 1.0 / count as f32,
            };
        }
    }
}

impl Answers {
    /// Returns the logits of the accepted labels: those of the restricted probabilities that `logits` stand for.
    #[must_use]
    pub fn restricted_logits(&self, labels: &[String], logits: &[f32]) -> Vec<f32> {
        if !self.are_restricted() {
            return logits.to_vec();
        }
        let mut probabilities = adaptation::probabilities(logits);
        self.restrict(labels, &mut probabilities);
        adaptation::logits(&probabilities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    fn restricted(only: &[&str], probabilities: [f32; 4]) -> Vec<f32> {
        let mut probabilities = probabilities.to_vec();
        let labels = names(&["anger", "disgust", "neutral", "sadness"]);
        Answers::only(&names(only)).restrict(&labels, &mut probabilities);
        probabilities
    }

    #[test]
    fn other_labels_have_no_probability_and_the_rest_sums_to_one() {
        assert_eq!(restricted(&["anger", "sadness"], [0.3, 0.4, 0.2, 0.1]), [0.75, 0.0, 0.0, 0.25]);
    }

    #[test]
    fn without_a_restriction_nothing_changes() {
        assert_eq!(restricted(&[], [0.3, 0.4, 0.2, 0.1]), [0.3, 0.4, 0.2, 0.1]);
        assert!(!Answers::default().are_restricted());
    }

    #[test]
    fn labels_that_the_model_does_not_have_are_ignored() {
        assert_eq!(restricted(&["anger", "boredom"], [0.3, 0.4, 0.2, 0.1]), [1.0, 0.0, 0.0, 0.0]);
        assert_eq!(restricted(&["boredom"], [0.3, 0.4, 0.2, 0.1]), [0.3, 0.4, 0.2, 0.1]);
    }

    #[test]
    fn accepted_labels_without_any_probability_share_it() {
        assert_eq!(restricted(&["anger", "neutral"], [0.0, 0.6, 0.0, 0.4]), [0.5, 0.0, 0.5, 0.0]);
    }
}
