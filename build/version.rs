//! Writes the text of `affectd --version`: package version, commit, version of ONNX Runtime and features.
//!
//! Input: git, or the variable `AFFECTD_COMMIT` for builds outside a repository, and the variables of cargo. Output: the
//! variables `AFFECTD_BUILD`, `AFFECTD_ONNXRUNTIME` and `AFFECTD_FEATURES` for the crate. Invariants: only release builds depend on the commit, so that a commit does
//! not rebuild the tests.

use std::path::Path;
use std::process::Command;

/// Sets the variables for the compilation of the crate; `onnxruntime` is the version that the build pins.
pub fn describe(onnxruntime: &str) {
    println!("cargo::rerun-if-env-changed=AFFECTD_COMMIT");
    println!("cargo::rerun-if-changed=build/version.rs");
    let package = std::env::var("CARGO_PKG_VERSION").expect("cargo sets CARGO_PKG_VERSION");
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let build = if release { format!("commit {}", commit()) } else { "debug build".to_owned() };
    let bundled = has("BUNDLED_ONNXRUNTIME");
    let runtime = if bundled {
        format!("{onnxruntime}, beside the executable")
    } else {
        "the library of ORT_DYLIB_PATH".to_owned()
    };
    let features = ["BUNDLED_ONNXRUNTIME", "CUDA", "TENSORRT", "TRAIN"].into_iter().filter(|name| has(name));
    let features: Vec<String> = features.map(|name| name.to_lowercase().replace('_', "-")).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    // The value of a variable cannot hold line breaks.
    println!("cargo::rustc-env=AFFECTD_BUILD={package} ({build})");
    println!("cargo::rustc-env=AFFECTD_ONNXRUNTIME={runtime}");
    println!("cargo::rustc-env=AFFECTD_FEATURES={features}");
}

fn has(feature: &str) -> bool {
    std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
}

/// Returns the commit, or `unknown` outside a repository.
fn commit() -> String {
    if let Ok(commit) = std::env::var("AFFECTD_COMMIT")
        && !commit.is_empty()
    {
        return commit;
    }
    // The log of HEAD changes with every commit and checkout.
    let paths = git(&["rev-parse", "--git-path", "HEAD", "--git-path", "logs/HEAD"]).unwrap_or_default();
    for path in paths.lines().filter(|path| Path::new(path).exists()) {
        println!("cargo::rerun-if-changed={path}");
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if changed { format!("{commit}, with changes") } else { commit }
}

/// Returns the output of a git command; `None` where git is missing or reports an error.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
