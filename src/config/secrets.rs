//! Values that are read from a file or an environment variable which the configuration names.
//!
//! Input: the raw values of one key, `{ file = "..." }` or `{ env = "..." }` among them. Output: the value itself. Invariants: only
//! secrets and properties of librdkafka may name a source; a later layer overrides an earlier one, whichever way each of
//! them gives the value.

use config::ValueKind;

use super::ConfigError;
use super::keys::Key;
use super::layers::Raw;
use super::values::{RawValues, is_masked, reject};
use crate::kafka::ValueSource;

/// Removes the value of a key from `raw` and returns it; that of a secret may come from a file or a variable.
///
/// # Errors
/// A file that cannot be read or is empty, and a variable that is not set or is empty.
pub(super) fn take(
    raw: &mut RawValues,
    key: &Key,
    environment: &[(String, String)],
) -> Result<Option<Raw>, ConfigError> {
    let mut found = raw.remove(&key.name);
    if !is_masked(key) {
        return Ok(found);
    }
    for (suffix, source) in [("file", ValueSource::File), ("env", ValueSource::Environment)] {
        let name = format!("{}.{suffix}", key.name);
        let Some(Raw { kind, origin }) = raw.remove(&name) else { continue };
        let ValueKind::String(named) = &kind else {
            return Err(reject(&name, &kind, &origin, "text"));
        };
        let value = read(source, named, environment).and_then(not_empty);
        let value = value.map_err(|allowed| reject(&name, &kind, &origin, &allowed))?;
        let value = if key.schema["default"].is_array() { value.replace('\n', ",") } else { value };
        if found.as_ref().is_none_or(|found| origin.precedence() >= found.origin.precedence()) {
            found = Some(Raw { kind: value.into(), origin });
        }
    }
    Ok(found)
}

/// Reads a value from a file, without the line break at its end, or from a variable.
///
/// # Errors
/// What is allowed instead.
pub(super) fn read(
    source: ValueSource,
    name: &str,
    environment: &[(String, String)],
) -> Result<String, String> {
    match source {
        ValueSource::File => {
            let text =
                std::fs::read_to_string(name).map_err(|error| format!("a file with text ({error})"))?;
            Ok(text.strip_suffix('\n').map_or(text.as_str(), |line| line.trim_end_matches('\r')).to_owned())
        }
        ValueSource::Environment => {
            let found = environment.iter().find(|(variable, _)| variable == name);
            found
                .map(|(_, value)| value.clone())
                .ok_or_else(|| "the name of a variable that is set".to_owned())
        }
    }
}

fn not_empty(value: String) -> Result<String, String> {
    if value.trim().is_empty() { Err("a source that is not empty".to_owned()) } else { Ok(value) }
}
