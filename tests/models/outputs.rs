//! The further outputs of a graph: named values, and an out-of-domain score, which is finite and depends on no other window.

use affectd::model::{Contract, EngineError, Model, ModelSource, Predictions};

use crate::engine::{load_error, tiny_graph};
use crate::support::model_fixture::onnx::{AttributeProto, ModelProto, TensorProto, node, port};
use crate::support::model_fixture::{engine, expected, window, with_out_of_domain, write};

/// The tiny model with a second output: the means of all eight coefficients, as named values.
fn two_headed() -> (Contract, ModelProto) {
    let (mut contract, mut model) = tiny_graph();
    contract.values = (0..8).map(|at| format!("mean-{at}")).collect();
    let graph = model.graph.as_mut().unwrap();
    graph.node.push(node("Identity", &["means"], "values", vec![]));
    graph.output.push(port("values", &[-1, 8]));
    (contract, model)
}

#[test]
fn a_graph_with_two_outputs_gives_scores_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let (contract, graph) = two_headed();
    let path = write(folder.path(), graph, &contract);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let means = [[0.5, -1.0, 2.0], [3.0, 0.0, 0.0]];
    let features: Vec<f32> = means.iter().flat_map(|means| window(means)).collect();
    let mut out = Predictions::default();
    model.sessions[0].predict(&features, 2, &mut out).unwrap();
    for (row, means) in out.rows(2).zip(means) {
        let close = |(a, b): (&f32, f32)| (a - b).abs() < 1e-5;
        assert!(row.scores.len() == 3 && row.scores.iter().zip(expected(&means, 1.0)).all(close), "{row:?}");
        let values = [means[0], means[1], means[2], 3.0, 4.0, 5.0, 6.0, 7.0];
        assert!(row.values.len() == 8 && row.values.iter().zip(values).all(close), "{row:?}");
    }
}

#[test]
fn named_values_without_their_output_are_refused() {
    let (mut contract, _) = two_headed();
    let (_, one_headed) = tiny_graph();
    let error = load_error(one_headed, &contract);
    assert!(error.contains("none is called \"values\""), "{error}");
    let (_, graph) = two_headed();
    contract.values.pop();
    let error = load_error(graph, &contract);
    assert!(
        error.contains("\"values\" is [batch, 8], and the contract (values) requires [batch, 7]"),
        "{error}"
    );
}

/// The out-of-domain scores of three windows, whose first coefficient is the score.
fn out_of_domain_scores(contract: &Contract, graph: ModelProto) -> Vec<Option<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), graph, contract);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let means = [[0.5, -1.0, 2.0], [3.0, 0.0, 0.0], [-2.0, -2.0, 1.0]];
    let features: Vec<f32> = means.iter().flat_map(|means| window(means)).collect();
    let mut out = Predictions::default();
    model.sessions[0].predict(&features, 3, &mut out).unwrap();
    assert!(out.divides_into(3));
    out.rows(3).map(|row| row.out_of_domain).collect()
}

#[track_caller]
fn assert_scores(found: &[Option<f32>]) {
    let close = |(found, wanted): (&Option<f32>, f32)| (found.unwrap() - wanted).abs() < 1e-5;
    assert!(found.iter().zip([0.5, 3.0, -2.0]).all(close), "{found:?}");
}

#[test]
fn an_out_of_domain_output_gives_one_score_a_window_in_either_shape() {
    let (contract, graph) = with_out_of_domain(1.0);
    assert_scores(&out_of_domain_scores(&contract, graph));

    let (_, mut flat) = with_out_of_domain(1.0);
    let graph = flat.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output = vec!["column".into()];
    let axes = AttributeProto { name: "axes".into(), ints: vec![1], kind: 7, ..Default::default() };
    let keep = AttributeProto { name: "keepdims".into(), i: 0, kind: 2, ..Default::default() };
    graph.node.push(node("ReduceMean", &["column"], "ood", vec![axes, keep]));
    graph.output[1] = port("ood", &[-1]);
    assert_scores(&out_of_domain_scores(&contract, flat));

    let (_, mut single) = with_out_of_domain(1.0);
    single.graph.as_mut().unwrap().input = vec![port("features", &[1, 97, 8])];
    assert_scores(&out_of_domain_scores(&contract, single));
}

