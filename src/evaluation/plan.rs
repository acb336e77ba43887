//! What one evaluation does.
//!
//! Input: clips on disk and the settings of the caller. Output: a plan for [`offline`](crate::offline) or
//! [`client`](crate::client). Invariants: both give the same figures for the same plan and model.

use std::sync::Arc;

use super::{Answers, Perturbation};
use crate::datasets;

/// The clips of an evaluation, how they are changed first, and which answers it accepts.
#[derive(Debug, Clone, Default)]
pub struct EvaluationPlan {
    /// The labelled clips.
    pub clips: Vec<datasets::Clip>,
    /// The change of every clip.
    pub perturbation: Arc<Perturbation>,
    /// The labels that a prediction can have.
    pub answers: Answers,
}
