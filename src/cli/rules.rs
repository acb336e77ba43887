//! `affectd rules`: the rules of alerts, and the alerts that they would have raised on recordings.
//!
//! Input: the configuration with its `[[alert]]` rules, and recordings. Output: the rules as sentences, or alerts. Invariants: no network connection is
//! opened; recordings are analysed by the daemon's code.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::analyze::{Analyzer, of_recording};
use super::channels::ChannelArgs;
use super::event_table::seconds;
use super::recordings;
use super::streams::first_of;
use crate::audio::AudioFile;
use crate::calls::alerts::{AlertEvaluator, ChannelChoice, RAISED, Seen};
use crate::calls::{Valences, count_window};
use crate::config::{self, AlertRule, Config, LoadOptions, Loaded, Role};
use crate::model::ModelSource;
use crate::proto::Alert;
use crate::publish::stream_states::StreamStates;
use crate::serving::{Recipient, WindowEnvelope};
use crate::stream::{StreamCall, StreamInfo};
use crate::telemetry::{excerpt, excerpt_of_list};

/// Arguments of `affectd rules`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the rules.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Validate the rules and print each as a sentence, or the first error (exit code 64)
    Check {
        /// Configuration file with the rules [default: the configuration of the command]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// The alerts that the rules raise and clear on recordings
    Replay(ReplayArgs),
}

/// Arguments of `affectd rules replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Recordings, folders of recordings, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The format of the alerts
    #[arg(long, value_enum, default_value = "table")]
    pub format: AlertFormat,
    /// ONNX file [default: the configured model, else the built-in one]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// The channel options.
    #[command(flatten)]
    pub channels: ChannelArgs,
}

/// The format of alerts on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AlertFormat {
    /// Aligned columns
    Table,
    /// proto3 JSON, one alert per line
    Jsonl,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    match args.action {
        Action::Check { file: None } => check(&context.loaded),
        Action::Check { file } => {
            let environment = super::environment_variables();
            check(&config::load(&LoadOptions { file, environment, flags: context.flags })?)
        }
        Action::Replay(args) => {
            let config = context.loaded.config;
            let replay = tokio::task::spawn_blocking(move || replay(&args, &config));
            replay.await.context("the analysis panicked")?
        }
    }
}

fn check(loaded: &Loaded) -> anyhow::Result<()> {
    let rules = &loaded.config.alerts;
    check_labels(loaded)?;
    let mut out = io::stdout().lock();
    if rules.is_empty() {
        writeln!(out, "no rules: the configuration has no [[alert]]")?;
    }
    for rule in rules {
        writeln!(out, "{} ({}): {rule}", rule.name, rule.priority.name())?;
    }
    Ok(())
}

/// Checks that each emotion is a label of a model that serves.
fn check_labels(loaded: &Loaded) -> anyhow::Result<()> {
    let emotions: Vec<(usize, &AlertRule)> =
        loaded.config.alerts.iter().enumerate().filter(|(_, rule)| !rule.emotion.is_empty()).collect();
    if emotions.is_empty() {
        return Ok(());
    }
    let mut labels: Vec<String> = Vec::new();
    for model in loaded.config.models.iter().filter(|model| model.role == Role::Serving) {
        labels.extend(ModelSource::configured(model.path.as_deref()).contract()?.labels);
    }
    for (index, rule) in emotions {
        if !labels.contains(&rule.emotion) {
            let allowed = format!("one of {} (rule {:?})", labels.join(", "), rule.name);
            return Err(loaded.reject(&format!("alert.{index}.emotion"), allowed).into());
        }
    }
    Ok(())
}

fn replay(args: &ReplayArgs, config: &Config) -> anyhow::Result<()> {
    if config.alerts.is_empty() {
        let message = "no rules: set [[alert]] in the file of --config";
        return Err(super::UsageError(message.to_owned()).into());
    }
    let mut analyzer = Analyzer::new(args.model.clone(), &args.channels.request(), config)?;
    analyzer.setup.measured = true;
    let mut replay = Replay {
        alerts: AlertEvaluator::new(config.alerts.clone()),
        valences: Valences::new(&config.calls),
        out: AlertTable { format: args.format, has_header: false },
        counts: Counts::default(),
    };
    let mut failures = Vec::new();
    for path in recordings::expand(&args.files)? {
        match recordings::open(&path) {
            Ok(file) => failures.extend(of_recording(replay.file(&mut analyzer, &path, &file))?),
            Err(error) => failures.push(error),
        }
    }
    replay.note(&config.alerts)?;
    first_of(failures)
}

