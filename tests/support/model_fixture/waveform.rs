//! A tiny model that takes samples: the mean of each third of a window is the logit of the label with the same index.

use affectd::model::{Contract, Output};

use super::onnx::{GraphProto, ModelProto, OperatorSetId, TensorProto, node, port};

/// Windows of 7,998 samples at 8 kHz, every 3,999.
pub fn contract(output: Output) -> Contract {
    let json = serde_json::json!({
        "schema": 1, "name": "tiny-waveform", "version": "1.0.0", "labels": ["anger", "neutral", "sadness"],
        "input": "waveform", "layout": "NS", "output": output, "sample_rate_hz": 8000,
        "window": {"length_samples": 7_998, "hop_samples": 3_999}
    });
    Contract::parse(&json.to_string()).unwrap()
}

/// The ONNX file of `contract`, without the contract inside.
pub fn graph(contract: &Contract) -> ModelProto {
    let (samples, labels) = (contract.rows(), contract.labels.len());
    let third = samples / labels;
    let weight = |at: usize| if at / labels / third == at % labels { 1.0 / third as f32 } else { 0.0 };
    let values = (0..samples * labels).map(weight).collect();
    let weights = TensorProto::of_floats("weights", &[samples, labels], values);
    let mut nodes = vec![node("MatMul", &["samples", "weights"], "logits", vec![])];
    let output = match contract.output {
        Output::Logits => "logits",
        Output::Probabilities => "probabilities",
    };
    if contract.output == Output::Probabilities {
        nodes.push(node("Softmax", &["logits"], output, vec![]));
    }
    ModelProto {
        ir_version: 8,
        graph: Some(GraphProto {
            node: nodes,
            name: "tiny-waveform".into(),
            initializer: vec![weights],
            input: vec![port("samples", &[-1, samples as i64])],
            output: vec![port(output, &[-1, labels as i64])],
        }),
        opset_import: vec![OperatorSetId { domain: String::new(), version: 17 }],
        metadata_props: vec![],
    }
}
