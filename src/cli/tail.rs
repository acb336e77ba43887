//! `affectd tail` and `affectd watch`: print published events as they arrive, from a Kafka topic or from a daemon.
//!
//! Input: a topic with protobuf or JSON values, or a daemon's gRPC port. Output: lines on stdout, until a signal, `--max-events` or the end of the daemon.
//! Invariants: the Kafka consumer joins no group and commits no offsets.

use std::io;

use anyhow::Context as _;

use super::UsageError;
use super::connection::ConnectionArgs;
use super::event_table::{EventTable, stdout_has_colour};
use super::streams::{EventFormat, print};
use crate::client::{self, Events, StartAt, Target, WatchedEvents};
use crate::proto::{EmotionEvent, WatchEventsRequest};
use crate::publish::tap::passes;

/// Arguments of `affectd tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// kafka://host:port/topic with brokers separated by commas; without a topic it is kafka.output_topic; or
    /// grpc://host:port of a daemon
    #[arg(long, value_name = "URL")]
    pub from: Target,
    /// Kafka: start with the oldest event in the topic, not with the next one
    #[arg(long)]
    pub from_beginning: bool,
    /// Which events are printed, and how.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `affectd watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// grpc://host:port of a daemon, or kafka://host:port/topic
    #[arg(value_name = "URL")]
    pub from: Target,
    /// Which events are printed, and how.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which events are printed, and how.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// TLS and authentication.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The format of events
    #[arg(long, value_enum, default_value = "table")]
    pub format: EventFormat,
    /// End after this number of events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events: Option<u64>,
    /// Only events of this stream; repeatable
    #[arg(long = "stream-id", value_name = "ID")]
    pub stream_ids: Vec<String>,
    /// Only events with this attribute; repeatable, and all must match
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse_attribute)]
    pub attributes: Vec<(String, String)>,
    /// Only events with this emotion; repeatable
    #[arg(long = "emotion", value_name = "LABEL")]
    pub emotions: Vec<String>,
}

impl OutputArgs {
    fn filter(&self) -> WatchEventsRequest {
        WatchEventsRequest {
            stream_ids: self.stream_ids.clone(),
            attributes: self.attributes.iter().cloned().collect(),
            emotions: self.emotions.clone(),
        }
    }
}

fn parse_attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.into(), value.into())).ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// Runs `affectd watch`.
pub async fn watch(args: WatchArgs, context: super::Context) -> anyhow::Result<()> {
    let WatchArgs { from, output } = args;
    run(Args { from, from_beginning: false, output }, context).await
}

/// Runs the command. Cancelling the future closes the consumer.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let source = Source::open(&args, &context).await.with_context(|| args.from.to_string())?;
    let signal = super::signal()?;
    tokio::select! {
        result = follow(source, &args.output) => result,
        () = signal => Ok(()),
    }
}

/// Where events come from.
enum Source {
    Topic(Events),
    Daemon(WatchedEvents),
}

impl Source {
    async fn open(args: &Args, context: &super::Context) -> anyhow::Result<Self> {
        match &args.from {
            Target::Kafka { brokers, topic } => {
                let mut kafka = context.loaded.kafka_at(brokers);
                args.output.connection.apply_to(&mut kafka)?;
                let topic = topic.clone().unwrap_or_else(|| kafka.output_topic.clone());
                let start = if args.from_beginning { StartAt::Beginning } else { StartAt::Now };
                Ok(Self::Topic(Events::open(brokers, &kafka.properties, &topic, start).await?))
            }
            Target::Grpc(_) if args.from_beginning => {
                Err(UsageError("--from-beginning is only allowed with kafka://".to_owned()).into())
            }
            Target::Grpc(server) => {
                let channel = client::connect(server, &args.output.connection.credentials(server)?).await?;
                Ok(Self::Daemon(WatchedEvents::open(channel, args.output.filter()).await?))
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Option<EmotionEvent>> {
        match self {
            Self::Topic(events) => Ok(Some(events.next().await?)),
            Self::Daemon(events) => Ok(events.next().await?),
        }
    }
}

async fn follow(mut source: Source, output: &OutputArgs) -> anyhow::Result<()> {
    let mut table = EventTable::new(true, stdout_has_colour());
    let (filter, mut shown) = (output.filter(), 0);
    while output.max_events.is_none_or(|limit| shown < limit) {
        let Some(event) = source.next().await? else { break };
        // A daemon has applied the filter already; a topic has not.
        if passes(&filter, &event) {
            print(&mut io::stdout().lock(), &event, output.format, &mut table)?;
            shown += 1;
        }
    }
    Ok(())
}
