//! Logs: written to stderr, as text or as JSON lines.
//!
//! Input: `tracing` events. Output: lines on stderr. Invariant: results of commands are written to stdout, never as logs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The format of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text lines for people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// Checks a filter directive of `tracing`, so that a typing error becomes a usage error.
///
/// # Errors
/// Returns the parser's message.
pub fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging in this process. The level is `level` (`--log-level`), or else `RUST_LOG`, or else `default_level`.
pub fn start(format: LogFormat, level: Option<&str>, default_level: &str) {
    let directives = level.map(str::to_owned).or_else(|| std::env::var("RUST_LOG").ok());
    let filter = directives
        .filter(|directives| !directives.trim().is_empty())
        .and_then(|directives| EnvFilter::try_new(directives).ok())
        // ONNX Runtime logs at info level what is of interest for debugging only.
        .unwrap_or_else(|| EnvFilter::new(format!("{default_level},ort=warn")));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A second start in one process, as in tests, keeps the settings of the first one.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
