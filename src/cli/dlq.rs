//! `affectd dlq`: lists the dead letters, and writes their records to the input topic again.
//!
//! Input: `[kafka]` of the configuration, and filters. Output: one line for each letter on stdout. Invariant: the dead-letter topic is not changed; a letter
//! that was replayed stays there.

use std::io::{self, Write};

use serde_json::json;

use super::streams::EventFormat;
use crate::config;
use crate::kafka::{self, Replayer, StoredLetter};

/// Arguments of `affectd dlq`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The subcommand.
    #[command(subcommand)]
    pub action: Action,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Show the dead letters: where each is, where it came from, and why
    List(Filter),
    /// Write the records to the topic and the partition that they were read from
    Replay(ReplayArgs),
}

/// Which letters are meant; all filters must hold.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Offset in the dead-letter topic, or a range of them, both ends included; repeatable
    #[arg(long, value_name = "N[-M]", value_parser = parse_range)]
    pub offset: Vec<(i64, i64)>,
    /// Partition of the dead-letter topic
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// Reason, as in the header affectd-reason; repeatable
    #[arg(long, value_name = "REASON")]
    pub reason: Vec<String>,
    /// Key of the record: the stream id; repeatable
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// The format of the lines
    #[arg(long, value_enum, default_value = "table")]
    pub format: EventFormat,
}

/// Arguments of `affectd dlq replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// The letters.
    #[command(flatten)]
    pub filter: Filter,
    /// Replay without a filter
    #[arg(long)]
    pub all: bool,
    /// Show what would be written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

fn parse_range(text: &str) -> Result<(i64, i64), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse().map_err(|_| "expected an offset such as 7, or 7-9".to_owned());
    Ok((number(from)?, number(to)?))
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.offset.is_empty() && self.partition.is_none() && self.reason.is_empty() && self.key.is_empty()
    }

    fn admits(&self, letter: &StoredLetter) -> bool {
        let record = &letter.record;
        let in_range = |(from, to): &(i64, i64)| (*from..=*to).contains(&record.offset);
        (self.offset.is_empty() || self.offset.iter().any(in_range))
            && self.partition.is_none_or(|partition| partition == record.partition)
            && (self.reason.is_empty() || self.reason.contains(&letter.reason))
            && (self.key.is_empty() || self.key.contains(&key(letter)))
    }
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let kafka = super::kafka_of(&context)?;
    match args.action {
        Action::List(filter) => {
            for letter in letters(&kafka, &filter).await? {
                print(&letter, None, filter.format)?;
            }
        }
        Action::Replay(args) => {
            if args.filter.is_empty() && !args.all {
                let message = "replay needs --offset, --partition, --reason or --key, or --all";
                return Err(super::UsageError(message.to_owned()).into());
            }
            replay(&kafka, &args).await?;
        }
    }
    Ok(())
}

async fn replay(kafka: &config::Kafka, args: &ReplayArgs) -> anyhow::Result<()> {
    let replayer = Replayer::new(kafka)?;
    for letter in letters(kafka, &args.filter).await? {
        let outcome = match letter.not_replayable() {
            Some(reason) => format!("not replayed: {reason}"),
            None if args.dry_run => "would be replayed".to_owned(),
            None => format!("replayed to offset {}", replayer.replay(&letter).await?),
        };
        print(&letter, Some(&outcome), args.filter.format)?;
    }
    Ok(())
}

/// Reads the letters that the filter admits. Reading blocks, so it has a thread of its own.
async fn letters(kafka: &config::Kafka, filter: &Filter) -> anyhow::Result<Vec<StoredLetter>> {
    let (options, filter): (_, Filter) = (kafka.clone(), filter.clone());
    let read = tokio::task::spawn_blocking(move || {
        let mut letters: Vec<StoredLetter> = Vec::new();
        kafka::read_topic(&options, &options.dead_letter_topic, |record| {
            let letter = record.into();
            if filter.admits(&letter) {
                letters.push(letter);
            }
        })?;
        anyhow::Ok(letters)
    });
    let mut letters = read.await??;
    letters.sort_by_key(|letter| (letter.record.partition, letter.record.offset));
    Ok(letters)
}

fn key(letter: &StoredLetter) -> String {
    String::from_utf8_lossy(letter.record.key.as_deref().unwrap_or_default()).into_owned()
}

fn print(letter: &StoredLetter, outcome: Option<&str>, format: EventFormat) -> io::Result<()> {
    let StoredLetter { record, error, reason, topic, partition, offset } = letter;
    let mut out = io::stdout().lock();
    if format == EventFormat::Jsonl {
        let line = json!({
            "partition": record.partition, "offset": record.offset, "key": key(letter), "reason": reason,
            "error": error, "topic": topic, "sourcePartition": partition, "sourceOffset": offset,
            "valueBytes": record.value.as_ref().map(Vec::len), "outcome": outcome,
        });
        return writeln!(out, "{line}");
    }
    let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let source = format!("{topic}[{}]@{}", number(partition.map(i64::from)), number(*offset));
    let outcome = outcome.map_or(String::new(), |outcome| format!("  {outcome}"));
    let at = format!("{}:{}", record.partition, record.offset);
    let name = if reason.is_empty() { "-" } else { reason };
    writeln!(out, "{at:<10}  {name:<16}  {source}  key={:?}  {error}{outcome}", key(letter))
}
