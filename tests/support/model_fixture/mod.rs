//! A tiny model with the layout of a real file: the mean of each coefficient over time is the logit of the label with
//! the same index, so that a test can compute every probability itself.

pub mod onnx;
pub mod waveform;

use std::path::{Path, PathBuf};

use affectd::config;
use affectd::model::{Contract, Layout, METADATA_KEY, OutOfDomain, Output};
use onnx::{AttributeProto, GraphProto, ModelProto, OperatorSetId, StringEntry, TensorProto, node, port};
use prost::Message;

/// 1 s windows at 8 kHz, 97 frames of 8 coefficients, three labels.
pub fn contract(layout: Layout, output: Output) -> Contract {
    let json = serde_json::json!({
        "schema": 1, "name": "tiny", "version": "1.0.0", "labels": ["anger", "neutral", "sadness"],
        "input": "mfcc", "layout": layout, "output": output, "sample_rate_hz": 8000,
        "window": {"length_samples": 8000, "hop_samples": 4000}, "frames": 97,
        "mfcc": {"win_length": 200, "hop_length": 80, "n_fft": 256, "window": "hann", "n_mels": 16,
                 "f_min_hz": 20.0, "f_max_hz": 3800.0, "mel_scale": "slaney", "mel_norm": "slaney",
                 "power": 2.0, "log": "ln", "log_floor": 1e-10, "n_mfcc": 8, "dct_norm": "ortho", "deltas": 0}
    });
    Contract::parse(&json.to_string()).unwrap()
}

/// The ONNX file of `contract`, without the contract inside.
pub fn graph(contract: &Contract) -> ModelProto {
    let (rows, columns) = (contract.rows() as i64, contract.coefficients() as i64);
    let labels = contract.labels.len() as i64;
    let (shape, over_time): (Vec<i64>, Vec<i64>) = match contract.layout {
        Layout::Ntc => (vec![-1, rows, columns], vec![1]),
        Layout::Nct => (vec![-1, columns, rows], vec![2]),
        Layout::N1tc => (vec![-1, 1, rows, columns], vec![1, 2]),
        Layout::N1ct => (vec![-1, 1, columns, rows], vec![1, 3]),
        Layout::Ns => panic!("the tiny model has frames"),
    };
    let weights = (0..columns * labels).map(|at| if at / labels == at % labels { 1.0 } else { 0.0 });
    let shape_of_weights = [contract.coefficients(), contract.labels.len()];
    let weights = TensorProto::of_floats("weights", &shape_of_weights, weights.collect());
    let axes = AttributeProto { name: "axes".into(), ints: over_time, kind: 7, ..Default::default() };
    let keep = AttributeProto { name: "keepdims".into(), i: 0, kind: 2, ..Default::default() };
    let (mut nodes, output) = match contract.output {
        Output::Logits => (vec![], "logits"),
        Output::Probabilities => {
            (vec![node("Softmax", &["logits"], "probabilities", vec![])], "probabilities")
        }
    };
    nodes.insert(0, node("ReduceMean", &["features"], "means", vec![axes, keep]));
    nodes.insert(1, node("MatMul", &["means", "weights"], "logits", vec![]));
    ModelProto {
        ir_version: 8,
        graph: Some(GraphProto {
            node: nodes,
            name: "tiny".into(),
            initializer: vec![weights],
            input: vec![port("features", &shape)],
            output: vec![port(output, &[-1, labels])],
        }),
        opset_import: vec![OperatorSetId { domain: String::new(), version: 17 }],
        metadata_props: vec![],
    }
}

