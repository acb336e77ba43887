//! `affectd train` as a process: flags are applied, nothing is overwritten without a flag, and bad input is one error line.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use affectd::model::{Input, load_contract};

use crate::support::train_fixture::speech;

/// `affectd train` on the toy dataset in `folder`, with `output` and further arguments.
fn command(folder: &Path, output: &str, words: &str) -> Command {
    let data = format!("manifest:{}", folder.join("clips.csv").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.env_remove("AFFECTD_CONFIG").env_remove("RUST_LOG").env("SOURCE_DATE_EPOCH", "1700000000");
    command.args(["train", "--data", &data, "--no-cache", "--output"]).arg(folder.join(output));
    command.args(words.split_whitespace());
    command
}

fn train(folder: &Path, output: &str, words: &str) -> Output {
    command(folder, output, words).output().unwrap()
}

#[track_caller]
fn trained(folder: &Path, output: &str, words: &str) -> Output {
    let result = train(folder, output, words);
    assert!(result.status.success(), "{result:?}");
    result
}

/// The error text of a refused run, and its exit code.
fn refused(folder: &Path, output: &str, words: &str) -> (String, Option<i32>) {
    let result = train(folder, output, words);
    assert!(result.stdout.is_empty(), "{result:?}");
    (String::from_utf8(result.stderr).unwrap(), result.status.code())
}

fn settings(folder: &Path, report: &str) -> serde_json::Value {
    let text = std::fs::read(folder.join(report).join("config.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&text).unwrap()["settings"].take()
}

#[test]
fn each_flag_is_applied_to_the_run() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    trained(
        folder.path(),
        "toy.onnx",
        "--architecture cnn --channels 8,8 --width 16 --residuals 1 --epochs 1 --batch-size 16 --optimizer sgd \
         --schedule cosine --learning-rate 0.01 --weight-decay 0.001 --clip-norm 5 --label-smoothing 0.05 \
         --class-weights --dropout 0.5 --mixup 0.2 --no-weight-averaging --patience 3 --seed 9 --telephone 0.1 \
         --noise 0.2 --noise-snr-db 20 10 --gain-db 6 --speed 0.3 --pitch 0.4 --shift-seconds 0.25 --tempo 0.5 \
         --warp 0.25 --band-shift 0.125 --colour 0 --noise-floor 0.75 --frame-mask 7 --band-mask 0.5 \
         --input log-mel",
    );
    let found = settings(folder.path(), "toy-report");
    let wanted = serde_json::json!({
        "architecture": "cnn", "input": "log_mel",
        "sizes": { "channels": [8, 8], "width": 16, "residuals": 1 },
        "fit": {
            "epochs": 1, "batch_size": 16, "optimizer": "sgd", "schedule": "cosine", "learning_rate": 0.01,
            "weight_decay": 0.001_f32, "clip_norm": 5.0, "label_smoothing": 0.05_f32, "class_weights": true,
            "dropout": 0.5, "mixup": 0.2_f32, "weight_averaging": false, "patience": 3, "seed": 9,
        },
        "waveform": {
            "telephone": 0.1_f32, "noise": 0.2_f32, "noise_snr_db": [10.0, 20.0], "gain_db": 6.0,
            "speed": 0.3_f32, "pitch": 0.4_f32, "shift_seconds": 0.25,
        },
        "augmentation": {
            "tempo": 0.5, "warp": 0.25, "shift": 0.125, "tilt": 0.0, "curve": 0.0, "ripple": 0.0,
            "dynamics": 0.0, "noise_floor": 0.75, "frame_mask": 7, "band_mask": 0.5,
        },
    });
    assert_holds(&found, &wanted, "settings");
    let contract = load_contract(&folder.path().join("toy.onnx")).unwrap();
    assert_eq!((contract.input, contract.coefficients()), (Input::LogMel, 64));
}

/// Asserts that `found` contains every value of `wanted`.
#[track_caller]
fn assert_holds(found: &serde_json::Value, wanted: &serde_json::Value, at: &str) {
    match wanted {
        serde_json::Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| assert_holds(&found[key], value, &format!("{at}.{key}")));
        }
        _ => assert_eq!(found, wanted, "{at}"),
    }
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_does_not() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let words = "--architecture dense --epochs 2 --name toy --input mfcc --deltas 2 --seed";
    for (output, seed) in [("a.onnx", 1), ("b.onnx", 1), ("c.onnx", 2)] {
        trained(folder.path(), output, &format!("{words} {seed}"));
    }
    let [a, b, c] =
        ["a", "b", "c"].map(|it| std::fs::read(folder.path().join(format!("{it}.onnx"))).unwrap());
    assert!(a == b, "the same seed");
    assert!(a != c, "another seed");
    let contract = load_contract(&folder.path().join("a.onnx")).unwrap();
    assert_eq!(
        (contract.coefficients(), contract.provenance.trained_at.as_str()),
        (72, "2023-11-14T22:13:20Z")
    );
}

