//! A model loads only if its graph fits its contract, and returns what its graph computes, for every layout.

use std::path::Path;

use affectd::config::{Device, Engine};
use affectd::model::{Contract, EngineError, Layout, Model, ModelError, ModelSource, Output};

use crate::support::model_fixture::onnx::{AttributeProto, ModelProto, NodeProto, node, port};
use crate::support::model_fixture::{contract, engine, expected, graph, quantized, tiny, window, write};

pub fn load_error(model: ModelProto, contract: &Contract) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), model, contract);
    Model::load(ModelSource::File(path), &engine()).unwrap_err().to_string()
}

pub fn tiny_graph() -> (Contract, ModelProto) {
    let contract = contract(Layout::Ntc, Output::Probabilities);
    let graph = graph(&contract);
    (contract, graph)
}

#[test]
fn every_layout_and_output_gives_the_same_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let means = [[0.5, -1.0, 2.0], [3.0, 0.0, 0.0], [-2.0, -2.0, 1.0]];
    let features: Vec<f32> = means.iter().flat_map(|means| window(means)).collect();
    for layout in [Layout::Ntc, Layout::Nct, Layout::N1tc, Layout::N1ct] {
        for output in [Output::Probabilities, Output::Logits] {
            let path = tiny(folder.path(), layout, output);
            let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
            assert_eq!((model.sessions.len(), model.device.as_str()), (2, "cpu"));
            let mut out = vec![9.0];
            model.sessions[1].run(&features, means.len(), &mut out).unwrap();
            let wanted: Vec<f32> = means.iter().flat_map(|means| expected(means, 1.0)).collect();
            let close = out.iter().zip(&wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-5);
            assert!(close && out.len() == wanted.len(), "{layout:?} {output:?}: {out:?} is not {wanted:?}");
        }
    }
}

#[test]
fn the_temperature_divides_the_logits() {
    let folder = tempfile::tempdir().unwrap();
    let mut contract = contract(Layout::Ntc, Output::Logits);
    contract.temperature = 2.0;
    let path = write(folder.path(), graph(&contract), &contract);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let mut out = Vec::new();
    model.sessions[0].run(&window(&[0.5, -1.0, 2.0]), 1, &mut out).unwrap();
    for (found, wanted) in out.iter().zip(expected(&[0.5, -1.0, 2.0], 2.0)) {
        assert!((found - wanted).abs() < 1e-5, "{out:?}");
    }
}

#[test]
fn large_integer_weights_do_not_saturate() {
    let folder = tempfile::tempdir().unwrap();
    // The label 0 has the largest weights, and two products of 255 · 127 exceed 16 bits.
    let (contract, model) = quantized([127, 64, -127].repeat(8));
    let path = write(folder.path(), model, &contract);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let mut out = Vec::new();
    model.sessions[0].run(&window(&[2.55; 8]), 1, &mut out).unwrap();
    let logits = [127.0, 64.0, -127.0].map(|weight| 8.0 * 2.55 * 0.01 * weight);
    for (found, wanted) in out.iter().zip(expected(&logits, 1.0)) {
        assert!((found - wanted).abs() < 1e-4, "{out:?}: {found} instead of {wanted}");
    }
}

#[test]
fn an_output_that_is_not_finite_names_the_window_and_the_label() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Ntc, Output::Logits);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let features = [window(&[0.0, 0.0, 0.0]), window(&[0.0, f32::INFINITY, 0.0])].concat();
    let mut out = vec![1.0];
    let error = model.sessions[0].run(&features, 2, &mut out).unwrap_err();
    assert!(matches!(&error, EngineError::NotFinite { window: 1, .. }), "{error}");
    assert!(out.is_empty());
}

#[test]
fn a_wrong_number_of_values_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Ntc, Output::Logits);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let error = model.sessions[0].run(&[0.0; 97 * 8], 2, &mut Vec::new()).unwrap_err();
    assert_eq!(error, EngineError::Size { batch: 2, expected: 2 * 97 * 8, found: 97 * 8 });
}

