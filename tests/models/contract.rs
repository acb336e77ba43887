//! A contract is read from the model file or its sidecar, and an invalid one is refused by the name of its entry.

use affectd::model::{Contract, Layout, ModelError, Output, load_contract};
use prost::Message;
use serde_json::{Value, json};

use crate::support::model_fixture::{contract, graph, tiny};

fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut value = serde_json::to_value(contract(Layout::Ntc, Output::Probabilities)).unwrap();
    change(&mut value);
    Contract::parse(&value.to_string()).unwrap_err().to_string()
}

#[test]
fn the_contract_is_read_from_the_model_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Nct, Output::Logits);
    assert_eq!(load_contract(&path).unwrap(), contract(Layout::Nct, Output::Logits));
}

#[test]
fn a_model_file_without_a_contract_uses_the_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = contract(Layout::Ntc, Output::Logits);
    let path = folder.path().join("foreign.onnx");
    std::fs::write(&path, graph(&wanted).encode_to_vec()).unwrap();

    let error = load_contract(&path).unwrap_err();
    assert!(matches!(error, ModelError::NoContract { .. }));
    assert!(error.to_string().contains("foreign.onnx.contract.json"), "{error}");

    // With and without a byte-order mark.
    for mark in ["", "\u{feff}"] {
        let json = format!("{mark}{}", serde_json::to_string(&wanted).unwrap());
        std::fs::write(folder.path().join("foreign.onnx.contract.json"), json).unwrap();
        assert_eq!(load_contract(&path).unwrap(), wanted);
    }
}

#[test]
fn missing_empty_textual_and_truncated_files_have_distinct_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        load_contract(&path).unwrap_err().to_string()
    };
    let whole = std::fs::read(tiny(folder.path(), Layout::Ntc, Output::Logits)).unwrap();
    let missing = load_contract(&folder.path().join("none.onnx")).unwrap_err().to_string();
    assert!(missing.contains("none.onnx: No such file"), "{missing}");
    assert!(file("empty.onnx", b"").contains("empty.onnx: not an ONNX file"));
    assert!(file("text.onnx", b"hello, I am a text file").contains("text.onnx: not an ONNX file"));
    assert!(file("cut.onnx", &whole[..whole.len() / 2]).contains("cut.onnx: not an ONNX file"));
}

#[test]
fn a_window_must_be_a_whole_number_of_frames() {
    let length = refusal(|it| it["window"]["length_samples"] = json!(8001));
    assert_eq!(length, "window.length_samples = 8001: must be a multiple of mfcc.hop_length (80)");
    let hop = refusal(|it| it["window"]["hop_samples"] = json!(4001));
    assert_eq!(hop, "window.hop_samples = 4001: must be a multiple of mfcc.hop_length (80)");
    let frames = refusal(|it| it["frames"] = json!(98));
    assert_eq!(frames, "frames = 98: must be 97, which is 1 + (8000 - 256) / 80");
    assert!(refusal(|it| it["frames"] = Value::Null).starts_with("frames = absent: must be 97"));
}

#[test]
fn labels_must_be_unique() {
    assert!(refusal(|it| it["labels"] = json!([])).contains("labels = []: must be at least one emotion"));
    assert!(refusal(|it| it["labels"] = json!(["anger", "anger"])).contains("\"anger\" twice"));
    assert!(refusal(|it| it["labels"] = json!(["anger", " "])).contains("names that are not empty"));
}

#[test]
fn other_invalid_entries_are_refused_by_name() {
    let cases: [(&str, Value, &str); 13] = [
        ("/schema", json!(2), "schema = 2: must be 1"),
        ("/temperature", json!(0.0), "temperature = 0: must be above 0"),
        ("/layout", json!("NS"), "layout = NS: must be NTC"),
        ("/input", json!("waveform"), "layout = NTC: must be NS"),
        ("/mfcc", Value::Null, "mfcc = absent"),
        ("/mfcc/n_mfcc", json!(0), "mfcc.n_mfcc = 0: must be above 0"),
        ("/mfcc/f_max_hz", json!(5000.0), "mfcc.f_max_hz = 5000: must be at most 4000"),
        ("/output", json!("values"), "unknown variant `values`"),
        ("/ood", json!({}), "missing field `threshold`"),
        ("/ood", json!({"threshold": 1e39}), "ood.threshold = inf: must be a finite 32-bit number"),
        (
            "/adaptation",
            json!({"mean_logits": [0.0, 0.0]}),
            "adaptation.mean_logits = 2 numbers: must be 3 numbers, one for each label",
        ),
        (
            "/adaptation",
            json!({"mean_logits": [0.0, -1e300, 0.0]}),
            "adaptation.mean_logits = -inf: must be finite 32-bit numbers",
        ),
        (
            "/adaptation",
            json!({"mean_logits": [0.0, 0.0, 0.0], "variance": 0.0}),
            "adaptation.variance = 0: must be above 0",
        ),
    ];
    for (entry, value, expected) in cases {
        let message = refusal(|it| match it.pointer_mut(entry) {
            Some(present) => *present = value,
            None => it[&entry[1..]] = value,
        });
        assert!(message.contains(expected), "{entry}: {message}");
    }
}

#[test]
fn a_contract_beyond_the_upper_limits_is_refused_by_name() {
    let many: Vec<String> = (0..1_000_000).map(|number| number.to_string()).collect();
    let cases: [(&str, Value, &str); 6] = [
        ("/labels", json!(many), "labels = 1000000"),
        ("/name", json!("n".repeat(257)), "name = 257 bytes: must be at most 256 bytes"),
        ("/window/length_samples", json!(1_u64 << 40), "must be at most 9600000"),
        ("/window/hop_samples", json!(1_u64 << 40), "must be at most 9600000"),
        ("/mfcc/n_fft", json!(1_u64 << 40), "mfcc.n_fft = 1099511627776: must be from 2 to 65536"),
        ("/mfcc/n_mels", json!(1_u64 << 40), "mfcc.n_mels = 1099511627776: must be from 1 to 1024"),
    ];
    for (entry, value, expected) in cases {
        let message = refusal(|it| *it.pointer_mut(entry).unwrap() = value);
        assert!(message.contains(expected) && message.len() < 300, "{entry}: {message}");
    }
    // Each entry is allowed, and all of them together are too much.
    let product = refusal(|it| {
        (it["mfcc"]["hop_length"], it["window"]["hop_samples"]) = (json!(1), json!(8_000_000));
        (it["window"]["length_samples"], it["frames"]) = (json!(8_000_000), json!(8_000_000 - 256 + 1));
    });
    assert!(product.contains("frames = 7999745: must be at most 16777216 values a window"), "{product}");
}

#[test]
fn a_front_end_that_needs_samples_outside_the_window_is_refused_by_name() {
    assert!(refusal(|it| it["mfcc"]["center"] = json!(true)).contains("mfcc.center = true: must be false"));
    assert!(refusal(|it| it["mfcc"]["top_db"] = json!(80.0)).contains("mfcc.top_db = 80.0: must be absent"));
    assert!(refusal(|it| it["mfcc"]["lifter"] = json!(22)).contains("unknown field `lifter`"));

    let mut harmless = serde_json::to_value(contract(Layout::Ntc, Output::Logits)).unwrap();
    harmless["mfcc"]["center"] = json!(false);
    harmless["mfcc"]["top_db"] = Value::Null;
    assert_eq!(Contract::parse(&harmless.to_string()).unwrap(), contract(Layout::Ntc, Output::Logits));
}
