//! `affectd tail`: prints the published events of a Kafka topic as they arrive.
//!
//! Input: a topic with protobuf or JSON values. Output: lines on stdout, until a signal or `--max-events`. Invariants: the
//! consumer joins no group and commits no offsets.

use std::io;

use anyhow::{Context as _, bail};

use super::connection::ConnectionArgs;
use super::event_table::{EventTable, stdout_has_colour};
use super::streams::{EventFormat, print};
use crate::client::{Events, StartAt, Target};

/// Arguments of `affectd tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// kafka://host:port/topic with brokers separated by commas; without a topic it is kafka.output_topic
    #[arg(long, value_name = "URL")]
    pub from: Target,
    /// TLS and authentication.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// The format of events
    #[arg(long, value_enum, default_value = "table")]
    pub format: EventFormat,
    /// Start with the oldest event in the topic, not with the next one
    #[arg(long)]
    pub from_beginning: bool,
    /// End after this number of events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_events: Option<u64>,
}

/// Runs the command. Cancelling the future closes the consumer.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let Target::Kafka { brokers, topic } = &args.from else {
        bail!(super::UsageError(format!("--from {}: expected kafka://host:port[/topic]", args.from)));
    };
    let mut kafka = context.loaded.kafka_at(brokers);
    args.connection.apply_to(&mut kafka)?;
    let topic = topic.clone().unwrap_or_else(|| kafka.output_topic.clone());
    let from = if args.from_beginning { StartAt::Beginning } else { StartAt::Now };
    let events = Events::open(brokers, &kafka.properties, &topic, from).await;
    let events = events.with_context(|| args.from.to_string())?;
    let signal = super::signal()?;
    tokio::select! {
        result = follow(&events, &args) => result,
        () = signal => Ok(()),
    }
}

async fn follow(events: &Events, args: &Args) -> anyhow::Result<()> {
    let mut table = EventTable::new(true, stdout_has_colour());
    let mut shown = 0;
    while args.max_events.is_none_or(|limit| shown < limit) {
        let event = events.next().await?;
        print(&mut io::stdout().lock(), &event, args.format, &mut table)?;
        shown += 1;
    }
    Ok(())
}
