//! Calibration: the ranges of intermediate values on real speech.
//!
//! Input: the float model, names of values, and windows. Output: the [`Range`] of each value. Invariants: a copy of the
//! model runs with these values as its outputs, a few windows at a time, so that memory is bounded.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use prost::Message;

use super::scale::Range;
use crate::config;
use crate::model::Observer;
use crate::train::onnx::{
    DimensionValue, FLOAT, GraphProto, ModelProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// The number of windows in one run.
const BATCH: usize = 32;
/// The number of histogram bins between the lowest and the highest value.
const BINS: usize = 2048;

/// The method that determines a range from observed values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeOf {
    /// The minimum and the maximum.
    MinMax,
    /// The central share of the values, from 0 to 1 (a percentile calibration); values outside saturate.
    Share(f64),
}

/// Returns the range of each named value over all windows.
pub(super) fn ranges(
    model: &ModelProto,
    names: &BTreeSet<String>,
    windows: &[Vec<f32>],
    range_of: RangeOf,
    engine: &config::Engine,
) -> anyhow::Result<BTreeMap<String, Range>> {
    let graph = model.graph.as_ref().context("quantize the model: it holds no graph")?;
    let input = graph.input.first().context("quantize the model: it takes no input")?;
    let window_shape = window_shape(input)?;
    let size: usize = window_shape.iter().product();
    for (index, window) in windows.iter().enumerate() {
        let found = window.len();
        ensure!(
            found == size,
            "quantize the model: calibration window {index} holds {found} values of {size}"
        );
    }
    let bytes = with_inner_outputs(model, graph, names).encode_to_vec();
    let observer = Observer::load(&bytes, engine).context("calibrate")?;
    let mut run = Run { observer, input: &input.name, names, windows, window_shape };
    let mut ranges: BTreeMap<String, Range> =
        names.iter().map(|name| (name.clone(), Range::default())).collect();
    run.each(|name, values| {
        ranges.entry(name.to_owned()).or_default().widen(values);
    })?;
    let RangeOf::Share(share) = range_of else { return Ok(ranges) };
    let mut histograms: BTreeMap<String, Histogram> =
        ranges.into_iter().map(|(name, range)| (name, Histogram::new(range))).collect();
    run.each(|name, values| {
        if let Some(histogram) = histograms.get_mut(name) {
            histogram.add(values);
        }
    })?;
    Ok(histograms.into_iter().map(|(name, histogram)| (name, histogram.holding(share))).collect())
}

/// Returns the sizes of the input's axes after the batch axis.
fn window_shape(input: &ValueInfoProto) -> anyhow::Result<Vec<usize>> {
    let tensor = input.r#type.as_ref().and_then(|it| it.tensor_type.as_ref());
    let axes = tensor.and_then(|it| it.shape.as_ref()).map(|it| it.dim.as_slice()).unwrap_or_default();
    let size = |value: &Option<DimensionValue>| match value {
        Some(DimensionValue::Size(size)) => usize::try_from(*size).ok(),
        _ => None,
    };
    let sizes = axes.iter().skip(1).map(|axis| size(&axis.value)).collect::<Option<Vec<_>>>();
    sizes.with_context(|| {
        format!("quantize the model: input {} has a dynamic axis besides the batch", input.name)
    })
}

/// Returns the model with the named intermediate values as its only outputs.
fn with_inner_outputs(model: &ModelProto, graph: &GraphProto, names: &BTreeSet<String>) -> ModelProto {
    let tensor = TensorTypeProto { elem_type: FLOAT, shape: None };
    let output = |name: &String| ValueInfoProto {
        name: name.clone(),
        r#type: Some(TypeProto { tensor_type: Some(tensor.clone()) }),
    };
    let inside = names.iter().filter(|name| graph.input.iter().all(|input| input.name != **name));
    let graph = GraphProto { output: inside.map(output).collect(), ..graph.clone() };
    ModelProto { graph: Some(graph), ..model.clone() }
}

/// The repeated runs of a model over the calibration windows.
struct Run<'a> {
    observer: Observer,
    input: &'a str,
    names: &'a BTreeSet<String>,
    windows: &'a [Vec<f32>],
    window_shape: Vec<usize>,
}

impl Run<'_> {
    /// Runs all windows and passes the values of each batch to `observe`.
    fn each(&mut self, mut observe: impl FnMut(&str, &[f32])) -> anyhow::Result<()> {
        for windows in self.windows.chunks(BATCH) {
            let batch = windows.concat();
            if self.names.contains(self.input) {
                observe(self.input, &batch);
            }
            let shape: Vec<usize> =
                std::iter::once(windows.len()).chain(self.window_shape.iter().copied()).collect();
            self.observer.run(&shape, &batch, &mut observe).context("calibrate")?;
        }
        Ok(())
    }
}

/// A histogram of values within their range.
struct Histogram {
    range: Range,
    counts: Vec<u64>,
}

impl Histogram {
    fn new(range: Range) -> Self {
        Self { range, counts: vec![0; BINS] }
    }

    fn step(&self) -> f32 {
        (self.range.high - self.range.low) / BINS as f32
    }

    fn add(&mut self, values: &[f32]) {
        let step = self.step();
        for value in values {
            let bin = ((value - self.range.low) / step) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// Returns the range that holds the central share of the values, rounded outwards to whole bins, and 0.
    fn holding(&self, share: f64) -> Range {
        let outside = self.counts.iter().sum::<u64>() as f64 * (1.0 - share) / 2.0;
        let cut = |counts: &mut dyn Iterator<Item = &u64>| {
            let mut seen = 0;
            counts
                .take_while(|count| {
                    seen += **count;
                    seen as f64 <= outside
                })
                .count() as f32
        };
        let (low, high) = (cut(&mut self.counts.iter()), cut(&mut self.counts.iter().rev()));
        let (low, high) = (self.range.low + low * self.step(), self.range.high - high * self.step());
        Range { low: low.min(0.0), high: high.max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[f32]) -> Histogram {
        let mut range = Range::default();
        range.widen(values);
        let mut histogram = Histogram::new(range);
        histogram.add(values);
        histogram
    }

    #[test]
    fn a_share_of_one_is_the_whole_range() {
        let range = histogram(&[-1.0, 0.5, 3.0]).holding(1.0);
        assert_eq!(range, Range { low: -1.0, high: 3.0 });
    }

    #[test]
    fn a_rare_outlier_is_cut_off() {
        let mut values: Vec<f32> = (0..10_000).map(|n| n as f32 / 10_000.0).collect();
        values.push(100.0);
        let range = histogram(&values).holding(0.999);
        assert_eq!(range.low, 0.0);
        assert!((0.95..1.1).contains(&range.high), "{range:?}");
    }

    #[test]
    fn values_that_are_all_zero_have_a_range_of_zero() {
        assert_eq!(histogram(&[0.0; 8]).holding(0.99), Range::default());
    }
}
