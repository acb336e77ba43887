//! The Node client of `deploy/examples/node`, run against a daemon.
//!
//! The test needs `node` (or the program that `AFFECTD_TEST_NODE` names) and `npm`, which installs the locked packages into a copy of the example
//! below `target`. Without them it reports in one line that it did not run; where `AFFECTD_TEST_NODE` is set, it fails instead.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::examples::{Tool, check_client, run};

const EXAMPLE: &str = "deploy/examples/node";

/// Copies the files of a folder, without its folders.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A copy of the example and of the protocol, in the same places relative to each other.
fn copy() -> PathBuf {
    let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let to = to.join("node-client");
    for folder in ["proto/affectd/v1", EXAMPLE] {
        copy_files(&from.join(folder), &to.join(folder));
    }
    to.join(EXAMPLE)
}

/// Installs the packages that the lock file lists.
async fn install(example: &Path) -> std::io::Result<std::process::Output> {
    let mut npm = Command::new("npm");
    let flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"];
    npm.arg("ci").args(flags).current_dir(example);
    run(npm).await
}

#[tokio::test]
async fn the_client_prints_the_events_of_recordings() {
    let node = Tool::named("AFFECTD_TEST_NODE", "node");
    if !node.is_usable(node.command().arg("--version").output().await, "Node", "it does not run") {
        return;
    }
    let example = copy();
    if !node.is_usable(install(&example).await, "Node", "npm ci cannot install its packages") {
        return;
    }
    let client = || {
        let mut command = node.command();
        command.arg(example.join("recognize.js"));
        command
    };
    check_client(client, &["calm", "call-stereo-mulaw"]).await;
}
