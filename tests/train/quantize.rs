//! A quantized model is the same network in 8-bit integers: it loads, agrees with the float model, and keeps sensitive layers float.

use std::collections::BTreeMap;
use std::path::Path;

use affectd::config::{Config, Engine};
use affectd::datasets::{Split, load};
use affectd::model::{Model, ModelSource};
use affectd::train::architecture::NetworkKind;
use affectd::train::corpus::Corpus;
use affectd::train::onnx::{GraphProto, INT8, ModelProto, NodeProto, TensorProto};
use affectd::train::quantize::{QuantizeOptions, RangeOf, quantize};
use affectd::train::{Identity, Trained};
use prost::Message;

use crate::support::train_fixture::trained;

fn engine() -> Engine {
    Config::default().engine
}

fn float_model(trained: &Trained, folder: &Path) -> ModelProto {
    let path = folder.join("float.onnx");
    trained.write(&path, &Identity { name: "toy".into(), version: "0.0.1".into(), data: None }).unwrap();
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
}

fn windows(trained: &Trained, split: Split) -> Vec<Vec<f32>> {
    let recipe = &trained.training.recipe;
    let clips = load(&trained.training.selection.data[0], split).unwrap();
    let corpus = Corpus::read(&clips, &trained.labels, recipe, "windows").unwrap();
    let padded = |window: &affectd::train::corpus::LabelledWindow| {
        let mut features = vec![9.0; recipe.frames() * recipe.coefficients()];
        window.write_padded(&mut features);
        features
    };
    corpus.windows.iter().map(padded).collect()
}

