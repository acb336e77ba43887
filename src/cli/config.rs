//! `affectd config`: the effective configuration and where each value came from, its validation, and its JSON Schema.
//!
//! Input: the loaded configuration. Output: TOML or JSON on stdout, or the result of the check. Invariants: no output shows a secret.

use std::io::{self, Write};

use crate::config::{self, KAFKA_PROPERTIES, Setting};

/// Arguments of `affectd config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the configuration.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Every key with its value and where that came from
    Print {
        /// table: a TOML file with comments; json: one object
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Validate the configuration and whether it fits this machine: print ok, or the first error (exit code 64)
    Check {
        /// Check only the values: load no model, use no address, and do not ask librdkafka
        #[arg(long)]
        offline: bool,
    },
    /// Print the JSON Schema of the configuration file, which editors use for completion and checks
    Schema,
}

/// How the configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A TOML file with comments.
    Table,
    /// One object: each key with its value and origin.
    Json,
}

/// Runs the command. The configuration is valid: an invalid one has ended the process before.
///
/// # Errors
/// A write to stdout that fails, and what the check of the environment finds.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    if let Action::Check { .. } = args.action {
        context.loaded.check_exposure()?;
    }
    if let Action::Check { offline: false } = args.action {
        let loaded = context.loaded.clone();
        tokio::task::spawn_blocking(move || super::environment::check(&loaded)).await??;
    }
    let mut out = io::stdout().lock();
    match args.action {
        Action::Check { .. } => writeln!(out, "configuration ok")?,
        Action::Schema => writeln!(out, "{:#}", config::schema())?,
        Action::Print { format: Format::Table } => write_toml(&mut out, &context.loaded.settings)?,
        Action::Print { format: Format::Json } => {
            writeln!(out, "{:#}", to_json(&context.loaded.settings))?;
        }
    }
    Ok(())
}

/// Writes a file that results in this configuration, with the origin of each value beside it.
fn write_toml(out: &mut impl Write, settings: &[Setting]) -> io::Result<()> {
    let mut section = "";
    for setting in settings {
        let (name, key) = match setting.key.strip_prefix(KAFKA_PROPERTIES) {
            Some(property) => ("kafka.properties", format!("{property:?}")),
            // A key of a list (`model.0.path`) or of a nested table (`ingest.twilio.inbound`).
            None if setting.key.matches('.').count() == 2 => {
                setting.key.rsplit_once('.').map_or(("", String::new()), |(name, key)| (name, key.into()))
            }
            None => setting.key.split_once('.').map_or(("", String::new()), |(name, key)| (name, key.into())),
        };
        if name != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            match name.split_once('.') {
                Some((list, index)) if index.parse::<usize>().is_ok() => writeln!(out, "{gap}[[{list}]]")?,
                _ => writeln!(out, "{gap}[{name}]")?,
            }
            section = name;
        }
        let line = match &setting.value {
            Some(value) if setting.is_text => format!("{key} = {value:?}"),
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key}"),
        };
        let origin = if setting.value.is_some() { setting.origin.to_string() } else { "not set".to_owned() };
        writeln!(out, "{line:<44} # {origin}")?;
    }
    Ok(())
}

fn to_json(settings: &[Setting]) -> serde_json::Value {
    let value = |setting: &Setting| match &setting.value {
        Some(value) if setting.is_text => value.clone().into(),
        Some(value) => serde_json::from_str(value).unwrap_or_else(|_| value.clone().into()),
        None => serde_json::Value::Null,
    };
    settings
        .iter()
        .map(|setting| {
            let entry = serde_json::json!({"value": value(setting), "origin": setting.origin.to_string()});
            (setting.key.clone(), entry)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}
