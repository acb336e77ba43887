//! `affectd train --encoder` as a process: cache, evaluation of the written file, and bad input as one error line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use affectd::train::onnx::ModelProto;

use crate::support::encoder_fixture::{
    KEY, front_end, graph_of, mixing_windows, on_frames, with_axis, write,
};
use crate::support::train_fixture::speech;

fn affectd(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.env_remove("AFFECTD_CONFIG").env_remove("RUST_LOG");
    command.args(words).output().unwrap()
}

/// `affectd train --encoder` on the toy dataset in `folder`.
fn train(folder: &Path, encoder: &Path, words: &str) -> Output {
    let (data, output) = (data(folder, "clips.csv"), folder.join("toy.onnx"));
    let cache = folder.join("cache");
    let fixed = ["train", "--force", "--data", &data, "--output", output.to_str().unwrap()];
    let paths = ["--encoder", encoder.to_str().unwrap(), "--cache", cache.to_str().unwrap()];
    affectd(&[&fixed[..], &paths[..], &words.split_whitespace().collect::<Vec<_>>()].concat())
}

fn data(folder: &Path, manifest: &str) -> String {
    format!("manifest:{}", folder.join(manifest).display())
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn embeddings_are_computed_once_and_the_file_is_evaluated_like_any_model() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let encoder = write(folder.path(), &on_frames("NTC"));
    let run = |words: &str| {
        let result = train(folder.path(), &encoder, &format!("{words} --epochs 2 --batch-size 16"));
        assert!(result.status.success(), "{result:?}");
        stderr(&result)
    };
    let cached = |text: &str, what: &str| {
        let line =
            text.lines().find(|line| line.starts_with(&format!("encoder: {what}:"))).unwrap().to_owned();
        let count = |word: usize| line.split_whitespace().nth(word).unwrap().parse::<usize>().unwrap();
        let words = line.split_whitespace().position(|word| word == "clips,").unwrap();
        (count(words - 1), count(words + 1))
    };
    let first = run("");
    let (clips, found) = cached(&first, "train");
    assert!(clips > 30 && found == 0, "{first}");
    let second = run("--seed 0");
    for what in ["train", "copy 1 of train", "validation", "test"] {
        let (clips, found) = cached(&second, what);
        assert_eq!(clips, found, "{second}");
    }
    // Another seed draws other copies; another layer and another pooling give other embeddings.
    let other = run("--seed 1");
    assert_eq!((cached(&other, "train").1, cached(&other, "copy 1 of train").1), (clips, 0));
    for words in ["--layer deep", "--pooling mean"] {
        assert_eq!(cached(&run(words), "train").1, 0, "{words}");
    }
    let model = folder.path().join("toy.onnx");
    let verified = affectd(&["model", "verify", model.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
    let data = data(folder.path(), "clips.csv");
    let evaluated = affectd(&["evaluate", "--model", model.to_str().unwrap(), "--data", &data]);
    assert!(evaluated.status.success(), "{evaluated:?}");
    let settings = std::fs::read_to_string(folder.path().join("toy-report/config.json")).unwrap();
    assert!(settings.contains("\"architecture\": \"encoder\"") && settings.contains("\"pooling\": \"mean\""));
}

/// Asserts that a run ends with one line that contains `expected`, and with exit code 2.
#[track_caller]
fn refused(result: &Output, expected: &str) {
    let text = stderr(result);
    assert!(text.contains(expected), "{text}");
    let errors = text.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!((errors, result.status.code()), (1, Some(2)), "{text}");
    assert!(text.trim_end().lines().last().unwrap().starts_with("error: "), "{text}");
}

#[test]
fn an_encoder_that_does_not_fit_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let plain = on_frames("NTC");
    let with_contract = |contract: Option<serde_json::Value>| {
        let mut model = plain.clone();
        model.metadata_props.retain(|entry| entry.key != KEY);
        let entry = contract.map(|it| affectd::train::onnx::StringStringEntryProto {
            key: KEY.into(),
            value: it.to_string(),
        });
        model.metadata_props.extend(entry);
        model
    };
    let mut old = plain.clone();
    old.opset_import[0].version = 11;
    let mut short = front_end("NTC");
    (short["frames"], short["window"]["length_samples"]) = (47.into(), 8_000.into());
    let mut two_inputs = plain.clone();
    let graph = graph_of(&mut two_inputs);
    let mut second = graph.input[0].clone();
    second.name = "mask".into();
    graph.input.push(second);
    graph.node.iter_mut().find(|node| node.op_type == "Add").unwrap().input[1] = "mask".into();
    let cases: [(&ModelProto, &str, &str); 11] = [
        (
            &plain,
            "--layer frame",
            "layer \"frame\": it has no tensor or node of that name (near names: frames, ",
        ),
        (&plain, "--layer probabilities", "there is probabilities [2, 8]"),
        (&plain, "--layer constant_6", "constant_6 does not depend on the input"),
        (&with_axis(plain.clone(), 0, 1), "", "has a fixed batch size of 1: its first axis must be dynamic"),
        (
            &with_axis(plain.clone(), 1, 100),
            "",
            "is [batch, 100, 20], and the contract (layout NTC) requires [batch, 97, 20]",
        ),
        (&with_contract(Some(front_end("N1TC"))), "", "(layout N1TC) requires [batch, 1, 97, 20]"),
        (&with_contract(Some(short)), "", "requires [batch, 47, 20]"),
        (&with_contract(None), "", "it holds no contract"),
        (&old, "", "its operator set is 11, and must be 13 or newer"),
        (&mixing_windows(), "", "depend on the other windows of its batch"),
        (&two_inputs, "--layer deep", "it has 2 inputs (input, mask), and must have one"),
    ];
    for (model, words, expected) in cases {
        let encoder = write(folder.path(), model);
        let result = train(folder.path(), &encoder, words);
        refused(&result, expected);
        refused(&result, &format!("--encoder {}", encoder.display()));
    }
    let encoder = write(folder.path(), &plain);
    let digits = "0".repeat(64);
    let result = train(folder.path(), &encoder, &format!("--encoder-sha256 {digits}"));
    refused(&result, &format!(", and must be {digits}"));
    let missing: PathBuf = folder.path().join("missing.onnx");
    refused(&train(folder.path(), &missing, ""), "No such file");
    std::fs::write(&encoder, "text").unwrap();
    refused(&train(folder.path(), &encoder, ""), "not an ONNX file");
}

#[test]
fn flags_of_other_networks_and_disjoint_labels_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let encoder = write(folder.path(), &on_frames("NTC"));
    let flags = [
        "--architecture cnn",
        "--channels 8,8",
        "--width 16",
        "--residuals 1",
        "--input mfcc",
        "--deltas 1",
        "--options f.json",
        "--quantize int8",
        "--tempo 0.1",
        "--warp 0.1",
        "--band-shift 0.1",
        "--colour 1",
        "--noise-floor 0.1",
        "--frame-mask 3",
        "--band-mask 0.1",
    ];
    for words in flags {
        let flag = words.split_whitespace().next().unwrap();
        refused(
            &train(folder.path(), &encoder, words),
            &format!("error: {flag}: does not apply to --encoder"),
        );
    }
    std::fs::write(folder.path().join("calm.csv"), "path,label,speaker\njoy-0.wav,calm,another\n").unwrap();
    let other = format!("--data {}", data(folder.path(), "calm.csv"));
    let expected =
        "has no label in common with the other datasets (it has fear, joy, neutral; they have calm)";
    refused(&train(folder.path(), &encoder, &other), expected);
}
