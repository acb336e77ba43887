//! The dense network as ONNX nodes, in the order of its statistics and its forward pass (`network::statistics`,
//! `network::dense`).

use super::layers::{Affine, Dense};
use super::{Series, frame_count, mean_over};
use crate::train::graph::{Graph, int, ints};
use crate::train::network::statistics::{
    LOUD, LOUD_SLOPE, MODULATION_FLOOR, StatisticsShape, VARIANCE_FLOOR,
};
use crate::train::network::{MAX_DEVIATIONS, MISSING_SCORE};

/// The names of the common inputs of all statistics.
struct StatisticsNodes<'a> {
    shape: &'a StatisticsShape,
    /// The coefficients, `[batch, frames, coefficients]`.
    values: String,
    /// The coefficients without each window's mean; 0 in padding frames.
    centred: String,
    /// The mean of each window, `[batch, 1, coefficients]`.
    mean: String,
    /// The mask, `[batch, frames, 1]`.
    mask: String,
    /// The number of unmasked frames, `[batch, 1, 1]`.
    count: String,
}

/// Adds the network and returns the logits divided by the temperature, `[batch, labels]`.
pub(super) fn logits(
    graph: &mut Graph,
    network: &crate::train::network::Dense,
    input: Series,
    temperature: f64,
) -> String {
    let statistics = statistics(graph, &network.statistics, input);
    let width = network.mean.len();
    let mean = graph.floats("mean", &[width], &network.mean);
    let centred = graph.op("Sub", &[&statistics, &mean]);
    let scale = graph.floats("scale", &[width], &network.scale);
    let standard = graph.op("Mul", &[&centred, &scale]);
    let lowest = graph.floats("lowest", &[], &[-MAX_DEVIATIONS]);
    let highest = graph.floats("highest", &[], &[MAX_DEVIATIONS]);
    let clipped = graph.op("Clip", &[&standard, &lowest, &highest]);
    let hidden = Dense::of(&network.hidden).before(&Affine::of(&network.norm)).write(graph, &clipped);
    let rectified = graph.op("Relu", &[&hidden]);
    Dense::of(&network.last).divided_by(temperature).write(graph, &rectified)
}

fn statistics(graph: &mut Graph, shape: &StatisticsShape, input: Series) -> String {
    let Series { values, mask } = input;
    let count = frame_count(graph, &mask, 1);
    let mean = mean_over(graph, &values, &count, 1);
    let centred = graph.op("Sub", &[&values, &mean]);
    let centred = graph.op("Mul", &[&centred, &mask]);
    let nodes = StatisticsNodes { shape, values, centred, mean, mask, count };
    let weights = graph.floats("groups", &[shape.coefficients, shape.group_count()], &shape.groups);
    let groups = graph.op("MatMul", &[&nodes.centred, &weights]);
    let mut parts = vec![nodes.mean.clone()];
    parts.push(nodes.log_deviation(graph, &nodes.centred));
    parts.push(nodes.log_deviation(graph, &groups));
    parts.extend(nodes.covariances(graph));
    parts.extend(shape.change_lags().map(|lag| nodes.change(graph, lag)));
    parts.push(nodes.modulation(graph, &groups));
    parts.extend(nodes.loud(graph));
    let frames = graph.floats("frames", &[], &[shape.frames as f32]);
    parts.push(graph.op("Div", &[&nodes.count, &frames]));
    let flat: Vec<String> =
        parts.iter().map(|part| graph.op_with("Flatten", &[part], vec![int("axis", 1)])).collect();
    let flat: Vec<&str> = flat.iter().map(String::as_str).collect();
    graph.op_with("Concat", &flat, vec![int("axis", 1)])
}