#[test]
fn a_surplus_label_is_refused() {
    let (mut contract, graph) = tiny_graph();
    contract.labels.push("fear".into());
    let error = load_error(graph, &contract);
    assert!(
        error.contains("\"probabilities\" is [batch, 3], and the contract (labels) requires [batch, 4]"),
        "{error}"
    );
}

#[test]
fn an_input_of_another_rank_or_size_is_refused() {
    let (contract, graph) = tiny_graph();
    let mut transposed = contract.clone();
    transposed.layout = Layout::Nct;
    let error = load_error(graph.clone(), &transposed);
    assert!(
        error.contains("is [batch, 97, 8], and the contract (layout NCT) requires [batch, 8, 97]"),
        "{error}"
    );

    let mut flat = contract;
    flat.layout = Layout::N1tc;
    let error = load_error(graph, &flat);
    assert!(
        error.contains("is [batch, 97, 8], and the contract (layout N1TC) requires [batch, 1, 97, 8]"),
        "{error}"
    );
}

#[test]
fn a_fixed_batch_of_one_runs_and_a_larger_one_is_refused() {
    let (contract, mut model) = tiny_graph();
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![port("features", &[4, 97, 8])];
    let error = load_error(model.clone(), &contract);
    assert!(error.contains("\"features\" has a fixed batch size of 4"), "{error}");

    model.graph.as_mut().unwrap().input = vec![port("features", &[1, 97, 8])];
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), model, &contract);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let means = [[0.5, -1.0, 2.0], [3.0, 0.0, 0.0], [-2.0, -2.0, 1.0]];
    let features: Vec<f32> = means.iter().flat_map(|means| window(means)).collect();
    let mut out = Vec::new();
    model.sessions[0].run(&features, 3, &mut out).unwrap();
    let wanted: Vec<f32> = means.iter().flat_map(|means| expected(means, 1.0)).collect();
    assert!(out.iter().zip(&wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-5), "{out:?}");
    assert_eq!((out.len(), model.sessions[0].max_windows_per_run()), (9, 1));
}

#[test]
fn an_axis_of_size_1_may_come_last() {
    let contract = contract(Layout::N1tc, Output::Probabilities);
    let mut model = graph(&contract);
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![port("features", &[-1, 97, 8, 1])];
    graph.node[0].attribute[0].ints = vec![1, 3];
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), model, &contract);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let mut out = Vec::new();
    model.sessions[0].run(&window(&[0.5, -1.0, 2.0]), 1, &mut out).unwrap();
    let wanted = expected(&[0.5, -1.0, 2.0], 1.0);
    assert!(out.iter().zip(&wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-5), "{out:?}");
}

#[test]
fn windows_that_influence_each_other_are_refused_with_the_operator() {
    let (contract, mut model) = tiny_graph();
    let graph = model.graph.as_mut().unwrap();
    let over_windows = AttributeProto { name: "axes".into(), ints: vec![0], kind: 7, ..Default::default() };
    let first = graph.node.remove(0);
    let means = first.output[0].clone();
    let raw = NodeProto { output: vec!["raw".into()], ..first };
    graph.node.insert(0, raw);
    graph.node.insert(1, node("ReduceMean", &["raw"], "of_batch", vec![over_windows]));
    graph.node.insert(2, node("Sub", &["raw", "of_batch"], &means, vec![]));
    let error = load_error(model, &contract);
    assert!(error.contains("depends on the other windows of its batch"), "{error}");
    assert!(error.contains("ReduceMean \"of_batch\" over axis 0"), "{error}");
}

