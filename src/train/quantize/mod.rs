//! A trained model in 8-bit integers: about twice as fast on a CPU with VNNI, and a quarter of the size.
//!
//! In: a float model and whole windows as in serving. Out: the same graph with `QuantizeLinear` and `DequantizeLinear`
//! around its heavy layers (static, in QDQ form), which ONNX Runtime fuses into integer kernels. In data order: `layers`
//! (which) → `points` (where) → `calibrate` (the range of each value) → `scale` and `weights` (numbers) → `rewrite`.
//! Never touches metadata, input or output. The arithmetic is that of Jacob et al., "Quantization and Training of
//! Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018.

mod calibrate;
mod layers;
mod points;
mod rewrite;
mod scale;
mod weights;

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

use super::onnx::{GraphProto, ModelProto};
use crate::config;

pub use calibrate::RangeOf;
use points::{Plan, ScaleFrom};
use scale::Scale;

/// What is quantized, and how ranges are taken.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizeOptions {
    /// Only layers whose constant weight's name starts with one of these.
    pub weights: Vec<String>,
    /// A `Gemm` or `MatMul` over fewer weights stays as it is.
    pub min_weights: usize,
    /// Whether the last such layer, the one that gives the logits, stays as it is.
    pub keep_last: bool,
    /// How the range of a value is taken from what calibration shows.
    pub range: RangeOf,
}

impl Default for QuantizeOptions {
    /// All but the last layer of an exported network; its front has constants of other names.
    fn default() -> Self {
        Self { weights: vec!["weight".into()], min_weights: 4096, keep_last: true, range: RangeOf::MinMax }
    }
}

/// Rewrites a float model as a static 8-bit one. Each of `calibration` is one window `[frames * coefficients]`, padded
/// with rows of 0 as in serving; a few hundred that are like the speech to come are enough.
///
/// # Errors
/// A model that is quantized already or has nothing to quantize; no windows, or some of a wrong size; and whatever
/// loading and running the float model may meet.
pub fn quantize(
    model: &ModelProto,
    calibration: &[Vec<f32>],
    options: &QuantizeOptions,
    engine: &config::Engine,
) -> anyhow::Result<ModelProto> {
    let graph = model.graph.as_ref().context("quantize the model: it holds no graph")?;
    refuse_quantized(graph)?;
    ensure!(!calibration.is_empty(), "quantize the model: no calibration windows");
    let layers = layers::choose(graph, options);
    ensure!(
        !layers.is_empty(),
        "quantize the model: no layer to quantize (a Conv of at least 8 channels to at least 16, or a Gemm or MatMul \
         over at least {} weights, whose weights are called {}…)",
        options.min_weights,
        options.weights.join("… or ")
    );
    let plan = Plan::new(graph, layers);
    let ranges = calibrate::ranges(model, &plan.measured(), calibration, options.range, engine)?;
    let scales = scales(&plan, &ranges)?;
    let graph = rewrite::rewrite(graph, &plan, &scales);
    Ok(ModelProto { graph: Some(graph), ..model.clone() })
}

fn refuse_quantized(graph: &GraphProto) -> anyhow::Result<()> {
    let integer = graph.node.iter().find(|node| {
        matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear")
            || node.op_type.starts_with("QLinear")
    });
    match integer {
        None => Ok(()),
        Some(node) => {
            anyhow::bail!(
                "quantize the model: it is quantized already (node {}, {})",
                node.name,
                node.op_type
            )
        }
    }
}

/// The scale of each point; one that is masked takes that of the value before the mask, so that masking stays exact.
fn scales(plan: &Plan, ranges: &BTreeMap<String, scale::Range>) -> anyhow::Result<BTreeMap<String, Scale>> {
    let scale_of = |value: &str| {
        let origin = plan.origin(value);
        if plan.points[origin].scale == ScaleFrom::Mask {
            return anyhow::Ok(Scale::MASK);
        }
        let range =
            ranges.get(origin).with_context(|| format!("quantize the model: no range of {origin}"))?;
        Ok(Scale::of(*range))
    };
    plan.points.keys().map(|value| Ok((value.clone(), scale_of(value)?))).collect()
}
