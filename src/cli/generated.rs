//! `affectd completions` and `affectd man`: what is generated from the definition of the commands.
//!
//! Input: the name of a shell, or nothing. Output: a completion script, or a manual page in roff, on stdout. Invariants: the text
//! is complete before anything is written, so a closed pipe is an error that the caller can handle.

use std::io::{self, Write};

use clap::CommandFactory;

/// Arguments of `affectd completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Writes the completion script of a shell.
pub fn completions(args: &CompletionArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "affectd", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// Writes the manual page.
pub fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(super::Cli::command()).render(&mut page)?;
    Ok(io::stdout().write_all(&page)?)
}
