//! The Python client of `deploy/examples/python`: it is the one in the documentation, it is short, and it works against a daemon.
//!
//! The last test needs a Python with `grpcio` and `grpcio-tools`: `python3`, or the interpreter that `AFFECTD_TEST_PYTHON` names. Without
//! them it reports in one line that it did not run; where `AFFECTD_TEST_PYTHON` is set, it fails instead.

use super::examples::{Tool, check_client, text};

const CLIENT: &str = "deploy/examples/python/recognize.py";
const LINES: usize = 50;

#[test]
fn the_client_in_the_documentation_is_the_example() {
    let page = text("docs/grpc.md");
    let code = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    assert!(code == Some(&text(CLIENT)), "the Python block of docs/grpc.md must be the text of {CLIENT}");
}

#[test]
fn the_client_is_short() {
    let lines = text(CLIENT).lines().count();
    assert!(lines <= LINES, "{CLIENT} has {lines} lines, allowed are {LINES}");
}

#[tokio::test]
async fn the_client_prints_the_events_of_a_recording() {
    let python = Tool::named("AFFECTD_TEST_PYTHON", "python3");
    let import = python.command().args(["-c", "import grpc, grpc_tools"]).output().await;
    let reason = "it cannot import grpc and grpc_tools (pip install grpcio grpcio-tools)";
    if !python.is_usable(import, "Python", reason) {
        return;
    }
    let client = || {
        let mut command = python.command();
        command.arg(format!("{}/{CLIENT}", env!("CARGO_MANIFEST_DIR")));
        command
    };
    check_client(client, &["calm"]).await;
}