/// Writes `model` with `contract` inside to `folder`.
pub fn write(folder: &Path, mut model: ModelProto, contract: &Contract) -> PathBuf {
    let json = serde_json::to_string(contract).unwrap();
    model.metadata_props.push(StringEntry { key: METADATA_KEY.into(), value: json });
    let path = folder.join("tiny.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// The tiny model in a file of `folder`.
pub fn tiny(folder: &Path, layout: Layout, output: Output) -> PathBuf {
    let contract = contract(layout, output);
    write(folder, graph(&contract), &contract)
}

/// The tiny model with a square root that is not a number for silence: its first coefficient lies near -92.
pub fn brittle(folder: &Path) -> PathBuf {
    let contract = contract(Layout::Ntc, Output::Logits);
    let mut model = graph(&contract);
    let graph = model.graph.as_mut().unwrap();
    graph.initializer.push(TensorProto::of_floats("sixty", &[1], vec![60.0]));
    graph.node[1] = node("MatMul", &["roots", "weights"], "logits", vec![]);
    graph.node.insert(1, node("Add", &["means", "sixty"], "raised", vec![]));
    graph.node.insert(2, node("Sqrt", &["raised"], "roots", vec![]));
    write(folder, model, &contract)
}

/// The contract and the graph of the tiny model in 8-bit integers. One step of the means, 0 to 2.55, and of the weights
/// `[coefficients, labels]` is 0.01.
pub fn quantized(weights: Vec<i32>) -> (Contract, ModelProto) {
    let contract = contract(Layout::Ntc, Output::Logits);
    let mut model = graph(&contract);
    let graph = model.graph.as_mut().unwrap();
    let shape_of_weights = [contract.coefficients(), contract.labels.len()];
    graph.initializer = vec![
        TensorProto::of_floats("step", &[], vec![0.01]),
        TensorProto::of_integers("zero of means", &[], 2, vec![0]),
        TensorProto::of_integers("zero of weights", &[], 3, vec![0]),
        TensorProto::of_integers("weights", &shape_of_weights, 3, weights),
    ];
    graph.node.truncate(1);
    graph.node.extend([
        node("QuantizeLinear", &["means", "step", "zero of means"], "integers", vec![]),
        node("DequantizeLinear", &["integers", "step", "zero of means"], "rounded", vec![]),
        node("DequantizeLinear", &["weights", "step", "zero of weights"], "factors", vec![]),
        node("MatMul", &["rounded", "factors"], "logits", vec![]),
    ]);
    (contract, model)
}

/// The contract and the graph of the tiny model with a second output `ood`, `[batch, 1]`: the mean of the first coefficient, which grows with the level
/// of the audio.
pub fn with_out_of_domain(threshold: f32) -> (Contract, ModelProto) {
    let mut contract = contract(Layout::Ntc, Output::Probabilities);
    contract.out_of_domain = Some(OutOfDomain { threshold });
    let mut model = graph(&contract);
    let graph = model.graph.as_mut().unwrap();
    let first = (0..contract.coefficients()).map(|at| if at == 0 { 1.0 } else { 0.0 }).collect();
    graph.initializer.push(TensorProto::of_floats("first", &[contract.coefficients(), 1], first));
    graph.node.push(node("MatMul", &["means", "first"], "ood", vec![]));
    graph.output.push(port("ood", &[-1, 1]));
    (contract, model)
}

/// Two sessions on the CPU.
pub fn engine() -> config::Engine {
    let engine = config::Config::default().engine;
    config::Engine { device: config::Device::Cpu, sessions: 2, ..engine }
}

/// One window of features, `[frames, coefficients]`, with the given means of the first coefficients.
pub fn window(means: &[f32]) -> Vec<f32> {
    let frames = 97;
    let row = |frame: usize| {
        // Swings around the mean, so that a transposed axis is detected; the swing cancels over the frames.
        let swing = if frame == frames / 2 {
            0.0
        } else if frame.is_multiple_of(2) {
            0.5
        } else {
            -0.5
        };
        (0..8).map(move |at| means.get(at).copied().unwrap_or(at as f32) + swing)
    };
    (0..frames).flat_map(row).collect()
}

/// Softmax of the means: the scores of the tiny model.
pub fn expected(means: &[f32; 3], temperature: f32) -> Vec<f32> {
    let powers: Vec<f32> = means.iter().map(|mean| (mean / temperature).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}
