//! `affectd token create`: a new bearer token and its entry for the file of `auth.tokens`.
//!
//! Input: a name and scopes. Output: the token once, and the entry with its hash. Invariants: nothing else holds the token afterwards.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use crate::security::{NewToken, Scopes};

/// Arguments of `affectd token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Create a bearer token: prints the token once, and the entry for the file of auth.tokens
    Create {
        /// What the token allows: recognize, evaluate, read and admin, separated by commas
        #[arg(long, value_name = "SCOPE,SCOPE,...")]
        scope: Scopes,
        /// The principal that the token stands for; several tokens may have one name
        #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: String,
        /// Days after which the token expires [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        days: Option<u64>,
        /// Write the token to this new file, readable by its owner only, rather than to stdout
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Append the entry to this file rather than print it
        #[arg(long, value_name = "FILE.toml")]
        append_to: Option<PathBuf>,
    },
}

/// Runs the command.
///
/// # Errors
/// Returns an error where a file cannot be written; a token file that exists is not overwritten.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Action::Create { scope, name, days, token_file, append_to } = args.action;
    let expires = days.map(|days| SystemTime::now() + Duration::from_secs(days * 86_400));
    let NewToken { token, entry } = NewToken::create(&name, scope, expires)?;
    let mut out = io::stdout().lock();
    match token_file {
        Some(path) => write_private(&path, &token).with_context(|| format!("write {}", path.display()))?,
        None => writeln!(out, "{token}")?,
    }
    match append_to {
        Some(path) => append(&path, &entry).with_context(|| format!("append to {}", path.display()))?,
        None => write!(out, "{entry}")?,
    }
    Ok(())
}

fn write_private(path: &Path, token: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")
}

fn append(path: &Path, entry: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    // One write, so that a daemon never reads half an entry.
    file.write_all(format!("\n{entry}").as_bytes())
}
