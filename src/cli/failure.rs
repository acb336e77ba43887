//! The error of a command: its text in one line on stderr, and the exit code of the process.

use super::{UsageError, environment};
use crate::config::ConfigError;
use crate::daemon::DaemonError;
use crate::security::SecurityError;
use crate::serving::ReloadError;
use crate::stream::SetupError;
use crate::telemetry::stderr;
use crate::window::GeometryError;

pub(super) const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const WRONG_USAGE: u8 = 2;
const INVALID_CONFIGURATION: u8 = 64;

/// Returns the text of an error in one line, and its exit code, which depends on the types of errors anywhere in the chain of causes.
pub(super) fn report(error: &anyhow::Error) -> u8 {
    if error.chain().any(is_broken_pipe) {
        return SUCCESS;
    }
    stderr::write_last(&format!("error: {}", one_line(error)));
    if error.chain().any(is_configuration) {
        INVALID_CONFIGURATION
    } else if error.chain().any(|cause| cause.is::<UsageError>()) {
        WRONG_USAGE
    } else {
        FAILURE
    }
}

/// Returns whether the reader of stdout has closed it. The writer of CSV holds the error of the pipe without being its cause.
fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    let csv = cause.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
        csv::ErrorKind::Io(error) => Some(error),
        _ => None,
    });
    let io = cause.downcast_ref::<std::io::Error>().or(csv);
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Returns whether a value of the configuration caused the error. Some values can be checked only together with the model.
fn is_configuration(cause: &(dyn std::error::Error + 'static)) -> bool {
    let setup = match cause.downcast_ref() {
        Some(DaemonError::Model(ReloadError::Setup(setup))) => Some(setup),
        _ => cause.downcast_ref(),
    };
    cause.is::<ConfigError>()
        || cause.is::<environment::EnvironmentError>()
        || cause.is::<SecurityError>()
        || matches!(
            setup,
            Some(SetupError::Geometry(GeometryError::Hop { .. }) | SetupError::VoiceActivity { .. })
        )
}

/// Joins the chain of causes. A cause whose text an outer error already contains is left out.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{cause}");
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ")
}
