//! What can be wrong with a configuration, each with the key, the value, its origin and what is allowed.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, in rising order of precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A TOML file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// `--set` or another flag, by name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Environment(variable) => out.write_str(variable),
            Self::Flag(flag) => out.write_str(flag),
        }
    }
}

/// A configuration that cannot be used. Nothing has been started when it is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is not TOML.
    #[error("configuration file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why, in one line.
        reason: String,
    },
    /// No such key.
    #[error("unknown configuration key `{key}` (from {origin}){}", suggestion(nearest))]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// Who wrote it.
        origin: Origin,
        /// A known key that is written much like it.
        nearest: Option<&'static str>,
    },
    /// A value that is not allowed.
    #[error("configuration key `{key}`: {value} (from {origin}) is not allowed: expected {allowed}")]
    Value {
        /// The key.
        key: String,
        /// The value, quoted where it is text, masked where it is secret.
        value: String,
        /// Who wrote it.
        origin: Origin,
        /// What would have been accepted.
        allowed: String,
    },
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    match nearest {
        Some(key) => format!(": did you mean `{key}`?"),
        None => "; `affectd config print` lists all keys".to_owned(),
    }
}
