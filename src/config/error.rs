//! The errors of a configuration, each with the key, the value, its origin and what is allowed.
//!
//! Input: what validation found. Output: one line of text. Invariants: no error shows a secret.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, in rising order of precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueOrigin {
    /// The default.
    Default,
    /// A TOML file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// `--set` or another flag, by name.
    Flag(String),
}

impl ValueOrigin {
    /// Returns the place of the layer in the order of precedence.
    pub(super) fn precedence(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment(variable) => out.write_str(variable),
            Self::Flag(flag) => out.write_str(flag),
        }
    }
}

/// A configuration that cannot be used. It is returned before anything has started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is not TOML.
    #[error("configuration file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason, in one line.
        reason: String,
    },
    /// The key does not exist.
    #[error("unknown configuration key `{key}` (from {origin}){}", suggestion(nearest))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Where the key was set.
        origin: ValueOrigin,
        /// A known key with a similar spelling.
        nearest: Option<&'static str>,
    },
    /// The value is not allowed.
    #[error("configuration key `{key}`: {value} (from {origin}) is not allowed: expected {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value, quoted where it is text, masked where it is secret.
        value: String,
        /// Where the value was set.
        origin: ValueOrigin,
        /// The values that are allowed.
        allowed: String,
    },
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(key) => format!(": did you mean `{key}`?"),
        None => "; `affectd config print` lists all keys".to_owned(),
    }
}
