//! `affectd features` as a process: both output formats against the golden arrays, and its errors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn array<T: npyz::Deserialize>(bytes: &[u8]) -> (Vec<u64>, Vec<T>) {
    let array = npyz::NpyFile::new(bytes).unwrap();
    (array.shape().to_vec(), array.into_vec().unwrap())
}

/// The golden signal as the second channel of a WAV file, after a silent one.
fn recording(folder: &Path, rate_hz: u32) -> PathBuf {
    let (_, signal) = array::<i16>(&std::fs::read(golden(&format!("signal_{rate_hz}.npy"))).unwrap());
    let audio: Vec<u8> = signal.iter().flat_map(|sample| [[0; 2], sample.to_le_bytes()].concat()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + audio.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    bytes.extend([rate_hz.to_le_bytes(), (4 * rate_hz).to_le_bytes()].concat());
    bytes.extend(b"\x04\0\x10\0data");
    bytes.extend((audio.len() as u32).to_le_bytes());
    bytes.extend(audio);
    let path = folder.join(format!("signal_{rate_hz}.wav"));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn features(file: &Path, options: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.arg("features").arg(file).arg("--options").arg(options).args(more);
    command.env_remove("AFFECTD_CONFIG").output().unwrap()
}

fn one_line(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

fn assert_equal(ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-3));
}

#[test]
fn npy_and_csv_output_match_the_golden_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let file = recording(folder.path(), 16_000);
    for case in ["contract_16k", "log_mel_db_16k", "deltas_16k"] {
        let options = golden(&format!("{case}.json"));
        let (shape, expected) = array::<f32>(&std::fs::read(golden(&format!("{case}.npy"))).unwrap());

        let npy = features(&file, &options, &["--format", "npy", "--channel", "1"]);
        assert!(npy.status.success() && npy.stderr.is_empty(), "{npy:?}");
        let (written, matrix) = array::<f32>(&npy.stdout);
        assert_eq!(written, shape);
        assert_equal(&matrix, &expected);

        let csv = features(&file, &options, &["--format", "csv", "--channel", "1"]);
        let text = String::from_utf8(csv.stdout).unwrap();
        assert_eq!(text.lines().count() as u64, shape[0]);
        assert!(text.lines().all(|line| line.split(',').count() as u64 == shape[1]));
        let values: Vec<f32> =
            text.lines().flat_map(|line| line.split(',')).map(|v| v.parse().unwrap()).collect();
        assert_eq!(values, matrix, "csv has the same floats as npy");
    }
}

#[test]
fn flat_options_are_accepted_and_other_rates_are_resampled() {
    let folder = tempfile::tempdir().unwrap();
    let nested: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden("telephone_8k.json")).unwrap()).unwrap();
    let mut flat = nested["mfcc"].clone();
    flat["sample_rate_hz"] = nested["sample_rate_hz"].clone();
    let options = folder.path().join("flat.json");
    std::fs::write(&options, flat.to_string()).unwrap();

    let at_8_khz =
        features(&recording(folder.path(), 8_000), &options, &["--format", "npy", "--channel", "1"]);
    let (_, expected) = array::<f32>(&std::fs::read(golden("telephone_8k.npy")).unwrap());
    assert_equal(&array::<f32>(&at_8_khz.stdout).1, &expected);

    let at_16_khz = features(&recording(folder.path(), 16_000), &options, &["--format", "npy"]);
    assert_eq!(array::<f32>(&at_16_khz.stdout).0, [57, 13], "0.6 s at 8 kHz, whatever the file's rate");
}

#[test]
fn invalid_input_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, options) = (recording(folder.path(), 16_000), golden("contract_16k.json"));
    let message = one_line(&features(&file, &options, &["--channel", "2"]), 2);
    assert!(message.contains("--channel 2: the file's channels are 0 to 1"), "{message}");
    let message = one_line(&features(&folder.path().join("missing.wav"), &options, &[]), 1);
    assert!(message.contains("missing.wav: cannot be read"), "{message}");

    let written = std::fs::read_to_string(&options).unwrap();
    let broken = folder.path().join("broken.json");
    for (from, to, part) in [
        ("\"sample_rate_hz\": 16000", "\"sample_rate_hz\": 8000", "mfcc.f_max_hz = 7400"),
        ("\"deltas\": 0", "\"deltas\": 0, \"center\": true", "mfcc.center = true"),
        ("\"hann\"", "\"kaiser\"", "kaiser"),
        ("\"sample_rate_hz\"", "\"rate\"", "broken.json: sample_rate_hz is missing"),
    ] {
        std::fs::write(&broken, written.replace(from, to)).unwrap();
        let message = one_line(&features(&file, &broken, &[]), 1);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_file_shorter_than_one_frame_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("short.wav");
    let mut bytes = std::fs::read(recording(folder.path(), 16_000)).unwrap();
    bytes.truncate(44 + 4 * 100);
    bytes[40..44].copy_from_slice(&400_u32.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let message = one_line(&features(&file, &golden("contract_16k.json"), &[]), 1);
    assert!(message.contains("100 samples are shorter than one frame (512)"), "{message}");
}

#[test]
fn a_model_supplies_its_front_end() {
    let folder = tempfile::tempdir().unwrap();
    // A foreign ONNX file (IR version 8, nothing else) with its contract beside it.
    let model = folder.path().join("tiny.onnx");
    std::fs::write(&model, [0x08, 0x08]).unwrap();
    let options: serde_json::Value =
        serde_json::from_slice(&std::fs::read(golden("telephone_8k.json")).unwrap()).unwrap();
    let contract = serde_json::json!({
        "schema": 1, "name": "tiny", "version": "1.0.0", "labels": ["anger", "sadness"], "input": "mfcc",
        "layout": "NTC", "output": "logits", "sample_rate_hz": 8000, "frames": 97, "mfcc": options["mfcc"],
        "window": {"length_samples": 8000, "hop_samples": 4000},
    });
    std::fs::write(folder.path().join("tiny.onnx.contract.json"), contract.to_string()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .arg("features")
        .arg(recording(folder.path(), 8_000))
        .args(["--format", "npy", "--channel", "1", "--model"])
        .arg(&model)
        .env_remove("AFFECTD_CONFIG")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (shape, expected) = array::<f32>(&std::fs::read(golden("telephone_8k.npy")).unwrap());
    let (written, matrix) = array::<f32>(&output.stdout);
    assert_eq!(written, shape);
    assert_equal(&matrix, &expected);
}
