//! The page in a browser: `tests/web/page.mjs` with Chromium, against a daemon with authentication and with made-up calls.
//!
//! The test needs Node, npm (which installs the locked packages into a copy below `target`) and `/usr/bin/chromium`, or the browser that
//! `AFFECTD_TEST_CHROMIUM` names. Without them it reports in one line that it did not run; where the variable is set, it fails instead.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::examples::{Tool, run};
use crate::support::credentials::{token, tokens_file};
use crate::support::daemon::Options;

/// Longer than the checks take on a slow machine, which draws the page without a graphics card.
const PATIENCE: Duration = Duration::from_secs(600);
const VARIABLE: &str = "AFFECTD_TEST_CHROMIUM";
const SCRIPTS: &str = "tests/web";

/// Copies the scripts and the built page, in the same places relative to each other.
fn copy() -> PathBuf {
    let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let to = to.join("page");
    for folder in ["web/dist", SCRIPTS] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    to.join(SCRIPTS)
}

async fn install(scripts: &Path) -> std::io::Result<std::process::Output> {
    let mut npm = Command::new("npm");
    let flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1"];
    npm.arg("ci").args(flags).current_dir(scripts);
    run(npm).await
}

#[tokio::test]
async fn the_page_works_in_a_browser_at_desktop_and_phone_width_light_and_dark() {
    let browser = Tool::named(VARIABLE, "/usr/bin/chromium");
    let mut version = browser.command();
    version.args(["--no-sandbox", "--version"]);
    if !browser.is_usable(run(version).await, "page", "it does not run") {
        return;
    }
    let scripts = copy();
    if !browser.is_usable(install(&scripts).await, "page", "npm ci cannot install its packages") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let token = token(folder.path(), "supervisor", "read,recognize");
    let options = Options::new().set("engine.device", "cpu").set("calls.linger", "0s");
    let daemon = options.set("auth.tokens", tokens_file(folder.path()).to_str().unwrap()).start().await;
    let recording = format!("{}/deploy/samples/angry.wav", env!("CARGO_MANIFEST_DIR"));
    let mut script = Command::new("node");
    let url = format!("http://{}", daemon.http);
    script.args([scripts.join("page.mjs").to_str().unwrap(), &url, &token, &recording]);
    script.kill_on_drop(true);
    let output = timeout(PATIENCE, script.output()).await.expect("the script ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