#[test]
fn an_out_of_domain_output_without_its_threshold_is_not_used() {
    let (mut contract, graph) = with_out_of_domain(1.0);
    contract.out_of_domain = None;
    assert_eq!(out_of_domain_scores(&contract, graph), [None; 3]);
}

#[test]
fn an_out_of_domain_threshold_without_a_fitting_output_is_refused() {
    let (contract, with_it) = with_out_of_domain(1.0);
    let (_, without) = tiny_graph();
    let error = load_error(without, &contract);
    assert!(error.contains("none is called \"ood\""), "{error}");

    let mut wide = with_it.clone();
    let graph = wide.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output = vec!["score".into()];
    let axis = AttributeProto { name: "axis".into(), i: 1, kind: 2, ..Default::default() };
    graph.node.push(node("Concat", &["score", "score"], "ood", vec![axis]));
    graph.output[1] = port("ood", &[-1, 2]);
    let error = load_error(wide, &contract);
    assert!(
        error.contains("\"ood\" is [batch, 2], and the contract (ood) requires [batch, 1] or [batch]"),
        "{error}"
    );

    let mut whole = with_it;
    let graph = whole.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output = vec!["score".into()];
    let to = AttributeProto { name: "to".into(), i: 7, kind: 2, ..Default::default() };
    graph.node.push(node("Cast", &["score"], "ood", vec![to]));
    graph.output[1].value_type.as_mut().unwrap().tensor.as_mut().unwrap().elem_type = 7;
    let error = load_error(whole, &contract);
    assert!(error.contains("\"ood\" holds") && error.contains("must hold 32-bit floats"), "{error}");
}

#[test]
fn an_out_of_domain_score_that_is_not_finite_fails_its_window() {
    let folder = tempfile::tempdir().unwrap();
    let (contract, mut model) = with_out_of_domain(1.0);
    let graph = model.graph.as_mut().unwrap();
    graph.node.last_mut().unwrap().output = vec!["score".into()];
    graph.initializer.push(TensorProto::of_floats("sixty", &[1], vec![60.0]));
    graph.node.push(node("Add", &["score", "sixty"], "raised", vec![]));
    graph.node.push(node("Sqrt", &["raised"], "ood", vec![]));
    let path = write(folder.path(), model, &contract);
    let mut model = Model::load(ModelSource::File(path), &engine()).unwrap();
    let features = [window(&[4.0, 0.0, 0.0]), window(&[-61.0, 0.0, 0.0])].concat();
    let error = model.sessions[0].run(&features, 2, &mut Vec::new()).unwrap_err();
    let EngineError::NotFinite { window: 1, label, value } = &error else { panic!("{error}") };
    assert_eq!((label.as_str(), value.as_str()), ("ood", "NaN"));
}

#[test]
fn an_out_of_domain_score_that_depends_on_other_windows_is_refused() {
    let (contract, mut model) = with_out_of_domain(1.0);
    let graph = model.graph.as_mut().unwrap();
    let over_windows = AttributeProto { name: "axes".into(), ints: vec![0], kind: 7, ..Default::default() };
    graph.node.last_mut().unwrap().output = vec!["score".into()];
    graph.node.push(node("ReduceMean", &["score"], "of_batch", vec![over_windows]));
    graph.node.push(node("Sub", &["score", "of_batch"], "ood", vec![]));
    let error = load_error(model, &contract);
    assert!(error.contains("depends on the other windows of its batch: \"ood\" is"), "{error}");
    assert!(error.contains("ReduceMean \"of_batch\" over axis 0"), "{error}");
}
