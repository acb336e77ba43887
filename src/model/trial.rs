//! A trial of a loaded graph: whether the result of a window depends on that window only.
//!
//! Input: a session. Output: nothing, or the first difference that was found. Invariants: the trial runs each window
//! alone, the first one twice, and all of them beside each other in two orders; every label may differ by
//! [`TOLERANCE`] at most (beside other windows by [`QUANTISED_TOLERANCE`] in a quantised graph). An out-of-domain score,
//! which has any scale, may differ by the same share of its size where that is above 1.
//!
//! Batches are formed from whatever windows wait at the same moment. Where windows of a batch influence each other, or a
//! graph draws random numbers, an event cannot be reproduced, and a window that is replayed after a restart gets other
//! probabilities under the same event id.

use super::graph::OUT_OF_DOMAIN;
use super::{Contract, EngineError, Input, Prediction, Predictions, Session};
use crate::features::{FrameKind, FrontEnd, features_with_deltas};

/// The largest difference of a probability between two runs of the same window.
pub(super) const TOLERANCE: f32 = 1e-4;

/// The same beside other windows, for a graph with quantised activations. ONNX Runtime may add the products of a batch in another order than those of a
/// window alone. Such a difference in the last bit is far below [`TOLERANCE`], but rounding turns it into a whole step of an 8-bit activation where a value
/// lies between two steps.
pub(super) const QUANTISED_TOLERANCE: f32 = 0.02;

/// A window whose result is not reproducible.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    /// The label with the largest difference, or `ood`.
    pub label: String,
    /// The probability, or the out-of-domain score, in the first run, in which the window is alone.
    pub alone: f32,
    /// The same in the other run.
    pub other: f32,
    /// Whether the window is alone in the other run too, so that the difference is due to chance.
    pub by_chance: bool,
    /// The largest difference that is allowed.
    pub allowed: f32,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { label, alone, other, by_chance, allowed } = self;
        let (cause, second) = match by_chance {
            true => ("chance", "in a second run of it"),
            false => ("the other windows of its batch", "beside other windows"),
        };
        write!(
            out,
            "the result of a window depends on {cause}: {label:?} is {alone:.4} for a window alone and {other:.4} \
             {second} (allowed difference {allowed})"
        )
    }
}

/// Runs the trial and returns the first difference, if any. `beside_others` is the largest one that is allowed between a window alone and beside others;
/// two runs of a window alone may differ by [`TOLERANCE`].
///
/// # Errors
/// Returns an error where a run fails, except for outputs that are not finite: such a window is left out of the trial,
/// because a failing window is reported by the run that it occurs in.
pub(super) fn first_difference(
    session: &mut Session,
    beside_others: f32,
) -> Result<Option<Difference>, EngineError> {
    let mut names = session.contract().labels.clone();
    names.extend(session.contract().out_of_domain.map(|_| OUT_OF_DOMAIN.to_owned()));
    names.extend(session.contract().values.iter().cloned());
    let mut windows = Vec::new();
    for features in probes(session.contract()) {
        match run(session, &[&features]) {
            Ok(alone) => windows.push((features, alone.concat())),
            Err(EngineError::NotFinite { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some((features, alone)) = windows.first()
        && let Some(found) = largest_gap(&names, alone, &run(session, &[features])?.concat(), TOLERANCE)
    {
        return Ok(Some(Difference { by_chance: true, ..found }));
    }
    for _ in 0..2 {
        let batch: Vec<&[f32]> = windows.iter().map(|(features, _)| features.as_slice()).collect();
        let together = if batch.is_empty() { Vec::new() } else { run(session, &batch)? };
        for ((_, alone), other) in windows.iter().zip(&together) {
            if let Some(found) = largest_gap(&names, alone, other, beside_others) {
                return Ok(Some(found));
            }
        }
        // The second batch is smaller and has another order.
        windows.reverse();
        windows.truncate(2);
    }
    Ok(None)
}

/// Returns the largest difference between two results of a window, where it is above `allowed`.
fn largest_gap(names: &[String], alone: &[f32], other: &[f32], allowed: f32) -> Option<Difference> {
    // Probabilities are at most 1; only an out-of-domain score and other values are larger.
    let scale = |at: usize| alone[at].abs().max(1.0);
    let gap = |at: &usize| (alone[*at] - other[*at]).abs() / scale(*at);
    let at = (0..names.len()).max_by(|a, b| gap(a).total_cmp(&gap(b)))?;
    (gap(&at) > allowed).then(|| Difference {
        label: names[at].clone(),
        alone: alone[at],
        other: other[at],
        by_chance: false,
        allowed: allowed * scale(at),
    })
}

/// Returns the probabilities of each window, followed by its out-of-domain score and its other values where the model has them.
fn run(session: &mut Session, windows: &[&[f32]]) -> Result<Vec<Vec<f32>>, EngineError> {
    let mut out = Predictions::default();
    session.predict(&windows.concat(), windows.len(), &mut out)?;
    let row = |row: Prediction| row.scores.into_iter().chain(row.out_of_domain).chain(row.values).collect();
    Ok(out.rows(windows.len()).map(row).collect())
}

/// Returns the windows of the trial: the values of the warm-up, and the features of two sounds of different level and
/// spectrum. With values that no audio has, most models are so certain that a difference would not show.
fn probes(contract: &Contract) -> Vec<Vec<f32>> {
    let size = contract.rows() * contract.coefficients();
    let mut probes = vec![warm_up_values(size)];
    let samples = contract.window.length_samples;
    let rate = contract.sample_rate_hz as f32;
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 - 0.5
    };
    // A buzz of 140 Hz that swells four times per second, and faint noise.
    let voice: Vec<f32> = (0..samples)
        .map(|at| {
            let time = at as f32 / rate;
            let swell = 0.5 - 0.5 * (std::f32::consts::TAU * 4.0 * time).cos();
            0.3 * swell * (2.0 * (140.0 * time).fract() - 1.0) + 0.01 * noise()
        })
        .collect();
    let hiss: Vec<f32> = (0..samples).map(|_| 0.05 * noise()).collect();
    let Some(mfcc) = &contract.mfcc else { return [probes, vec![voice, hiss]].concat() };
    let kind = if contract.input == Input::LogMel { FrameKind::LogMel } else { FrameKind::Mfcc };
    if let Ok(front_end) = FrontEnd::new(mfcc, contract.sample_rate_hz, kind) {
        let features = [voice, hiss].map(|sound| features_with_deltas(&front_end, &sound));
        probes.extend(features.into_iter().filter(|features| features.len() == size));
    }
    probes
}

/// Returns `size` values from -0.5 to 0.5. No row is all zero, because rows of zeros are padding, which the graph masks.
pub(super) fn warm_up_values(size: usize) -> Vec<f32> {
    (1..=size).map(|n| (n as f32 * 0.7).sin() * 0.5).collect()
}
