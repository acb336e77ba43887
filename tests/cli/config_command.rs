//! `affectd config`, and the behaviour that all commands share: exit codes, errors of one line, closed pipes.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::process::{Command, Output, Stdio};

fn affectd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.args(arguments).env_remove("AFFECTD_CONFIG").env_remove("RUST_LOG");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    affectd(arguments).output().unwrap()
}

#[test]
fn check_prints_ok_or_one_line_and_exits_with_64() {
    let good = run(&["config", "check"]);
    assert_eq!(good.status.code(), Some(0));
    assert_eq!(text(&good.stdout), "configuration ok\n");
    let bad = run(&["config", "check", "--set", "batch.max_size=none"]);
    assert_eq!(bad.status.code(), Some(64));
    let stderr = text(&bad.stderr);
    assert!(
        stderr.starts_with("error: configuration key `batch.max_size`: \"none\" (from --set)"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1);
    assert!(bad.stdout.is_empty());
}

#[test]
fn check_finds_what_does_not_fit_this_machine_unless_it_is_offline() {
    for (setting, message) in [
        ("model.path=/nowhere.onnx", "load model /nowhere.onnx: "),
        ("window.hop=10m", "expected a whole multiple of the model's frame hop, 10ms, up to 60s"),
        ("vad.mode=loud", "`vad.mode`"),
        ("grpc.address=192.0.2.1:50051", "grpc.address = 192.0.2.1:50051: "),
        ("kafka.properties.nonsense=1", "kafka.properties.nonsense: No such configuration property"),
        ("kafka.properties.linger.ms=long", "kafka.properties.linger.ms: "),
    ] {
        // An address of another machine would be refused without this.
        let insecure = "auth.allow_insecure=true";
        let found = run(&["config", "check", "--set", insecure, "--set", setting]);
        let stderr = text(&found.stderr);
        assert_eq!(found.status.code(), Some(64), "{setting}: {stderr}");
        assert!(stderr.contains(message) && stderr.lines().count() == 1, "{setting}: {stderr}");
        let offline = run(&["config", "check", "--offline", "--set", insecure, "--set", setting]);
        assert_eq!(offline.status.success(), !setting.starts_with("vad"), "{setting}");
    }
}

#[test]
fn a_bad_configuration_stops_every_command_before_it_starts() {
    let serve = affectd(&["serve"]).env("AFFECTD__GRPC__PORT", "1").output().unwrap();
    assert_eq!(serve.status.code(), Some(64));
    assert!(text(&serve.stderr).contains("`grpc.port` (from AFFECTD__GRPC__PORT)"));
    let missing = affectd(&["serve"]).env("AFFECTD_CONFIG", "/nowhere.toml").output().unwrap();
    assert_eq!(missing.status.code(), Some(64));
    assert!(text(&missing.stderr).contains("/nowhere.toml"));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in
        [&["config", "check", "--set", "nonsense"][..], &["config", "check", "--log-level", "a=b=c"]]
    {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_output_of_print_is_a_file_with_the_same_configuration() {
    let secret = "kafka.properties.sasl.password=hush";
    let first = run(&["config", "print", "--set", "audio.max_gap=2s", "--set", secret]);
    let printed = text(&first.stdout);
    assert!(printed.contains("max_gap = \"2s\""), "{printed}");
    assert!(!printed.contains("hush"), "{printed}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &printed).unwrap();
    let second = run(&["config", "print", "--config", file.path().to_str().unwrap()]);
    let values = |listing: &str| -> Vec<String> {
        listing.lines().map(|line| line.split(" # ").next().unwrap().trim().to_owned()).collect()
    };
    assert_eq!(values(&printed), values(&text(&second.stdout)));
}

#[test]
fn print_as_json_holds_values_and_origins() {
    let output = run(&["config", "print", "--format", "json", "--set", "batch.max_size=4"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["batch.max_size"], serde_json::json!({"value": 4, "origin": "--set"}));
    assert_eq!(json["kafka.brokers"]["value"], serde_json::Value::Null);
}

#[test]
fn schema_is_printed_as_json() {
    let output = run(&["config", "schema"]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json, affectd::config::schema());
    assert_eq!(json["properties"]["audio"]["properties"]["max_gap"]["default"], "1s");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = affectd(&["config", "print"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn completions_and_the_manual_page_are_printed_and_a_build_without_the_trainer_says_so() {
    let run =
        |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_affectd")).args(arguments).output().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let done = run(&["completions", shell]);
        assert!(
            done.status.success() && String::from_utf8_lossy(&done.stdout).contains("log-level"),
            "{shell}"
        );
    }
    assert!(String::from_utf8_lossy(&run(&["man"]).stdout).contains(".TH affectd"));
    if !cfg!(feature = "train") {
        let done = run(&["train", "--data", "folder"]);
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && stderr.contains("--features train"), "{stderr}");
    }
}