#[test]
fn random_numbers_in_a_graph_are_refused_with_the_operator() {
    let (contract, mut model) = tiny_graph();
    let graph = model.graph.as_mut().unwrap();
    let first = graph.node.remove(0);
    let means = first.output[0].clone();
    graph.node.insert(0, NodeProto { output: vec!["raw".into()], ..first });
    graph.node.insert(1, node("RandomNormalLike", &["raw"], "noise", vec![]));
    graph.node.insert(2, node("Add", &["raw", "noise"], &means, vec![]));
    let error = load_error(model, &contract);
    assert!(error.contains("depends on chance"), "{error}");
    assert!(error.contains("RandomNormalLike \"noise\" draws random numbers"), "{error}");
}

#[test]
fn two_inputs_are_refused_by_their_names() {
    let (contract, mut model) = tiny_graph();
    model.graph.as_mut().unwrap().input.push(port("lengths", &[-1]));
    let error = load_error(model, &contract);
    assert!(error.contains("has 2 inputs (features, lengths)"), "{error}");
}

#[test]
fn logits_that_are_called_probabilities_are_detected_by_the_warm_up() {
    let (mut contract, _) = tiny_graph();
    contract.output = Output::Logits;
    let logits = graph(&contract);
    contract.output = Output::Probabilities;
    let error = load_error(logits, &contract);
    assert!(
        error.contains("output is \"probabilities\", but the probabilities of a warm-up window add up to"),
        "{error}"
    );
}

#[test]
fn a_graph_that_cannot_run_is_refused_with_the_reason() {
    let (contract, mut model) = tiny_graph();
    let attribute: Vec<AttributeProto> = vec![];
    model.graph.as_mut().unwrap().node[1] = node("NoSuchOperator", &["means"], "logits", attribute);
    let error = load_error(model, &contract);
    assert!(
        error.contains("tiny.onnx: ONNX Runtime rejects it") && error.contains("NoSuchOperator"),
        "{error}"
    );
}

#[test]
fn a_configured_library_path_has_no_fallback() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Ntc, Output::Logits);
    let named = Engine { library: Some(folder.path().join("libonnxruntime.so")), ..engine() };
    let error = Model::load(ModelSource::File(path), &named).unwrap_err();
    assert!(matches!(error, ModelError::Library(_)), "{error}");
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
}

#[test]
fn without_a_usable_gpu_auto_uses_the_cpu_and_cuda_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Ntc, Output::Logits);
    let on = |device| Model::load(ModelSource::File(path.clone()), &Engine { device, ..engine() });
    let auto = on(Device::Auto).unwrap();
    for device in [Device::Cuda, Device::TensorRt] {
        let error = match on(device) {
            Ok(model) => {
                assert_eq!((model.device.as_str(), auto.device.as_str()), (device.name(), "cuda"));
                continue;
            }
            Err(error) => error,
        };
        assert_eq!(auto.device, "cpu");
        assert!(matches!(&error, ModelError::NoGpu { reason, .. } if !reason.is_empty()), "{error}");
        assert!(error.to_string().contains(device.name()), "{error}");
    }
}

/// The foreign models beside the checkout, if present.
#[test]
fn models_of_other_tools_run_or_are_refused_for_the_right_reason() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases/models");
    if !folder.is_dir() {
        eprintln!("did not run: no {}", folder.display());
        return;
    }
    let load = |name: &str| Model::load(ModelSource::File(folder.join(name)), &engine());
    for name in ["keras_nhwc", "wave_n1s", "batch_fixed_1", "output_unknown_rank", "sidecar_bom"] {
        let mut model = load(&format!("{name}.onnx")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let window = model.contract.rows() * model.contract.coefficients();
        let features: Vec<f32> = (0..window * 3).map(|at| (at as f32 * 0.1).cos()).collect();
        let mut out = Vec::new();
        model.sessions[0].run(&features, 3, &mut out).unwrap();
        assert_eq!(out.len(), 12, "{name}");
    }
    for (name, reason, cause) in [
        ("normalised_over_batch", "depends on the other windows of its batch", "over axis 0"),
        ("dropout_training", "depends on chance", "Dropout"),
    ] {
        let error = load(&format!("{name}.onnx")).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(cause), "{name}: {error}");
    }
}