impl StatisticsNodes<'_> {
    fn log_deviation(&self, graph: &mut Graph, values: &str) -> String {
        let squares = graph.op("Mul", &[values, values]);
        let variance = mean_over(graph, &squares, &self.count, 1);
        half_log(graph, &variance)
    }

    fn covariances(&self, graph: &mut Graph) -> Vec<String> {
        let size = self.shape.covariance();
        let all = slice(graph, &self.centred, 2, [0, size]);
        let covariance = self.product(graph, &all, &all);
        let flat = graph.op_with("Flatten", &[&covariance], vec![int("axis", 1)]);
        let places = graph.ints("places", &self.shape.covariance_indexes());
        let mut parts = vec![graph.op_with("Gather", &[&flat, &places], vec![int("axis", 1)])];
        let leading = slice(graph, &self.centred, 2, [0, self.shape.leading()]);
        for lag in self.shape.covariance_lags() {
            let (later, earlier) = self.lagged(graph, &leading, lag);
            parts.push(self.product(graph, &later, &earlier));
        }
        parts
    }

    /// Returns the mean over the frames of each column of one series times each column of another.
    fn product(&self, graph: &mut Graph, left: &str, right: &str) -> String {
        let turned = graph.op_with("Transpose", &[left], vec![ints("perm", &[0, 2, 1])]);
        let sum = graph.op("MatMul", &[&turned, right]);
        graph.op("Div", &[&sum, &self.count])
    }

    /// Returns the series without its first `lag` frames, and without its last `lag` frames.
    fn lagged(&self, graph: &mut Graph, series: &str, lag: usize) -> (String, String) {
        let frames = self.shape.frames;
        (slice(graph, series, 1, [lag, frames]), slice(graph, series, 1, [0, frames - lag]))
    }

    fn change(&self, graph: &mut Graph, lag: usize) -> String {
        let (later, earlier) = self.lagged(graph, &self.centred, lag);
        let (mask, _) = self.lagged(graph, &self.mask, lag);
        let count = frame_count(graph, &mask, 1);
        let change = graph.op("Sub", &[&later, &earlier]);
        let change = graph.op("Mul", &[&change, &mask]);
        let squares = graph.op("Mul", &[&change, &change]);
        let variance = mean_over(graph, &squares, &count, 1);
        half_log(graph, &variance)
    }

    fn modulation(&self, graph: &mut Graph, groups: &str) -> String {
        let shape = self.shape;
        let leading = slice(graph, &self.centred, 2, [0, shape.leading()]);
        let tracks = graph.op_with("Concat", &[&leading, groups], vec![int("axis", 2)]);
        let taper = self.taper(graph);
        let tapered = graph.op("Mul", &[&tracks, &taper]);
        let turned = graph.op_with("Transpose", &[&tapered], vec![ints("perm", &[0, 2, 1])]);
        let count = shape.frequencies();
        let waves = graph.floats("waves", &[shape.frames, 2 * count], &shape.waves(shape.frames));
        let waves = graph.op("MatMul", &[&turned, &waves]);
        let squares = graph.op("Mul", &[&waves, &waves]);
        let cosines = slice(graph, &squares, 2, [0, count]);
        let sines = slice(graph, &squares, 2, [count, 2 * count]);
        let power = graph.op("Add", &[&cosines, &sines]);
        let bands = graph.floats("bands", &[count, shape.modulation_band_count()], &shape.modulation_bands());
        let sum = graph.op("MatMul", &[&power, &bands]);
        let mean = graph.op("Div", &[&sum, &self.count]);
        let floor = graph.floats("modulation_floor", &[], &[MODULATION_FLOOR]);
        let raised = graph.op("Add", &[&mean, &floor]);
        graph.op("Log", &[&raised])
    }

    /// Returns a Hann taper, `sin²`, over the unmasked frames, `[batch, frames, 1]`.
    fn taper(&self, graph: &mut Graph) -> String {
        let frames = self.shape.frames;
        let ramp = graph.floats("ramp", &[1, frames, 1], &self.shape.ramp(frames));
        let phase = graph.op("Div", &[&ramp, &self.count]);
        let sine = graph.op("Sin", &[&phase]);
        let square = graph.op("Mul", &[&sine, &sine]);
        graph.op("Mul", &[&square, &self.mask])
    }

    fn loud(&self, graph: &mut Graph) -> Vec<String> {
        let factor = graph.floats("loudness", &[], &[self.shape.loudness]);
        let [loudness, centred] = [&self.values, &self.centred].map(|series| {
            let first = slice(graph, series, 2, [0, 1]);
            graph.op("Mul", &[&first, &factor])
        });
        let mut weights: Vec<String> = self.gates(graph, &centred);
        let one = graph.floats("one", &[], &[1.0]);
        let absent = graph.op("Sub", &[&self.mask, &one]);
        let far = graph.floats("missing", &[], &[-MISSING_SCORE]);
        let missing = graph.op("Mul", &[&absent, &far]);
        let scores = graph.op("Add", &[&loudness, &missing]);
        weights.push(graph.op_with("Softmax", &[&scores], vec![int("axis", 1)]));
        weights.iter().flat_map(|weights| self.weighted(graph, weights)).collect()
    }

    /// Returns the weights of loud frames, one value for each threshold of [`LOUD`].
    fn gates(&self, graph: &mut Graph, centred: &str) -> Vec<String> {
        let squares = graph.op("Mul", &[centred, centred]);
        let variance = mean_over(graph, &squares, &self.count, 1);
        let floor = graph.floats("variance_floor", &[], &[VARIANCE_FLOOR]);
        let raised = graph.op("Add", &[&variance, &floor]);
        let deviation = graph.op("Sqrt", &[&raised]);
        let height = graph.op("Div", &[centred, &deviation]);
        let gate = |from: f32| {
            let from = graph.floats("loud", &[], &[from]);
            let over = graph.op("Sub", &[&height, &from]);
            let slope = graph.floats("slope", &[], &[LOUD_SLOPE]);
            let steep = graph.op("Mul", &[&over, &slope]);
            let open = graph.op("Sigmoid", &[&steep]);
            let open = graph.op("Mul", &[&open, &self.mask]);
            let axis = graph.ints("frames_axis", &[1]);
            let sum = graph.op("ReduceSum", &[&open, &axis]);
            let sum = graph.op("Max", &[&sum, &floor]);
            graph.op("Div", &[&open, &sum])
        };
        LOUD.map(gate).into()
    }

    fn weighted(&self, graph: &mut Graph, weights: &str) -> [String; 2] {
        let axis = graph.ints("frames_axis", &[1]);
        let product = graph.op("Mul", &[&self.centred, weights]);
        let mean = graph.op("ReduceSum", &[&product, &axis]);
        let centred = graph.op("Sub", &[&self.centred, &mean]);
        let squares = graph.op("Mul", &[&centred, &centred]);
        let product = graph.op("Mul", &[&squares, weights]);
        let variance = graph.op("ReduceSum", &[&product, &axis]);
        let deviation = half_log(graph, &variance);
        [mean, deviation]
    }
}

/// Returns the logarithm of the standard deviation, `0.5 · ln(variance + floor)`.
fn half_log(graph: &mut Graph, variance: &str) -> String {
    let floor = graph.floats("variance_floor", &[], &[VARIANCE_FLOOR]);
    let raised = graph.op("Add", &[variance, &floor]);
    let log = graph.op("Log", &[&raised]);
    let half = graph.floats("half", &[], &[0.5]);
    graph.op("Mul", &[&log, &half])
}

fn slice(graph: &mut Graph, values: &str, axis: i64, [start, end]: [usize; 2]) -> String {
    let start = graph.ints("start", &[start as i64]);
    let end = graph.ints("end", &[end as i64]);
    let axis = graph.ints("axis", &[axis]);
    graph.op("Slice", &[values, &start, &end, &axis])
}
