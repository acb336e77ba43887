//! A trial run of an encoder: the shape of its input and of its frames.
//!
//! Input: the graph, with every tensor that may hold the frames as an output, and the front end. Output: the tensor to
//! use, or an error that names what does not fit. Invariants: the trial runs two windows together and the first one alone;
//! the frames of a window must not depend on the other one.

use anyhow::{Context, anyhow, bail};
use prost::Message;

use crate::config;
use crate::model::{Contract, ObservedTensor, Observer};
use crate::train::onnx::ModelProto;

/// The number of windows that run together.
const BATCH: usize = 2;
/// The largest difference of a window's frames alone and beside another window, as a share of the largest value. Kernels
/// with 8-bit activations differ more than those with floats.
const TOLERANCE: f32 = 0.02;

/// The outputs of the trial run.
pub(super) struct Trial {
    /// The shape of one window in the input, without the batch axis.
    pub window_shape: Vec<usize>,
    together: Vec<Option<ObservedTensor>>,
    alone: Vec<Option<ObservedTensor>>,
}

/// A tensor that holds frames.
pub(super) struct Chosen {
    /// The index of the output.
    pub output: usize,
    /// The number of frames of a window and the number of values of a frame.
    pub size: [usize; 2],
}

/// Runs the trial.
///
/// # Errors
/// Returns an error where ONNX Runtime rejects the graph or fails, and where the input does not fit the front end.
pub(super) fn run(model: &ModelProto, contract: &Contract, engine: &config::Engine) -> anyhow::Result<Trial> {
    let mut observer = Observer::load(&model.encode_to_vec(), engine)?;
    let window_shape = observer.window_shape(contract).map_err(|problem| anyhow!("{problem}"))?;
    let size: usize = window_shape.iter().product();
    let values: Vec<f32> = (1..=BATCH * size).map(|n| (n as f32 * 0.7).sin() * 0.5).collect();
    let mut observe = |windows: usize| {
        let shape: Vec<usize> = std::iter::once(windows).chain(window_shape.iter().copied()).collect();
        let tensors = observer.tensors(&shape, &values[..windows * size]);
        tensors.with_context(|| format!("a trial with {windows} windows of {window_shape:?} failed"))
    };
    let (together, alone) = (observe(BATCH)?, observe(1)?);
    Ok(Trial { window_shape, together, alone })
}

impl Trial {
    /// Returns the first output `[batch, frames, width]`. `names` are those of the outputs; `named`: whether the user
    /// has named the only one.
    ///
    /// # Errors
    /// Returns an error with the shapes of the outputs where none fits, and where the frames of a window depend on the
    /// other windows of its batch.
    pub fn choose(&self, names: &[String], named: bool) -> anyhow::Result<Chosen> {
        let frames = |tensor: &Option<ObservedTensor>| match tensor.as_ref()?.shape.as_slice() {
            [BATCH, frames, width] if frames * width > 0 => Some([*frames, *width]),
            _ => None,
        };
        let fitting = self.together.iter().enumerate().find_map(|(at, it)| Some((at, frames(it)?)));
        let Some((output, size)) = fitting else {
            let shapes: Vec<String> =
                names.iter().zip(&self.together).map(|(name, it)| format!("{name} {}", shape(it))).collect();
            let hint = if named { "" } else { "; name another tensor with --layer" };
            bail!(
                "frames must be [batch, frames, width] of 32-bit floats; for a batch of {BATCH} there is {}{hint}",
                shapes.join(", ")
            );
        };
        self.check_independence(output, &names[output])?;
        Ok(Chosen { output, size })
    }

    fn check_independence(&self, output: usize, name: &str) -> anyhow::Result<()> {
        let values = |tensors: &[Option<ObservedTensor>]| {
            tensors[output].as_ref().map(|it| it.values.clone()).unwrap_or_default()
        };
        let (together, alone) = (values(&self.together), values(&self.alone));
        let largest = alone.iter().fold(0.0_f32, |largest, it| largest.max(it.abs()));
        let furthest = alone.iter().zip(&together).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        if alone.len() * BATCH != together.len() || furthest > TOLERANCE * largest {
            bail!("layer {name}: the frames of a window depend on the other windows of its batch");
        }
        Ok(())
    }
}

fn shape(tensor: &Option<ObservedTensor>) -> String {
    tensor.as_ref().map_or("(no tensor of 32-bit floats)".to_owned(), |it| format!("{:?}", it.shape))
}