fn probabilities(model: &ModelProto, folder: &Path, windows: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let path = folder.join("run.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let mut out = Vec::new();
    model.sessions[0].run(&windows.concat(), windows.len(), &mut out).unwrap();
    out.chunks_exact(model.contract.labels.len()).map(<[f32]>::to_vec).collect()
}

fn highest(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

/// The producer of each value.
fn producers(graph: &GraphProto) -> BTreeMap<&str, &NodeProto> {
    graph.node.iter().flat_map(|node| node.output.iter().map(move |it| (it.as_str(), node))).collect()
}

fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    graph.initializer.iter().find(|it| it.name == name)
}

/// Constant weights of all `Conv`, `Gemm` and `MatMul`: as integers behind a `DequantizeLinear`, or as floats.
fn weights(graph: &GraphProto) -> (Vec<(&TensorProto, &NodeProto)>, Vec<&TensorProto>) {
    let producers = producers(graph);
    let layers = graph.node.iter().filter(|it| matches!(it.op_type.as_str(), "Conv" | "Gemm" | "MatMul"));
    let (mut integers, mut floats) = (Vec::new(), Vec::new());
    for input in layers.map(|layer| layer.input[1].as_str()) {
        match producers.get(input) {
            Some(node) if node.op_type == "DequantizeLinear" => {
                integers.push((constant(graph, &node.input[0]).unwrap(), *node));
            }
            _ => floats.extend(constant(graph, input)),
        }
    }
    (integers, floats)
}

/// Trains, quantizes on the training clips, and compares on all of them: windows that agree on the top label.
fn decides_alike(kind: NetworkKind, range: RangeOf) {
    let folder = tempfile::tempdir().unwrap();
    let trained = trained(folder.path(), kind, 1);
    let float = float_model(&trained, folder.path());
    let options = QuantizeOptions { range, ..QuantizeOptions::default() };
    let integer = quantize(&float, &windows(&trained, Split::Train), &options, &engine()).unwrap();
    assert_eq!(integer.metadata_props, float.metadata_props);
    let all = windows(&trained, Split::All);
    let wanted = probabilities(&float, folder.path(), &all);
    let found = probabilities(&integer, folder.path(), &all);
    let alike = wanted.iter().zip(&found).filter(|(a, b)| highest(a) == highest(b)).count();
    assert!(alike * 100 >= all.len() * 95, "{kind:?}: {alike} of {} windows", all.len());
    let off = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
    let differences: Vec<f64> = wanted.concat().iter().zip(&found.concat()).map(off).collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    assert!(mean < 0.02, "{kind:?}: probabilities differ by {mean} in the mean");
    assert!(mean > 0.0, "{kind:?}: nothing has become coarser");
}

#[test]
fn a_quantized_cnn_decides_as_the_float_one() {
    decides_alike(NetworkKind::Cnn, RangeOf::MinMax);
    decides_alike(NetworkKind::Cnn, RangeOf::Share(0.9999));
}

#[test]
fn a_quantized_dense_net_decides_as_the_float_one() {
    decides_alike(NetworkKind::Dense, RangeOf::MinMax);
}

#[test]
fn heavy_layers_are_quantized_per_channel_and_the_rest_stays_float() {
    let folder = tempfile::tempdir().unwrap();
    let trained = trained(folder.path(), NetworkKind::Cnn, 1);
    let float = float_model(&trained, folder.path());
    let calibration = &windows(&trained, Split::Train)[..8];
    let integer = quantize(&float, calibration, &QuantizeOptions::default(), &engine()).unwrap();
    assert!(integer.encoded_len() * 2 < float.encoded_len(), "half the size at most");
    let graph = integer.graph.unwrap();
    let (integers, floats) = weights(&graph);
    // Three convolutions over frames and bands, the fold, two over frames, the projection; not the first convolution, of
    // one channel.
    assert_eq!(integers.len(), 7);
    for (tensor, node) in integers {
        assert_eq!(tensor.data_type, INT8, "{}", tensor.name);
        let axis = node.attribute.iter().find(|it| it.name == "axis").and_then(|it| it.i).unwrap();
        assert_eq!(constant(&graph, &node.input[1]).unwrap().dims, [tensor.dims[axis as usize]]);
    }
    let names: Vec<_> = floats.iter().map(|it| it.name.split('_').next().unwrap()).collect();
    let light = ["light"; 7];
    let wanted = [&["rotation", "weight"], light.as_slice(), &["weight"]].concat();
    assert_eq!(names, wanted, "front, first convolution, gates and attention, last layer");
    let producers = producers(&graph);
    let softmax = graph.node.iter().rfind(|it| it.op_type == "Softmax").unwrap();
    assert_eq!(producers[softmax.input[0].as_str()].op_type, "Gemm");
    let is_read = |name: &str| graph.node.iter().any(|node| node.input.iter().any(|it| it == name));
    assert!(graph.initializer.iter().all(|it| is_read(&it.name)), "no constant is left over");
}

fn quantized_cnn() -> GraphProto {
    let folder = tempfile::tempdir().unwrap();
    let trained = trained(folder.path(), NetworkKind::Cnn, 1);
    let float = float_model(&trained, folder.path());
    let calibration = &windows(&trained, Split::Train)[..8];
    quantize(&float, calibration, &QuantizeOptions::default(), &engine()).unwrap().graph.unwrap()
}

#[test]
fn the_output_of_a_quantized_layer_is_requantized_after_its_relu() {
    let graph = quantized_cnn();
    let producers = producers(&graph);
    let readers = |value: &str| {
        let readers = graph.node.iter().filter(|node| node.input.iter().any(|it| it == value));
        readers.map(|node| node.op_type.as_str()).collect::<Vec<_>>()
    };
    let mut layers = 0;
    for relu in graph.node.iter().filter(|it| it.op_type == "Relu") {
        let layer = producers[relu.input[0].as_str()];
        if producers.get(layer.input[1].as_str()).is_some_and(|it| it.op_type == "DequantizeLinear") {
            assert_eq!(readers(&relu.output[0]), ["QuantizeLinear"], "{}", relu.name);
            layers += 1;
        }
    }
    assert_eq!(layers, 7);
}

#[test]
fn a_mask_keeps_the_scale_to_avoid_double_rounding() {
    let graph = quantized_cnn();
    let producers = producers(&graph);
    let mut masked = 0;
    for node in graph.node.iter().filter(|it| it.op_type == "QuantizeLinear") {
        let Some(product) = producers.get(node.input[0].as_str()).filter(|it| it.op_type == "Mul") else {
            continue;
        };
        let inputs = product.input.iter().filter_map(|it| producers.get(it.as_str()));
        let before: Vec<_> = inputs.filter(|it| it.op_type == "DequantizeLinear").collect();
        let [value, mask] = before.as_slice() else { continue };
        let scale = |node: &NodeProto| constant(&graph, &node.input[1]).unwrap().raw_data.clone();
        assert_eq!(scale(node), scale(value));
        assert_eq!(scale(mask), 1.0_f32.to_le_bytes());
        masked += 1;
    }
    assert_eq!(masked, 6, "behind each convolution of integers");
}

#[test]
fn a_network_that_cannot_be_quantized_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let trained = trained(folder.path(), NetworkKind::Dense, 1);
    let float = float_model(&trained, folder.path());
    let windows = &windows(&trained, Split::Train)[..8];
    let options = QuantizeOptions::default();
    let refusal = |model: &ModelProto, windows: &[Vec<f32>], options: &QuantizeOptions| {
        format!("{:#}", quantize(model, windows, options, &engine()).unwrap_err())
    };
    assert_eq!(refusal(&float, &[], &options), "quantize the model: no calibration windows");
    let short = refusal(&float, &[vec![0.0; 7]], &options);
    assert_eq!(short, "quantize the model: calibration window 0 holds 7 values of 2328");
    let none = refusal(&float, windows, &QuantizeOptions { weights: vec!["none".into()], ..options.clone() });
    assert!(none.contains("no layer to quantize") && none.contains("called none…"), "{none}");
    let small = refusal(&float, windows, &QuantizeOptions { min_weights: 1 << 20, ..options.clone() });
    assert!(small.contains("at least 1048576 weights"), "{small}");
    let twice = refusal(&quantize(&float, windows, &options, &engine()).unwrap(), windows, &options);
    assert!(twice.contains("it is quantized already (node "), "{twice}");
}
