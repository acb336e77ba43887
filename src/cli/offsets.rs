//! `affectd offsets`: the group's offsets and the open streams, as the brokers have them.
//!
//! Input: `[kafka]` of the configuration. Output: a table or JSON on stdout. Invariant: nothing is committed or written; no daemon needs to run.

use std::collections::BTreeMap;
use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde_json::{Value as Json, json};

use super::model::ReportFormat;
use crate::config;
use crate::kafka::{self, PartitionOffsets, ProgressEntry, ProgressRecord, StreamState};

/// Arguments of `affectd offsets`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
}

/// An open stream.
struct OpenStream {
    partition: i32,
    stream_id: String,
    /// The entry that a reader would continue from; `None` where none fits the committed offset.
    entry: Option<ProgressEntry>,
}

impl OpenStream {
    fn state(&self) -> Option<&StreamState> {
        self.entry.as_ref()?.state.as_ref()
    }

    /// Returns the position of the next sample, in seconds.
    fn seconds(&self) -> Option<f64> {
        self.state().map(|state| state.position as f64 / f64::from(state.format.sample_rate_hz()))
    }
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let kafka = super::kafka_of(&context)?;
    let options = kafka.clone();
    let read = tokio::task::spawn_blocking(move || {
        anyhow::Ok((kafka::offsets(&options)?, kafka::progress(&options)?))
    });
    let (offsets, progress) = read.await??;
    let streams = open_streams(&offsets, progress);
    let mut out = io::stdout().lock();
    match args.format {
        ReportFormat::Json => writeln!(out, "{}", as_json(&kafka, &offsets, &streams))?,
        ReportFormat::Table => write_tables(&mut out, &kafka, &offsets, &streams)?,
    }
    Ok(())
}

/// Returns the streams that have begun and not ended, each with the entry that fits the committed offset.
fn open_streams(
    offsets: &BTreeMap<i32, PartitionOffsets>,
    progress: BTreeMap<(i32, String), ProgressRecord>,
) -> Vec<OpenStream> {
    let open = |((partition, stream_id), record): ((i32, String), ProgressRecord)| {
        let committed = offsets.get(&partition).and_then(|offsets| offsets.committed);
        let entry = record.progress.fitting(committed).cloned();
        OpenStream { partition, stream_id, entry }
    };
    let has_ended = |stream: &OpenStream| stream.entry.as_ref().is_some_and(|entry| entry.state.is_none());
    progress.into_iter().map(open).filter(|stream| !has_ended(stream)).collect()
}

/// Returns the records that the group has not committed.
fn lag(offsets: &PartitionOffsets) -> i64 {
    offsets.end - offsets.committed.unwrap_or(offsets.first).clamp(offsets.first, offsets.end)
}

fn as_json(kafka: &config::Kafka, offsets: &BTreeMap<i32, PartitionOffsets>, streams: &[OpenStream]) -> Json {
    let partition = |(number, offsets): (&i32, &PartitionOffsets)| {
        json!({
            "partition": number, "committed": offsets.committed, "first": offsets.first, "end": offsets.end,
            "lag": lag(offsets), "open_streams": streams.iter().filter(|stream| stream.partition == *number).count(),
        })
    };
    let stream = |stream: &OpenStream| {
        let state = stream.state();
        json!({
            "stream_id": stream.stream_id, "partition": stream.partition,
            "offset": stream.entry.as_ref().and_then(|entry| entry.offset),
            "next_sample": state.map(|state| state.position), "seconds": stream.seconds(),
            "sequence": state.and_then(|state| state.sequence),
            "next_windows": state.map(|state| state.next_windows.clone()),
            "segment_is_open": state.is_some_and(|state| state.first_window.is_some()),
            "model": state.map(|state| state.model.clone()),
        })
    };
    json!({
        "group": kafka.group_id, "topic": kafka.input_topic, "progress_topic": kafka.progress_topic,
        "lag": offsets.values().map(lag).sum::<i64>(),
        "partitions": offsets.iter().map(partition).collect::<Vec<_>>(),
        "streams": streams.iter().map(stream).collect::<Vec<_>>(),
    })
}

fn write_tables(
    out: &mut impl Write,
    kafka: &config::Kafka,
    offsets: &BTreeMap<i32, PartitionOffsets>,
    streams: &[OpenStream],
) -> io::Result<()> {
    let total: i64 = offsets.values().map(lag).sum();
    writeln!(out, "group {}  topic {}  lag {total}\n", kafka.group_id, kafka.input_topic)?;
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["partition", "committed", "end", "lag", "open streams"]);
    for (number, partition) in offsets {
        let open = streams.iter().filter(|stream| stream.partition == *number).count();
        table.add_row([
            number.to_string(),
            or_dash(partition.committed.map(|offset| offset.to_string())),
            partition.end.to_string(),
            lag(partition).to_string(),
            open.to_string(),
        ]);
    }
    writeln!(out, "{table}\n")?;
    let mut table = Table::new();
    let header = ["stream", "partition", "offset", "position", "next windows", "segment"];
    table.load_style(presets::NOTHING).set_header(header);
    for stream in streams {
        let state = stream.state();
        let windows = state.map(|state| format!("{:?}", state.next_windows));
        let segment = match state {
            Some(state) if state.first_window.is_some() => "open",
            Some(_) => "ended",
            None => "no progress fits the committed offset",
        };
        table.add_row([
            stream.stream_id.clone(),
            stream.partition.to_string(),
            or_dash(stream.entry.as_ref().and_then(|entry| entry.offset).map(|offset| offset.to_string())),
            or_dash(stream.seconds().map(|seconds| format!("{seconds:.1} s"))),
            or_dash(windows),
            segment.to_owned(),
        ]);
    }
    writeln!(out, "{table}")
}
