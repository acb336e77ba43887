//! The command line: one file a command.
//!
//! Input: arguments. Output: results on stdout, logs and one line per error on stderr, and the exit code: 0 for success, 1 for a failure, 2 for wrong
//! usage, 64 for an invalid configuration, 130 for a training that Ctrl-C ends without a model. A closed pipe on stdout ends a command without an error.

pub mod analyze;
#[cfg(feature = "train")]
mod augmentation;
pub mod bench;
mod channels;
pub mod config;
mod connection;
pub mod demo;
pub mod dlq;
mod environment;
pub mod evaluate;
mod event_table;
pub mod exit;
mod failure;
pub mod features;
pub mod generated;
pub mod isolation;
pub mod load;
pub mod model;
pub mod offsets;
mod protocol;
mod recordings;
pub mod rules;
mod samples;
mod scheduling;
pub mod send;
pub mod serve;
mod streams;
pub mod tail;
pub mod token;
#[cfg(feature = "train")]
pub mod train;

use std::path::PathBuf;

use anyhow::Context as _;

use self::failure::{SUCCESS, one_line, report};
use crate::config::{LoadOptions, Loaded, Scheduling};
use crate::telemetry::logging::{self, LogFormat};

/// The text of `--version`; `-V` prints only the number.
const LONG_VERSION: &str = concat!(
    env!("AFFECTD_BUILD"),
    "\nONNX Runtime ",
    env!("AFFECTD_ONNXRUNTIME"),
    "\nfeatures: ",
    env!("AFFECTD_FEATURES")
);

/// Recognises emotion in speech and publishes it.
#[derive(Debug, clap::Parser)]
#[command(version, long_version = LONG_VERSION, about, max_term_width = 100)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// TOML file with the configuration [default: the one that AFFECTD_CONFIG names, else none]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key of the configuration, over file and environment; repeatable
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<(String, String)>,
    /// Format of the logs on stderr
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Level of the logs: error, warn, info, debug, trace, or directives as in RUST_LOG
    /// [default: RUST_LOG, else info for serve and warn for the others]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = logging::parse_filter)]
    pub log_level: Option<String>,
}

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(serve::Args),
    /// Show events: daemon and sample speech in one process
    Demo(demo::Args),
    /// The timeline of a recording
    Analyze(analyze::Args),
    /// Accuracy, recall, F1 and confusion matrix on labelled data
    Evaluate(evaluate::Args),
    /// Train a model and write it as one ONNX file
    #[cfg(feature = "train")]
    Train(Box<train::Args>),
    /// Train a model and write it as one ONNX file
    #[cfg(not(feature = "train"))]
    Train(TrainMissing),
    /// The feature matrix that a model receives
    Features(features::Args),
    /// Stream recordings as a client would
    Send(send::Args),
    /// The published events, live
    Tail(tail::Args),
    /// The events of a daemon, live
    Watch(tail::WatchArgs),
    /// Send many streams to a daemon and measure it
    Load(load::Args),
    /// The dead letters: list them, or write their records to the input again
    Dlq(dlq::Args),
    /// The consumer group: lag, open streams and their positions
    Offsets(offsets::Args),
    /// The model's contract
    Model(model::Args),
    /// Bearer tokens
    Token(token::Args),
    /// The effective configuration
    Config(config::Args),
    /// The rules of alerts
    Rules(rules::Args),
    /// A completion script for a shell
    Completions(generated::CompletionArgs),
    /// The manual page, in roff
    Man,
}

/// The arguments of `affectd train` in a build without the trainer; all of them are ignored.
#[cfg(not(feature = "train"))]
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct TrainMissing {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<String>,
}

/// What every command receives besides its own arguments.
#[derive(Debug, Clone)]
pub struct Context {
    /// The valid configuration and where each value came from.
    pub loaded: Loaded,
    /// The arguments of `--set`: key, value and the name of the flag.
    pub flags: Vec<(String, String, String)>,
}

/// Arguments that only the command itself can reject: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Returns `[kafka]` for a command that works with it.
///
/// # Errors
/// Where `kafka.brokers` is not set.
fn kafka_of(context: &Context) -> anyhow::Result<crate::config::Kafka> {
    let unset = || UsageError("set kafka.brokers: --set kafka.brokers=localhost:9092".to_owned());
    Ok(context.loaded.config.kafka.clone().ok_or_else(unset)?)
}

/// Runs one command and returns the exit code of the process.
#[must_use]
pub fn run(cli: Cli) -> u8 {
    let serving = matches!(cli.command, Command::Serve(_));
    // The binding of ONNX Runtime warns about every version but one, and the file decoders log every file that they reject.
    logging::start(
        cli.global.log_format,
        cli.global.log_level.as_deref(),
        if serving { "info,ort=warn" } else { "warn" },
    );
    let options = load_options(&cli.global);
    let loaded = match crate::config::load(&options) {
        Ok(loaded) => loaded,
        Err(error) => return report(&error.into()),
    };
    if serving && loaded.config.limits.scheduling == Scheduling::Batch {
        scheduling::use_batch_scheduling();
    }
    let runtime = match tokio::runtime::Runtime::new().context("start the runtime") {
        Ok(runtime) => runtime,
        Err(error) => return report(&error),
    };
    let result = runtime.block_on(dispatch(cli.command, Context { loaded, flags: options.flags }));
    // The command is complete: a thread that still waits for a broker must not keep the process alive.
    runtime.shutdown_background();
    result.map_or_else(|error| report(&error), |()| SUCCESS)
}

async fn dispatch(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::run(args, context).await,
        Command::Demo(args) => demo::run(args, context).await,
        Command::Analyze(args) => analyze::run(args, context).await,
        Command::Evaluate(args) => evaluate::run(args, context).await,
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(*args, context).await,
        #[cfg(not(feature = "train"))]
        Command::Train(_) => Err(UsageError(
            "this build has no trainer; build one with `cargo build --release --features train`".to_owned(),
        )
        .into()),
        Command::Features(args) => features::run(args, context).await,
        Command::Send(args) => send::run(args, context).await,
        Command::Tail(args) => tail::run(args, context).await,
        Command::Watch(args) => tail::watch(args, context).await,
        Command::Load(args) => load::run(args, context).await,
        Command::Dlq(args) => dlq::run(args, context).await,
        Command::Offsets(args) => offsets::run(args, context).await,
        Command::Model(args) => model::run(args, context).await,
        Command::Token(args) => token::run(args),
        Command::Config(args) => config::run(args, context).await,
        Command::Rules(args) => rules::run(args, context).await,
        Command::Completions(args) => generated::completions(&args),
        Command::Man => generated::man(),
    }
}

fn load_options(global: &Global) -> LoadOptions {
    let variable = || std::env::var_os("AFFECTD_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let flag = |(key, value): &(String, String)| (key.clone(), value.clone(), "--set".to_owned());
    LoadOptions {
        file: global.config.clone().or_else(variable),
        environment: environment_variables(),
        flags: global.set.iter().map(flag).collect(),
    }
}

/// Returns the environment variables whose names are text.
fn environment_variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}

/// Installs handlers for SIGINT and SIGTERM at once, and returns a future that completes on the first signal.
fn signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    pair.filter(|(key, _)| key.contains('.')).ok_or_else(|| "expected SECTION.KEY=VALUE".to_owned())
}
