//! Static quantization of a trained model to 8-bit integers: about twice as fast on a CPU with VNNI, and a quarter of the
//! size.
//!
//! Input: a float model and full windows of features. Output: the same graph in QDQ form, with `QuantizeLinear` and
//! `DequantizeLinear` around its expensive layers, which ONNX Runtime fuses into integer kernels. Invariants: metadata,
//! input and output are unchanged. The arithmetic is that of Jacob et al., "Quantization and Training of Neural Networks
//! for Efficient Integer-Arithmetic-Only Inference", 2018. Dynamic quantization was rejected, because it makes a CNN
//! several times slower.
//!
//! In data order: `layers` (which layers) → `points` (which values) → `calibrate` (the range of each value) → `scale` and
//! `weights` (integers) → `rewrite` (the graph).

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

/// The options of quantization.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizeOptions {
    /// Only layers whose weights have a name with one of these prefixes are quantized.
    pub weights: Vec<String>,
    /// A `Gemm` or `MatMul` with fewer weights is not quantized.
    pub min_weights: usize,
    /// Whether the last layer, which computes the logits, is not quantized.
    pub keep_last: bool,
    /// The method that determines the range of a value.
    pub range: RangeOf,
}

impl Default for QuantizeOptions {
    /// The defaults quantize all layers of an exported network except the last one. The front stage is not quantized, because
    /// its constants have other names.
    fn default() -> Self {
        Self { weights: vec!["weight".into()], min_weights: 4096, keep_last: true, range: RangeOf::MinMax }
    }
}

/// Quantizes a float model. Each item of `calibration` is one window `[frames * coefficients]`, padded with rows of 0; a
/// few hundred representative windows are sufficient.
///
/// # Errors
/// Returns an error where the model is quantized already or has no layer to quantize, where there are no windows or their
/// size is wrong, and where the float model cannot be loaded or run.
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

/// Returns the scale of each point. A masked value has the scale of the value before the mask, so that masking is exact.
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
