//! Concurrent streams over one gRPC connection, whose events are printed as they arrive.
//!
//! Input: recordings that are cut into scripts. Output: lines on stdout, and a [`StreamsOutcome`]. Invariants: the failure
//! of one stream does not end another.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::event_table::{EventTable, span, stdout_has_colour};
use super::recordings;
use crate::audio::{encode_into, sample_bytes};
use crate::client::{self, Channel, ChunkOptions, ClientError, Pace, Received, Script};
use crate::proto::{EmotionEvent, Encoding};
use crate::telemetry::percentile;

/// The capacity of the queue of events to print.
const PRINT_QUEUE: usize = 64;

/// The format of events on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EventFormat {
    /// Aligned columns
    Table,
    /// proto3 JSON, one event per line
    Jsonl,
}

/// A stream id and the chunks to send.
pub(super) struct NamedScript {
    pub stream_id: String,
    pub script: Script,
}

/// The outcome of a set of streams.
pub(super) struct StreamsOutcome {
    /// The audio of the streams that completed.
    pub audio: Duration,
    pub elapsed: Duration,
    /// The latency of each event, in ascending order.
    pub latencies: Vec<Duration>,
    /// The error of each failed stream.
    pub failures: Vec<anyhow::Error>,
}

/// Reads a file and cuts it into chunks. Its samples are encoded while they are decoded.
pub(super) fn script(path: &Path, options: &ChunkOptions) -> anyhow::Result<Script> {
    let file = recordings::open(path)?;
    let (rate_hz, channels) = (file.sample_rate_hz(), file.channels());
    if options.encoding == Encoding::File {
        let length = Duration::from_secs_f64(file.frames() as f64 / f64::from(rate_hz));
        return Ok(Script::of_file(&file.read(0..file.size())?, length, options));
    }
    let width = sample_bytes(options.encoding).context("the encoding holds samples")?;
    let mut bytes = Vec::with_capacity(file.frames() * channels * width);
    file.decode(&mut |block| {
        encode_into(&mut bytes, block, options.encoding);
        ControlFlow::Continue(())
    })?;
    Ok(Script::of_encoded(&bytes.into(), channels, rate_hz, options))
}

/// Sends all streams concurrently and prints their events, where a format is given, until the last stream has ended.
/// Cancelling the future cancels all streams.
///
/// # Errors
/// Returns an error where stdout cannot be written; failures of streams are part of the outcome.
pub(super) async fn recognize_all(
    channel: &Channel,
    streams: Vec<NamedScript>,
    pace: Pace,
    format: Option<EventFormat>,
) -> anyhow::Result<StreamsOutcome> {
    let start = Instant::now();
    let (events, received) = mpsc::channel(PRINT_QUEUE);
    let call = |stream| one_call(channel.clone(), stream, pace, events.clone());
    let mut running: FuturesUnordered<_> = streams.into_iter().map(call).collect();
    drop(events);
    let finished = async {
        let (mut audio, mut failures) = (Duration::ZERO, Vec::new());
        while let Some(result) = running.next().await {
            match result {
                Ok(length) => audio += length,
                Err(failure) => failures.push(failure),
            }
        }
        anyhow::Ok((audio, failures))
    };
    let ((audio, failures), mut latencies) = tokio::try_join!(finished, print_all(received, format))?;
    latencies.sort_unstable();
    Ok(StreamsOutcome { audio, elapsed: start.elapsed(), latencies, failures })
}

/// Runs one stream until it ends, and returns the length of its audio. The error names the stream.
async fn one_call(
    channel: Channel,
    stream: NamedScript,
    pace: Pace,
    events: mpsc::Sender<Received>,
) -> anyhow::Result<Duration> {
    let audio = stream.script.audio();
    let receive = async {
        let mut recognition = client::recognize(channel, stream.script, pace).await?;
        while let Some(received) = recognition.next().await? {
            if events.send(received).await.is_err() {
                break;
            }
        }
        Ok::<_, ClientError>(audio)
    };
    receive.await.with_context(|| format!("stream {}", stream.stream_id))
}

/// Prints events until every stream has ended, and returns the latencies of all events.
async fn print_all(
    mut received: mpsc::Receiver<Received>,
    format: Option<EventFormat>,
) -> anyhow::Result<Vec<Duration>> {
    let mut table = EventTable::new(true, stdout_has_colour());
    let mut latencies = Vec::new();
    while let Some(Received { event, latency }) = received.recv().await {
        if let Some(format) = format {
            print(&mut io::stdout().lock(), &event, format, &mut table)?;
        }
        latencies.push(latency);
    }
    Ok(latencies)
}

/// Prints one event, in a table with the header where it is due.
pub(super) fn print(
    out: &mut impl Write,
    event: &EmotionEvent,
    format: EventFormat,
    table: &mut EventTable,
) -> anyhow::Result<()> {
    match format {
        EventFormat::Jsonl => writeln!(out, "{}", serde_json::to_string(event)?)?,
        EventFormat::Table => writeln!(out, "{}", table.lines(event))?,
    }
    Ok(())
}

impl StreamsOutcome {
    /// Returns whether at least one stream completed.
    pub fn is_success(&self) -> bool {
        self.failures.is_empty() || self.audio > Duration::ZERO
    }

    /// Returns the length of the audio of completed streams, the number of windows, the speed, the latency and the number of
    /// failed streams as one line.
    pub fn summary(&self) -> String {
        let Self { audio, elapsed, latencies, failures } = self;
        let failed = match failures.len() {
            0 => String::new(),
            count => format!("; {count} failed"),
        };
        let (audio, elapsed) = (audio.as_secs_f64(), elapsed.as_secs_f64());
        let windows = latencies.len();
        let speed = audio / elapsed.max(1e-9);
        let latency = match latencies.as_slice() {
            [] => String::new(),
            sorted => format!(
                "; latency p50 {}, p99 {}",
                span(percentile(sorted, 0.5)),
                span(percentile(sorted, 0.99))
            ),
        };
        format!("{audio:.1} s of audio, {windows} windows, {speed:.1} × real time{latency}{failed}")
    }
}

/// Returns the first failure as an error and logs the others.
pub(super) fn first_of(failures: Vec<anyhow::Error>) -> anyhow::Result<()> {
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(()) };
    failures.for_each(|other| tracing::error!("{other:#}"));
    Err(first)
}