/// The rules and what they have printed.
struct Replay {
    alerts: AlertEvaluator,
    valences: Valences,
    out: AlertTable,
    counts: Counts,
}

/// What the recordings had.
#[derive(Default)]
struct Counts {
    recordings: usize,
    windows: usize,
    alerts: usize,
    /// Names of the channels, or their numbers where they have none.
    channels: BTreeSet<String>,
}

impl Replay {
    /// Prints the alerts of one recording, which is a call of one stream.
    fn file(&mut self, analyzer: &mut Analyzer, path: &Path, file: &AudioFile) -> anyhow::Result<()> {
        let info = analyzer.stream(path);
        let call = StreamCall::named(info.stream_id.clone(), "recording");
        let info = Arc::new(StreamInfo { call: Some(Arc::new(call)), ..StreamInfo::clone(&info) });
        let mut states = StreamStates::default();
        self.counts.recordings += 1;
        analyzer.file(&info, file, &mut states, &mut |states, window, event| {
            self.counts.windows += 1;
            self.counts.channels.insert(channel_name(&info, window.channel));
            let recipient = Recipient::Unpublished(None);
            let (_, envelope) = WindowEnvelope::seal(window, info.clone(), None, recipient);
            let states = states.of_stream(&info);
            count_window(states.of_mut(envelope.channel), &envelope, Some(event), &self.valences);
            let seen = Seen::of(&envelope, Some(event));
            let alerts = seen.map_or_else(Vec::new, |seen| self.alerts.window(states, &seen));
            self.print(&alerts)
        })?;
        let end = file.frames() as u64 * 1_000 / u64::from(file.sample_rate_hz());
        let left = self.alerts.finish(states.of_stream(&info), &info, end);
        self.print(&left)
    }

    /// Writes to stderr which rules name a channel that no recording has, and that no alert was raised.
    fn note(&self, rules: &[AlertRule]) -> io::Result<()> {
        let Counts { recordings, windows, alerts, channels } = &self.counts;
        let mut out = io::stderr().lock();
        let names: Vec<String> = channels.iter().cloned().collect();
        for rule in rules {
            let ChannelChoice::Named(name) = &rule.channel else { continue };
            if *windows > 0 && !channels.contains(name) {
                let (rule, there) = (excerpt(&rule.name), excerpt_of_list(&names));
                writeln!(
                    out,
                    "rule {rule:?}: no recording has a channel {name:?}: there are {there}; --channel-names names the channels"
                )?;
            }
        }
        if *alerts == 0 {
            writeln!(out, "no alert was raised: {windows} windows of {recordings} recordings were analysed")?;
        }
        Ok(())
    }

    fn print(&mut self, alerts: &[Arc<Alert>]) -> anyhow::Result<()> {
        self.counts.alerts += alerts.len();
        alerts.iter().try_for_each(|alert| Ok(self.out.print(alert)?))
    }
}

/// Returns the name by which a rule names a channel.
fn channel_name(info: &StreamInfo, channel: u32) -> String {
    match info.channel_name(channel) {
        "" => channel.to_string(),
        name => name.to_owned(),
    }
}

/// The writer of alerts, in one of the formats.
struct AlertTable {
    format: AlertFormat,
    has_header: bool,
}

impl AlertTable {
    fn print(&mut self, alert: &Alert) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.format == AlertFormat::Jsonl {
            return writeln!(out, "{}", serde_json::to_string(alert)?);
        }
        let row = |cells: [&str; 7]| {
            let [time, state, priority, rule, channel, value, call] = cells;
            format!("{time:>9}  {state:<7}  {priority:<8}  {rule:<20}  {channel:<10}  {value:>6}  {call}")
        };
        if !self.has_header {
            self.has_header = true;
            writeln!(out, "{}", row(["seconds", "state", "priority", "rule", "channel", "value", "call"]))?;
        }
        let Alert { state, priority, rule, channel_name, call_id, .. } = alert;
        let changed = if alert.state == RAISED { alert.raised_at } else { alert.end };
        let (time, value) = (format!("{:.1}", seconds(changed)), format!("{:.2}", alert.value));
        writeln!(out, "{}", row([&time, state, priority, rule, channel_name, &value, call_id]))
    }
}
