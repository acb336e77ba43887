//! Logs: to stderr, as text or as JSON lines. Results never go through here.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Refuses what `tracing` cannot read, so that a typing error is a usage error.
pub fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Starts logging, once in a process: `--log-level`, else `RUST_LOG`, else the command's default.
pub fn start(format: LogFormat, level: Option<&str>, default_level: &str) {
    let directives = level.map(str::to_owned).or_else(|| std::env::var("RUST_LOG").ok());
    let filter = directives
        .filter(|directives| !directives.trim().is_empty())
        .and_then(|directives| EnvFilter::try_new(directives).ok())
        // The engine's own notes are for whoever asks for them.
        .unwrap_or_else(|| EnvFilter::new(format!("{default_level},ort=warn")));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A second start in one process (tests) keeps the first one's settings.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
