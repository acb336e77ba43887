//! What the tests of the example clients in `deploy/examples` share: the tool that runs a client, and the check of a client.
//!
//! Input: the command of a client, whose arguments are `[--real-time] FILE HOST:PORT`. Invariant: a tool that is not installed skips its test and is
//! reported in one line; a tool that a variable of the environment names must work.

use std::io::Write;
use std::process::Output;
use std::time::{Duration, Instant};

use affectd::proto::EmotionEvent;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::daemon::{Options, affectd};
use crate::support::decoder_entries::file_fixture;
use crate::support::{PATIENCE, UNUSED_ADDRESS};

/// The text of a file of the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A program that runs clients.
pub struct Tool {
    program: String,
    /// The variable that names the program, if it is set.
    required_by: Option<&'static str>,
}

impl Tool {
    /// The program that `variable` names, or `program`.
    pub fn named(variable: &'static str, program: &str) -> Tool {
        match std::env::var(variable) {
            Ok(program) => Tool { program, required_by: Some(variable) },
            Err(_) => Tool { program: program.to_owned(), required_by: None },
        }
    }

    /// The program, without arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.kill_on_drop(true);
        command
    }

    /// Returns whether a trial run succeeded. If not, writes one line with `reason`, or panics where a variable requires the program.
    pub fn is_usable(&self, trial: std::io::Result<Output>, client: &str, reason: &str) -> bool {
        let error = match trial {
            Ok(output) if output.status.success() => return true,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let program = &self.program;
        if let Some(variable) = self.required_by {
            panic!("{variable} = {program}: {reason}\n{error}");
        }
        // Written to stderr itself, because the test runner hides what a passing test prints.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "the {client} client was not run: {program}: {reason}").unwrap();
        false
    }
}

/// Runs a command to its end.
pub async fn run(mut command: Command) -> std::io::Result<Output> {
    command.kill_on_drop(true);
    timeout(PATIENCE, command.output()).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Checks a client against a daemon: the events of samples, the speed, a refused stream, and a server that is not there.
pub async fn check_client(client: impl Fn() -> Command, samples: &[&str]) {
    let daemon = Options::new().set("engine.device", "cpu").set("vad.mode", "off").start().await;
    let server = daemon.grpc.to_string();
    for sample in samples {
        let recording = format!("{}/deploy/samples/{sample}.wav", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(printed(&client, &[&recording, &server]).await, expected(&recording).await, "{sample}");
    }

    let folder = tempfile::tempdir().unwrap();
    let wav = |name: &str, rate_hz: u32| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        let audio: Vec<u8> = (0..64_000_u32).map(|index| (index % 251) as u8).collect();
        std::fs::write(&path, file_fixture::wav(1, 16, 1, rate_hz, &audio)).unwrap();
        path
    };
    let (short, began) = (wav("short.wav", 16_000), Instant::now());
    assert_eq!(printed(&client, &["--real-time", &short, &server]).await, expected(&short).await);
    assert!(began.elapsed() >= Duration::from_millis(1_900), "2 s of audio in {:?}", began.elapsed());

    let refused = failure(&client, &[&wav("slow.wav", 4_000), &server]).await;
    assert!(refused.starts_with("INVALID_ARGUMENT: format.sample_rate_hz = 4000: "), "{refused}");
    let unreachable = failure(&client, &[&short, UNUSED_ADDRESS]).await;
    assert!(unreachable.starts_with("UNAVAILABLE: "), "{unreachable}");
}

/// The lines that a client prints, sorted, because events of two channels come in any order; panics if it fails.
async fn printed(client: &impl Fn() -> Command, arguments: &[&str]) -> Vec<String> {
    let mut command = client();
    command.args(arguments);
    let done = run(command).await.unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    let mut lines: Vec<String> = String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What a client that must fail writes to stderr.
async fn failure(client: &impl Fn() -> Command, arguments: &[&str]) -> String {
    let mut command = client();
    command.args(arguments);
    let done = run(command).await.unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0), "{arguments:?}: {done:?}");
    String::from_utf8(done.stderr).unwrap()
}

/// The events of a recording as a client prints them, by the code that serves, sorted as in [`printed`].
async fn expected(recording: &str) -> Vec<String> {
    let arguments = ["analyze", recording, "--format", "jsonl", "--set", "vad.mode=off"];
    let analyzed = affectd().args(arguments).output().await.unwrap();
    let seconds = |time: &Option<pbjson_types::Duration>| {
        let time = time.as_ref().expect("every event has its times");
        time.seconds as f64 + f64::from(time.nanos) / 1e9
    };
    let line = |json: &str| {
        let event: EmotionEvent = serde_json::from_str(json).unwrap();
        let (start, end) = (seconds(&event.start), seconds(&event.end));
        format!("{start:.1} - {end:.1} s  {}  {:.2}", event.emotion, event.confidence)
    };
    let mut lines: Vec<String> = String::from_utf8(analyzed.stdout).unwrap().lines().map(line).collect();
    assert!(!lines.is_empty(), "{recording}: no events");
    lines.sort();
    lines
}
