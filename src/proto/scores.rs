//! Which scores of an event decide.
//!
//! Input: an event. Output: one of its lists of scores.

use super::{EmotionEvent, EmotionScore};

impl EmotionEvent {
    /// Returns the scores of the window itself: the adapted ones, or the model's where adaptation is off.
    #[must_use]
    pub fn unsmoothed_scores(&self) -> &[EmotionScore] {
        if self.adapted_scores.is_empty() { &self.scores } else { &self.adapted_scores }
    }

    /// Returns the scores that decide the emotion.
    #[must_use]
    pub fn deciding_scores(&self) -> &[EmotionScore] {
        if self.smoothed_scores.is_empty() { self.unsmoothed_scores() } else { &self.smoothed_scores }
    }
}
