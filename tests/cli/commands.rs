//! Properties that every command has: a closed pipe on stdout is no error, and `--version` describes the build.

use std::path::Path;
use std::process::{Command, Output};

fn affectd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.args(arguments);
    command
}

/// Runs a command whose stdout has no reader.
fn without_reader(arguments: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    affectd(arguments).stdout(writer).output().unwrap()
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples/calm.wav");
    let sample = sample.to_str().unwrap();
    for arguments in [
        &["features", sample][..],
        &["features", sample, "--format", "npy"],
        &["analyze", sample],
        &["analyze", sample, "--format", "csv"],
        &["analyze", sample, "--format", "jsonl"],
        &["config", "print"],
        &["config", "check"],
        &["config", "schema"],
        &["model", "inspect"],
        &["completions", "bash"],
        &["man"],
        &["demo", "--speed", "max"],
        &["--help"],
        &["--version"],
    ] {
        let output = without_reader(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {:?} {stderr}", output.status);
    }
}

#[test]
fn the_version_names_the_build_onnx_runtime_and_the_features() {
    let text = |flag| String::from_utf8(affectd(&[flag]).output().unwrap().stdout).unwrap();
    let package = env!("CARGO_PKG_VERSION");
    assert_eq!(text("-V"), format!("affectd {package}\n"));
    let long = text("--version");
    let lines: Vec<&str> = long.lines().collect();
    let begins = [format!("affectd {package} ("), "ONNX Runtime ".to_owned(), "features: ".to_owned()];
    assert!(
        lines.len() == 3 && lines.iter().zip(&begins).all(|(line, start)| line.starts_with(start)),
        "{long}"
    );
}
