//! Tiny encoders as ONNX files: a convolution over frames or samples, and a projection.

use std::path::{Path, PathBuf};

use affectd::config::Config;
use affectd::train::Training;
use affectd::train::architecture::NetworkKind;
use affectd::train::corpus::Recipe;
use affectd::train::encoder::{Encoder, EncoderOptions, Pooling};
use affectd::train::graph::{Graph, Port, int, ints};
use affectd::train::onnx::{
    AttributeProto, DimensionValue, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use affectd::train::optimizer::Optimizer;
use affectd::train::waveform::WaveformStrength;
use prost::Message;

use super::train_fixture::{speech, training};

/// The key of the contract in the metadata.
pub const KEY: &str = "affectd.contract";
/// The number of frames of a window of 1 s before the encoder.
pub const ROWS: usize = 97;
/// The number of mel bands.
pub const BANDS: usize = 20;
/// The number of frames after the encoder.
pub const FRAMES: usize = 49;
/// The number of values of a frame.
pub const WIDTH: usize = 8;

/// Repeatable weights between -0.5 and 0.5, multiplied by `scale`.
fn weights(count: usize, scale: f32) -> Vec<f32> {
    let mut state = count as u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        scale * ((state >> 8) as f32 / (1 << 24) as f32 - 0.5)
    };
    (0..count).map(|_| draw()).collect()
}

/// The front end of an encoder on log-mel frames, without the entries of a classifier.
pub fn front_end(layout: &str) -> serde_json::Value {
    let options = affectd::features::MfccOptions {
        n_mels: BANDS,
        n_mfcc: BANDS,
        ..affectd::features::MfccOptions::default()
    };
    serde_json::json!({
        "input": "log_mel", "layout": layout, "sample_rate_hz": 16_000, "frames": ROWS, "mfcc": options,
        "window": { "length_samples": 16_000, "hop_samples": 8_000 },
    })
}

