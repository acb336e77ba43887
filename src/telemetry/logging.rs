//! Logging to stderr, as text or JSON lines.
//!
//! Input: `--log-level`, `--log-format` and `RUST_LOG`. Output: a global subscriber. Invariants: results are written to
//! stdout and never logged; an event is one line, and text of users in it cannot control a terminal.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::log_writer::LogWriter;
use super::stderr::Stderr;

/// The format of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// Validates filter directives, so that an invalid one is a usage error.
pub fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging, once in a process. The level is `--log-level`, or `RUST_LOG`, or the command's default.
pub fn start(format: LogFormat, level: Option<&str>, default_level: &str) {
    let directives = level.map(str::to_owned).or_else(|| std::env::var("RUST_LOG").ok());
    // The audio decoders log every oddity of a file, beside the error that this program reports for it. They are silent
    // unless the directives name them.
    let filter = directives
        .filter(|directives| !directives.trim().is_empty())
        .and_then(|directives| EnvFilter::try_new(format!("symphonia=off,{directives}")).ok())
        // The informational messages of ONNX Runtime are off by default.
        .unwrap_or_else(|| EnvFilter::new(format!("symphonia=off,{default_level},ort=warn")));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let writer = move || LogWriter::new(Stderr, colour);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colour);
    // A second start in one process, as in tests, keeps the settings of the first.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
