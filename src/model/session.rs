//! One loaded graph on one thread: features in, predictions out.
//!
//! Input: a batch of windows as the front end computes them, `[batch, frames, coefficients]`. Output: `[batch, labels]` probabilities,
//! `[batch, values]` real values and `[batch]` out-of-domain scores, in the buffers of the caller. Layout, logits and temperature are handled here.
//! Invariant: no output is NaN or infinite.

use std::sync::Arc;

use ort::value::TensorRef;

use super::graph::Ports;
use super::{Contract, EngineError, Layout, Output, Predictions};

/// The number of windows that a session on a CPU runs at once. A larger batch is split into parts of this size.
///
/// On a CPU, every layer writes its output for the whole batch before the next layer reads it. At four windows these
/// intermediate tensors still fit into the cache of one core; with more windows they do not, and each window costs more
/// (`affectd model bench` shows the time per window by batch size). Running the whole batch at once was the rejected
/// alternative: it pays off on a GPU, where one launch serves many windows, and costs throughput on a CPU.
pub(super) const CPU_WINDOWS_PER_RUN: usize = 4;

/// A session of a model; each inference thread owns one.
#[derive(Debug)]
pub struct Session {
    graph: ort::session::Session,
    ports: Ports,
    contract: Arc<Contract>,
    max_windows_per_run: usize,
    /// A buffer for the transposed input, used where the layout has coefficients before frames.
    transposed: Vec<f32>,
}

impl Session {
    pub(super) fn new(
        graph: ort::session::Session,
        ports: Ports,
        contract: Arc<Contract>,
        max_windows_per_run: usize,
    ) -> Self {
        let max_windows_per_run = if ports.one_window { 1 } else { max_windows_per_run };
        Self { graph, ports, contract, max_windows_per_run, transposed: Vec::new() }
    }

    /// Returns the largest number of windows in one run; with more, the time per window grows.
    #[must_use]
    pub fn max_windows_per_run(&self) -> usize {
        self.max_windows_per_run
    }

    /// Returns the sizes of the input's axes after the batch axis.
    pub(super) fn window_shape(&self) -> &[usize] {
        &self.ports.window_shape
    }

    /// Returns the model's contract.
    #[must_use]
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Runs `batch` windows as [`Self::predict`] does; `scores` becomes `[batch, labels]` and keeps its allocation. Values and
    /// out-of-domain scores are dropped.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn run(&mut self, features: &[f32], batch: usize, scores: &mut Vec<f32>) -> Result<(), EngineError> {
        let mut out = Predictions { scores: std::mem::take(scores), ..Predictions::default() };
        let outcome = self.predict(features, batch, &mut out);
        *scores = out.scores;
        outcome
    }

    /// Runs `batch` windows: `features` is `[batch, frames, coefficients]`, `out` becomes `[batch, labels]` probabilities,
    /// `[batch, values]` real values and `[batch]` out-of-domain scores, and keeps its allocations. A graph with a fixed batch size of 1 runs once per window.
    ///
    /// # Errors
    /// Returns an error for a wrong number of values, a failure of ONNX Runtime, and an output that is not finite; `out` is
    /// empty then.
    pub fn predict(
        &mut self,
        features: &[f32],
        batch: usize,
        out: &mut Predictions,
    ) -> Result<(), EngineError> {
        out.clear();
        let window = self.contract.rows() * self.contract.coefficients();
        let expected = batch * window;
        if features.len() != expected || batch == 0 {
            return Err(EngineError::Size { batch, expected, found: features.len() });
        }
        let part = if self.ports.one_window { 1 } else { batch };
        for (index, features) in features.chunks(part * window).enumerate() {
            if let Err(error) = self.run_part(features, part, out) {
                out.clear();
                return Err(error.after(index * part));
            }
        }
        if self.contract.output == Output::Logits {
            for row in out.scores.chunks_exact_mut(self.contract.labels.len()) {
                softmax(row, self.contract.temperature as f32);
            }
        }
        Ok(())
    }

    /// Runs the graph once, on all windows of `features`, and appends its outputs to `out`.
    fn run_part(&mut self, features: &[f32], batch: usize, out: &mut Predictions) -> Result<(), EngineError> {
        let (rows, columns) = (self.contract.rows(), self.contract.coefficients());
        let input = match self.contract.layout {
            Layout::Ntc | Layout::N1tc | Layout::Ns => features,
            Layout::Nct | Layout::N1ct => {
                transpose(features, rows, columns, &mut self.transposed);
                &self.transposed
            }
        };
        let window_shape = self.ports.window_shape.iter().copied();
        let shape: Vec<usize> = std::iter::once(batch).chain(window_shape).collect();
        let failed = |error: ort::Error| EngineError::Run(error.to_string());
        let tensor = TensorRef::from_array_view((shape, input)).map_err(failed)?;
        let outputs = self.graph.run(ort::inputs![self.ports.input.as_str() => tensor]).map_err(failed)?;
        let append = |port: &str, names: &[String], rows: &mut Vec<f32>| {
            let (shape, values) = outputs[port].try_extract_tensor::<f32>().map_err(failed)?;
            // A graph that declares no shape for its output may return [labels, batch].
            if batch > 1 && shape.first() != Some(&(batch as i64)) {
                return Err(EngineError::Run(format!(
                    "the output {port:?} has the shape {shape} for {batch} windows"
                )));
            }
            check(values, batch, names)?;
            rows.extend_from_slice(values);
            Ok(())
        };
        append(&self.ports.output, &self.contract.labels, &mut out.scores)?;
        if let Some(port) = &self.ports.values {
            append(port, &self.contract.values, &mut out.values)?;
        }
        if let Some(port) = &self.ports.out_of_domain {
            append(port, std::slice::from_ref(port), &mut out.out_of_domain)?;
        }
        Ok(())
    }
}

/// Transposes `[batch, rows, columns]` to `[batch, columns, rows]`.
fn transpose(features: &[f32], rows: usize, columns: usize, out: &mut Vec<f32>) {
    out.clear();
    for window in features.chunks_exact(rows * columns) {
        for column in 0..columns {
            out.extend(window.iter().skip(column).step_by(columns));
        }
    }
}

/// Replaces `row` by `softmax(row / temperature)`. The maximum is subtracted first, so that no exponential overflows.
/// The temperature is that of Guo et al., "On Calibration of Modern Neural Networks", 2017.
fn softmax(row: &mut [f32], temperature: f32) {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = ((*value - highest) / temperature).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}

fn check(values: &[f32], batch: usize, labels: &[String]) -> Result<(), EngineError> {
    if values.len() != batch * labels.len() {
        let found = values.len();
        return Err(EngineError::Run(format!("{found} output values where {batch} × {} fit", labels.len())));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(EngineError::NotFinite {
            window: at / labels.len(),
            label: labels[at % labels.len()].clone(),
            value: values[at].to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_swaps_rows_and_columns_of_each_window() {
        let mut out = vec![9.0];
        transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0], 3, 2, &mut out);
        assert_eq!(out, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 10.0, 30.0, 50.0, 20.0, 40.0, 60.0]);
    }

    #[test]
    fn softmax_divides_by_the_temperature_and_accepts_large_logits() {
        let mut row = [1000.0, 1000.0 + 2.0 * 3.0_f32.ln()];
        softmax(&mut row, 2.0);
        assert!((row[0] - 0.25).abs() < 1e-4 && (row[1] - 0.75).abs() < 1e-4, "{row:?}");
    }
}