/// Completes an encoder whose frames are `frames`: `deep` is a second layer, and the first output has no frames.
fn finished(mut graph: Graph, frames: &str, input: Port, contract: &serde_json::Value) -> ModelProto {
    graph.named("frames", "Identity", &[frames], Vec::new());
    let projection = graph.floats("projection", &[WIDTH, WIDTH], &weights(WIDTH * WIDTH, 2.0));
    let projected = graph.op("MatMul", &["frames", &projection]);
    // A constant node with the values of its tensor in another list than the trainer writes.
    let bias = TensorProto { dims: vec![1], data_type: 1, float_data: vec![0.25], ..TensorProto::default() };
    let value =
        AttributeProto { name: "value".into(), t: Some(bias), r#type: 4, ..AttributeProto::default() };
    let bias = graph.op_with("Constant", &[], vec![value]);
    let biased = graph.op("Add", &[&projected, &bias]);
    graph.named("deep", "Tanh", &[&biased], Vec::new());
    let axis = graph.ints("axis", &[1]);
    let summary = graph.op_with("ReduceSum", &["frames", &axis], vec![int("keepdims", 0)]);
    // The names of the exported file's own values, so that they have to differ.
    graph.named("head_relu_0", "Relu", &[&summary], Vec::new());
    let output = Port { name: "probabilities".into(), sizes: vec![WIDTH] };
    let mut model = graph.finish("head_relu_0", input, output, (KEY, contract.to_string()));
    let of = |name: &str, sizes: Vec<usize>| ValueInfoProto::from(Port { name: name.into(), sizes });
    let outputs = [of("frames", vec![FRAMES, WIDTH]), of("deep", vec![FRAMES, WIDTH])];
    graph_of(&mut model).output.extend(outputs);
    let note = StringStringEntryProto { key: "attribution".into(), value: "toy encoder, MIT".into() };
    model.metadata_props.push(note);
    model
}

/// The graph of a model.
pub fn graph_of(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

/// An encoder on log-mel frames: a convolution with stride 2, `[batch, 49, 8]`. The layout is NTC or NCT.
pub fn on_frames(layout: &str) -> ModelProto {
    let mut graph = Graph::default();
    let turn = vec![ints("perm", &[0, 2, 1])];
    let (input, maps) = match layout {
        "NTC" => (vec![ROWS, BANDS], graph.op_with("Transpose", &["input"], turn.clone())),
        _ => (vec![BANDS, ROWS], "input".to_owned()),
    };
    let kernel = graph.floats("kernel", &[WIDTH, BANDS, 3], &weights(WIDTH * BANDS * 3, 0.3));
    let settings = vec![ints("kernel_shape", &[3]), ints("strides", &[2]), ints("pads", &[1, 1])];
    let maps = graph.op_with("Conv", &[&maps, &kernel], settings);
    let rectified = graph.op("Tanh", &[&maps]);
    let frames = graph.op_with("Transpose", &[&rectified], turn);
    let input = Port { name: "input".into(), sizes: input };
    finished(graph, &frames, input, &front_end(layout))
}

/// An encoder on samples: a convolution of 400 samples with a stride of 320, `[batch, 49, 8]`.
pub fn on_samples() -> ModelProto {
    let mut graph = Graph::default();
    let kernel = graph.floats("kernel", &[WIDTH, 1, 400], &weights(WIDTH * 400, 1.0));
    let settings = vec![ints("kernel_shape", &[400]), ints("strides", &[320])];
    let maps = graph.op_with("Conv", &["samples", &kernel], settings);
    let loud = graph.op("Abs", &[&maps]);
    let frames = graph.op_with("Transpose", &[&loud], vec![ints("perm", &[0, 2, 1])]);
    let contract = serde_json::json!({
        "input": "waveform", "layout": "NS", "sample_rate_hz": 16_000,
        "window": { "length_samples": 16_000, "hop_samples": 8_000 },
    });
    finished(graph, &frames, Port { name: "samples".into(), sizes: vec![1, 16_000] }, &contract)
}

/// An encoder whose frames depend on the other windows of their batch.
pub fn mixing_windows() -> ModelProto {
    let mut model = on_frames("NTC");
    let graph = graph_of(&mut model);
    let mean = NodeProto {
        input: vec!["input".into()],
        output: vec!["mean_window".into()],
        op_type: "ReduceMean".into(),
        attribute: vec![ints("axes", &[0])],
        ..NodeProto::default()
    };
    let centred = NodeProto {
        input: vec!["input".into(), "mean_window".into()],
        output: vec!["centred".into()],
        op_type: "Sub".into(),
        ..NodeProto::default()
    };
    graph.node[0].input[0] = "centred".into();
    graph.node.splice(0..0, [mean, centred]);
    model
}

/// Sets an axis of the encoder's input to a fixed size.
pub fn with_axis(mut model: ModelProto, axis: usize, size: i64) -> ModelProto {
    let tensor = graph_of(&mut model).input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor.shape.as_mut().unwrap().dim[axis].value = Some(DimensionValue::Size(size));
    model
}

/// Writes a model as `encoder.onnx` and returns the path.
pub fn write(folder: &Path, model: &ModelProto) -> PathBuf {
    let path = folder.join("encoder.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// Opens an encoder with one augmented copy.
pub fn open(folder: &Path, model: &ModelProto, pooling: Pooling, layer: Option<&str>) -> Encoder {
    let path = write(folder, model);
    let options = EncoderOptions { path, layer: layer.map(str::to_owned), sha256: None, pooling, copies: 1 };
    Encoder::open(options, &Config::default().engine).unwrap()
}

/// A short training of a head on the toy dataset, which is written to `folder`.
pub fn head(folder: &Path, encoder: Encoder) -> Training {
    let recipe = Recipe::of_encoder(&encoder.contract, None).unwrap();
    let base = training(speech(folder), NetworkKind::Encoder, Optimizer::AdamW, 1);
    let mut fit = base.fit.clone();
    (fit.epochs, fit.learning_rate) = (12, 0.01);
    let waveform = WaveformStrength { telephone: 0.5, gain_db: 3.0, ..WaveformStrength::NONE };
    Training { encoder: Some(encoder), recipe, fit, waveform, ..base }
}
