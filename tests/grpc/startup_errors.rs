//! Every error at the start is one line that names the setting and the remedy, with the right exit code, and leaves nothing
//! running.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use affectd::config::{self, Config};
use affectd::daemon::{self, DaemonError, Listeners};
use affectd::model::{Layout, Output};
use prost::Message as _;

use crate::support::PATIENCE;
use crate::support::daemon::Options;
use crate::support::model_fixture;

const NOTHING_LISTENS: &str = "127.0.0.1:1";

/// Starts the daemon, which must end by itself. Returns its exit code, its error line, and its whole log.
async fn fails(options: &Options) -> (i32, String, String) {
    let running = options.command().stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = tokio::time::timeout(PATIENCE, running).await.expect("it ends by itself").unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty(), "results alone go to stdout");
    let errors: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors.len() == 1 && log.lines().last() == Some(errors[0]), "one line, the last: {log}");
    (output.status.code().unwrap(), errors[0].to_owned(), log.clone())
}

/// Like [`fails`], before any port listens; the error line must contain all of `names`.
async fn fails_at_once(options: &Options, code: i32, names: &[&str]) {
    let (found, error, log) = fails(options).await;
    assert!(names.iter().all(|name| error.contains(name)), "{error} names not {names:?}");
    assert_eq!(found, code, "{error}");
    assert!(!log.contains("listening"), "{log}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_file_that_is_not_a_model_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let whole = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Probabilities);
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(at("cut.onnx"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(at("text.onnx"), "this is no model\n").unwrap();
    std::fs::write(at("empty.onnx"), "").unwrap();
    let foreign = model_fixture::graph(&model_fixture::contract(Layout::Ntc, Output::Probabilities));
    std::fs::write(at("foreign.onnx"), foreign.encode_to_vec()).unwrap();
    for (name, reason) in [
        ("missing.onnx", "No such file"),
        ("cut.onnx", "damaged"),
        ("text.onnx", "not an ONNX file"),
        ("empty.onnx", "empty"),
        ("foreign.onnx", "foreign.onnx.contract.json"),
    ] {
        let options = Options::new().set("model.path", path(&at(name)));
        fails_at_once(&options, 1, &["model.path", path(&at(name)), reason]).await;
    }
}

#[tokio::test]
async fn a_model_that_is_too_large_or_takes_too_long_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Probabilities);
    let options = || Options::new().set("model.path", path(&file));
    let too_large = options().set("model.max_bytes", "100");
    fails_at_once(&too_large, 1, &["model.path", path(&file), "at most 100 are allowed"]).await;
    // The session of a model takes longer than this to create.
    let slow = options().set("model.load_timeout", "1us");
    let running = slow.command().stderr(Stdio::piped()).output();
    let output = tokio::time::timeout(PATIENCE, running).await.expect("it ends by itself").unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    // The load goes on until the process has ended, and may log something of its own behind the error.
    assert!(log.contains("error: load a model within 1µs (model.load_timeout)"), "{log}");
    assert_eq!(output.status.code(), Some(1), "{log}");
}

#[tokio::test]
async fn a_graph_that_contradicts_its_contract_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut contract = model_fixture::contract(Layout::Ntc, Output::Probabilities);
    let graph = model_fixture::graph(&contract);
    contract.labels.push("fear".into());
    let file = model_fixture::write(folder.path(), graph, &contract);
    let (code, error, _) = fails(&Options::new().set("model.path", path(&file))).await;
    assert!(code == 1 && error.contains(path(&file)) && error.contains("labels"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["grpc.address", "http.address"] {
        fails_at_once(&Options::new().set(key, &address), 1, &[key, &address, "in use"]).await;
    }
}

#[tokio::test]
async fn an_unknown_key_stops_the_start() {
    let options = Options::new().set("grpc.adress", "127.0.0.1:0");
    fails_at_once(&options, 64, &["grpc.adress", "grpc.address"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("affectd.toml");
    std::fs::write(&file, "[window]\nhopp = \"1s\"\n").unwrap();
    fails_at_once(&Options::new().config(&file), 64, &["window.hopp", path(&file), "window.hop"]).await;
    let options = Options::new().env("AFFECTD__LIMITS__MAX_STREAMS", "many");
    fails_at_once(&options, 64, &["limits.max_streams", "many", "AFFECTD__LIMITS__MAX_STREAMS"]).await;
}

#[tokio::test]
async fn a_hop_that_is_not_a_whole_number_of_frames_stops_the_start() {
    let options = Options::new().set("window.hop", "15ms");
    fails_at_once(&options, 64, &["window.hop", "15ms", "10ms"]).await;
}

#[tokio::test]
async fn a_missing_onnx_runtime_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("libonnxruntime.so");
    let options = Options::new().env("ORT_DYLIB_PATH", path(&nowhere));
    fails_at_once(&options, 1, &["ONNX Runtime", path(&nowhere), "ORT_DYLIB_PATH"]).await;
    let text = folder.path().join("text.so");
    std::fs::write(&text, "this is no library").unwrap();
    let options = Options::new().set("engine.library", path(&text));
    fails_at_once(&options, 1, &["ONNX Runtime", path(&text), "engine.library"]).await;
}

/// Builds a library that reports the version of ONNX Runtime 1.20.1, with the C compiler that the build needs anyway.
fn too_old(folder: &Path) -> std::path::PathBuf {
    let (source, library) = (folder.join("old.c"), folder.join("libold.so"));
    let text = "static const char *version(void) { return \"1.20.1\"; }\n\
                static const void *api(unsigned wanted) { (void)wanted; return 0; }\n\
                static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = {api, version};\n\
                const void *OrtGetApiBase(void) { return &base; }\n";
    std::fs::write(&source, text).unwrap();
    let cc =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(cc.expect("a C compiler").success());
    library
}

#[tokio::test]
async fn an_outdated_onnx_runtime_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let library = too_old(folder.path());
    let options = Options::new().set("engine.library", path(&library));
    fails_at_once(&options, 1, &["ONNX Runtime", path(&library), "engine.library", "1.20.1", "1.24"]).await;
}

#[tokio::test]
async fn unreachable_brokers_stop_the_start() {
    let (code, error, _) =
        fails(&Options::new().set("kafka.brokers", NOTHING_LISTENS).set("kafka.start_timeout", "1s")).await;
    assert!(error.contains("kafka.brokers") && error.contains(NOTHING_LISTENS), "{error}");
    assert_eq!((code, error.matches("transport failure").count()), (1, 1), "{error}");
}

#[tokio::test]
async fn a_signal_ends_a_start_that_waits_for_brokers() {
    let mut daemon = Options::new().set("kafka.brokers", NOTHING_LISTENS).start_unready().await;
    daemon.terminate();
    assert_eq!(daemon.ended().await.code(), Some(0), "{}", daemon.log());
    assert!(!daemon.log().contains("error: "), "{}", daemon.log());
}

async fn closed(address: SocketAddr) {
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("the port is closed");
}

#[tokio::test]
async fn a_failed_start_in_a_running_process_closes_its_ports() {
    let bind = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listeners = Listeners { grpc: bind().await, http: bind().await, audiosocket: None };
    let ports = [listeners.grpc.local_addr().unwrap(), listeners.http.local_addr().unwrap()];
    let folder = tempfile::tempdir().unwrap();
    let model = model_fixture::tiny(folder.path(), Layout::Ntc, Output::Probabilities);
    let config = Config {
        models: vec![config::Model {
            path: Some(model),
            role: config::Role::Serving,
            limits: Default::default(),
        }],
        engine: model_fixture::engine(),
        window: config::Window { hop: Some(Duration::from_millis(15)), ..Config::default().window },
        ..Config::default()
    };
    let error = daemon::run(config, listeners, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, DaemonError::Model(_)), "{error}");
    for port in ports {
        closed(port).await;
    }
}

/// The warnings of a daemon that has started.
async fn warnings(settings: &[(&str, &str)]) -> Vec<String> {
    let (_folder, options) = crate::support::call_fixture::tiny();
    let options = settings.iter().fold(options, |options, (key, value)| options.set(key, value));
    let mut daemon = options.start().await;
    daemon.terminate();
    assert!(daemon.ended().await.success());
    let log = daemon.log();
    log.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_the_configuration_permits_or_names_without_effect_is_a_warning_at_the_start() {
    assert_eq!(warnings(&[("ingest.analyse", "customer"), ("privacy.keep", "FROM,channel")]).await, [""; 0]);
    for (settings, parts) in [
        ([("ingest.analyse", "")], &["ingest.analyse is empty", "article 5"][..]),
        ([("ingest.analyse", "customer,Agent")], &["ingest.analyse names agent", "article 5"]),
        ([("privacy.keep", "from,queue")], &["privacy.keep", "\"queue\"", "aniName"]),
        ([("calls.positive", "happiness,Boredom")], &["calls.positive", "\"Boredom\"", "labels are"]),
        ([("calls.negative", "ire")], &["calls.negative", "\"ire\"", "labels are"]),
    ] {
        let found = warnings(&settings).await;
        assert_eq!(found.len(), 1, "{settings:?}: {found:?}");
        assert!(parts.iter().all(|part| found[0].contains(part)), "{parts:?} in {found:?}");
    }
}