#[test]
fn existing_files_are_not_overwritten_without_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let words = "--architecture dense --epochs 1";
    for there in ["toy.onnx", "toy-int8.onnx", "toy-report"] {
        let path = folder.path().join(there);
        if there.ends_with("report") { std::fs::create_dir(&path) } else { std::fs::write(&path, "mine") }
            .unwrap();
        let (text, code) = refused(folder.path(), "toy.onnx", &format!("{words} --quantize int8"));
        assert!(text.contains(there) && text.contains("--force"), "{text}");
        assert_eq!(code, Some(2));
        if path.is_file() {
            assert_eq!(std::fs::read(&path).unwrap(), b"mine");
            std::fs::remove_file(&path).unwrap();
        }
    }
    trained(folder.path(), "toy.onnx", &format!("{words} --force"));
    let model = folder.path().join("toy.onnx");
    let itself = format!("--quantize int8 --force --trained {}", model.display());
    let (text, code) = refused(folder.path(), "toy.onnx", &itself);
    assert!(text.contains("is also an input file; choose another name"), "{text}");
    assert_eq!(code, Some(2));
}

#[test]
fn invalid_values_are_refused_with_the_allowed_ones() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let options = folder.path().join("options.json");
    let with_options = format!("--options {}", options.display());
    let front_end = |n_fft, hop_length| {
        let mut options = serde_json::to_value(affectd::features::MfccOptions::default()).unwrap();
        (options["n_fft"], options["hop_length"]) = (n_fft, hop_length);
        serde_json::to_string(&options).unwrap()
    };
    let cases: [(&str, String, &str); 7] = [
        ("--dropout 2", String::new(), "from 0 to 1.9"),
        ("--deltas 3", String::new(), "0..=2"),
        ("--input log-mel --deltas 1", String::new(), "mfcc.deltas = 1: must be 0 for the input log-mel"),
        ("--label-smoothing 1.5", String::new(), "from 0 to 1"),
        (&with_options, front_end(65_536.into(), 160.into()), "mfcc.n_fft = 65536: must be at most 48000"),
        (&with_options, front_end(512.into(), 161.into()), "mfcc.hop_length = 161: must divide"),
        (&with_options, front_end(300.into(), 160.into()), "mfcc.win_length = 400: must be from 2 to 300"),
    ];
    for (words, json, expected) in cases {
        std::fs::write(&options, json).unwrap();
        let (text, code) = refused(folder.path(), "toy.onnx", &format!("--architecture dense {words}"));
        assert!(text.contains(expected), "{words}: {text}");
        assert_eq!(code, Some(2), "{words}: {text}");
    }
}

#[test]
fn findings_are_reported_when_too_few_clips_remain() {
    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let silence = std::fs::read(folder.path().join("joy-0.wav")).unwrap();
    let silence: Vec<u8> = silence.iter().enumerate().map(|(at, it)| if at < 44 { *it } else { 0 }).collect();
    for label in ["joy", "fear"] {
        for index in 0..28 {
            std::fs::write(folder.path().join(format!("{label}-{index}.wav")), &silence).unwrap();
        }
    }
    let (text, code) = refused(folder.path(), "toy.onnx", "--architecture dense");
    assert!(text.contains("56 clips without sound (left out)") && text.contains("and 51 more"), "{text}");
    assert!(text.contains("only one label (neutral)"), "{text}");
    assert_eq!(code, Some(1));
}

#[cfg(unix)]
#[test]
fn an_interrupt_before_the_first_epoch_ends_the_run_without_a_model() {
    use std::io::Read as _;

    let folder = tempfile::tempdir().unwrap();
    speech(folder.path());
    let mut run = command(folder.path(), "toy.onnx", "--architecture cnn --protocol random")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stderr = run.stderr.take().unwrap();
    // The warning is the first output; the signal handler is installed before it.
    let mut first = [0; 8];
    stderr.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"WARNING:");
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130), "{text}");
    assert!(text.contains("no model is written") && !folder.path().join("toy.onnx").exists(), "{text}");
}
