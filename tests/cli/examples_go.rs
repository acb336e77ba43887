//! The Go client of `deploy/examples/go`: its generated code has the fields of the protocol, and it works against a daemon.
//!
//! The last test needs `go`, or the program that `AFFECTD_TEST_GO` names, which fetches the pinned modules. Without them it reports in one line that
//! it did not run; where `AFFECTD_TEST_GO` is set, it fails instead.

use tokio::process::Command;

use super::examples::{Tool, check_client, run, text};

const EXAMPLE: &str = "deploy/examples/go";

/// The names and numbers of the fields and enumeration values of a file of the protocol.
fn numbered(proto: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let (name, number) = line.trim().strip_suffix(';')?.rsplit_once(" = ")?;
        number.parse::<u32>().ok()?;
        Some((name.rsplit(' ').next()?.to_owned(), number.to_owned()))
    };
    text(proto).lines().filter_map(entry).collect()
}

/// Returns whether a line of generated code declares the field or the value `name` with `number`.
fn declares(line: &str, name: &str, number: &str) -> bool {
    let mut tag = line.split("protobuf:\"").nth(1).unwrap_or_default().split(',');
    let is_field = tag.nth(1) == Some(number) && tag.any(|part| part == format!("name={name}"));
    is_field || line.trim_end_matches(',').trim().replace(' ', "") == format!("\"{name}\":{number}")
}

#[test]
fn the_generated_code_has_every_field_of_the_protocol() {
    for name in ["audio", "emotion", "recognition"] {
        let generated = text(&format!("{EXAMPLE}/affectdv1/{name}.pb.go"));
        let entries = numbered(&format!("proto/affectd/v1/{name}.proto"));
        assert!(!entries.is_empty(), "{name}.proto has fields");
        for (entry, number) in entries {
            assert!(
                generated.lines().any(|line| declares(line, &entry, &number)),
                "{name}.proto: {entry} = {number} is not in the Go code; run {EXAMPLE}/generate.sh"
            );
        }
    }
}

#[tokio::test]
async fn the_client_prints_the_events_of_recordings() {
    let go = Tool::named("AFFECTD_TEST_GO", "go");
    let program = format!("{}/go-client", env!("CARGO_TARGET_TMPDIR"));
    let mut build = go.command();
    let example = format!("{}/{EXAMPLE}", env!("CARGO_MANIFEST_DIR"));
    build.args(["build", "-o", &program, "."]).current_dir(example);
    if !go.is_usable(run(build).await, "Go", "it does not run or cannot fetch the modules of go.mod") {
        return;
    }
    check_client(|| Command::new(&program), &["calm", "call-stereo-mulaw"]).await;
}
