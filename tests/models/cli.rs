//! `affectd model`: the contract as text and JSON, verification, and one error line for a file that is not a model.

use std::process::{Command, Output};

use affectd::model::{Contract, Layout, Output as Kind, TrainingLogits};
use prost::Message;

use crate::support::model_fixture::{contract, graph, tiny, with_out_of_domain, write};

fn affectd(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.args(arguments).env_remove("AFFECTD_CONFIG").env_remove("RUST_LOG");
    command.output().unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let output = affectd(arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn inspect_shows_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Ntc, Kind::Probabilities);
    let path = path.to_str().unwrap();

    let json = affectd(&["model", "inspect", path, "--format", "json"]);
    let found = Contract::parse(std::str::from_utf8(&json.stdout).unwrap()).unwrap();
    assert_eq!(found, contract(Layout::Ntc, Kind::Probabilities));

    let table = String::from_utf8(affectd(&["model", "inspect", path]).stdout).unwrap();
    for expected in
        ["tiny@1.0.0", "anger, neutral, sadness", "97 frames × 8 coefficients, NTC", "1 s every 0.5 s"]
    {
        assert!(table.contains(expected), "{expected}: {table}");
    }
}

#[test]
fn the_out_of_domain_threshold_and_the_mean_logits_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (mut contract, graph) = with_out_of_domain(1.25);
    contract.adaptation = Some(TrainingLogits { mean_logits: vec![0.5, -0.75, 0.25], variance: Some(0.8) });
    let path = write(folder.path(), graph, &contract);
    let path = path.to_str().unwrap();
    let table = String::from_utf8(affectd(&["model", "inspect", path]).stdout).unwrap();
    assert!(table.contains("windows with an output \"ood\" above 1.25"), "{table}");
    assert!(table.contains("0.500, -0.750, 0.250"), "{table}");
    let json = affectd(&["model", "inspect", path, "--format", "json"]);
    assert_eq!(Contract::parse(std::str::from_utf8(&json.stdout).unwrap()).unwrap(), contract);

    let device = ["--set", "engine.device=cpu"];
    let table = affectd(&[&["model", "verify", path], &device[..]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("windows with an output \"ood\" above 1.25"), "{table}");
    let json = affectd(&[&["model", "verify", path, "--format", "json"], &device[..]].concat());
    let verdict: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(verdict["ood"]["threshold"], 1.25);
}

#[test]
fn verify_runs_the_configured_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Nct, Kind::Logits);
    let setting = format!("model.path={}", path.display());
    let device = ["--set", "engine.device=cpu"];
    let output =
        affectd(&[&["model", "verify", "--format", "json", "--set", &setting], &device[..]].concat());
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["ok"], true);
    assert_eq!((&verdict["model"], &verdict["device"]), (&"tiny@1.0.0".into(), &"cpu".into()));
}

#[test]
fn bench_reports_windows_per_second_by_batch_size_and_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Ntc, Kind::Probabilities);
    let path = path.to_str().unwrap();
    let options = ["--set", "engine.device=cpu", "--seconds"];
    // Long enough for the small batches of every row on a busy machine; the benchmark drops batches that do not fit its time.
    let output = affectd(&[&["model", "bench", path, "--format", "json"], &options[..], &["5"]].concat());
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let named = (&report["model"], &report["engine"], &report["device"]);
    assert_eq!(named, (&"tiny@1.0.0".into(), &"onnxruntime".into(), &"cpu".into()));
    assert!(report["features_cpu_ms"].as_f64().unwrap() > 0.0, "{report}");
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        for figure in ["windows_per_second", "latency_ms", "cpu_ms_per_window"] {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{figure}: {row}");
        }
    }
    let of = |threads: usize, sessions: usize| {
        let same = |row: &&serde_json::Value| row["threads"] == threads && row["sessions"] == sessions;
        rows.iter().filter(same).map(|row| row["batch"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert!(of(1, 1).starts_with(&[1, 2]), "small batches come first: {report}");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(of(1, cores).starts_with(&[1]) && of(cores, 1).starts_with(&[1]), "{report}");

    let table =
        String::from_utf8(affectd(&[&["model", "bench", path], &options[..], &["1"]].concat()).stdout)
            .unwrap();
    assert!(table.contains("CPU ms/window") && table.contains("ms of CPU for one hop of audio"), "{table}");
}

#[test]
fn a_file_that_is_not_a_model_is_reported_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("notes.txt"), "not a model").unwrap();
    let foreign = graph(&contract(Layout::Ntc, Kind::Logits)).encode_to_vec();
    std::fs::write(file("foreign.onnx"), foreign).unwrap();

    assert!(refused(&["model", "inspect", &file("none.onnx")]).contains("none.onnx: No such file"));
    assert!(refused(&["model", "inspect", &file("notes.txt")]).contains("notes.txt: not an ONNX file"));
    let foreign = refused(&["model", "verify", &file("foreign.onnx")]);
    assert!(
        foreign.contains("holds no contract") && foreign.contains("foreign.onnx.contract.json"),
        "{foreign}"
    );
}

#[test]
fn a_graph_that_contradicts_its_contract_fails_verification() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = contract(Layout::Ntc, Kind::Logits);
    let graph = graph(&other);
    other.labels.pop();
    let path = write(folder.path(), graph, &other);
    assert!(refused(&["model", "verify", path.to_str().unwrap()]).contains("requires [batch, 2]"));
}

#[test]
fn without_onnx_runtime_the_error_names_the_paths_tried() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), Layout::Ntc, Kind::Logits);
    let nowhere = "engine.library=/nowhere/libonnxruntime.so";
    let named = refused(&["model", "verify", path.to_str().unwrap(), "--set", nowhere]);
    assert!(named.contains("/nowhere/libonnxruntime.so, which engine.library names"), "{named}");
    assert!(named.contains("No such file"), "{named}");

    // A copy of the program in another folder has no library beside it.
    let copy = folder.path().join("affectd");
    std::fs::copy(env!("CARGO_BIN_EXE_affectd"), &copy).unwrap();
    let output = Command::new(&copy)
        .args(["model", "verify", path.to_str().unwrap()])
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        eprintln!("the system has an ONNX Runtime of its own: the search that finds none did not run");
        return;
    }
    assert!(stderr.starts_with("error: find ONNX Runtime 1.24 or newer: searched"), "{stderr}");
    assert!(stderr.contains(&folder.path().join("lib").display().to_string()), "{stderr}");
}
