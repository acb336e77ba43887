//! `affectd load`: a load test of a running daemon with many concurrent streams.
//!
//! Input: the gRPC port of a running daemon, or its Kafka topics. Output: throughput, latency, and the resource use of
//! generator and daemon, as a table or JSON. Invariants: no daemon is started, and the content of events is not kept.

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::UsageError;
use super::connection::ConnectionArgs;
use super::model::ReportFormat;
use super::samples;
use super::send::EncodingName;
use crate::audio::{Recording, ResamplerPlan, decode_file, resample};
use crate::client::{Pace, Target};
use crate::perf::load::{self, LoadPlan, Speech, Topics};
use crate::telemetry::ProcessUse;

/// The sample rate, in Hz, of µ-law and A-law audio.
const TELEPHONE_HZ: u32 = 8_000;
/// The interval at which progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `affectd load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// grpc://host:port, grpcs://host:port, or kafka://host:port/topic with brokers separated by commas; without a topic it is
    /// kafka.input_topic
    #[arg(long, value_name = "URL")]
    pub target: Target,
    /// TLS and authentication.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Number of concurrent streams
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub streams: u32,
    /// real-time, max (as fast as the daemon takes it), or how many times as fast as real time
    #[arg(long, value_name = "SPEED")]
    pub speed: Pace,
    /// Wall-clock time that each stream sends for
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Seconds of audio over which the starts of the streams are spread; more than the model's hop where most streams are
    /// refused
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub ramp: u64,
    /// Length of one chunk, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub chunk_ms: u64,
    /// Process id of the daemon on this machine; reports its CPU time and memory (Linux)
    #[arg(long, value_name = "PID")]
    pub target_pid: Option<u32>,
    /// Kafka: the topic of the daemon's events [default: kafka.output_topic]
    #[arg(long, value_name = "TOPIC")]
    pub output_topic: Option<String>,
    /// Recording that the streams repeat, such as WAV, FLAC, MP3, Ogg or MP4 [default: sample speech in the binary]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Encoding of the samples; µ-law and A-law at 8 kHz, the others at the recording's own rate
    #[arg(long, value_enum, default_value = "pcm_s16le")]
    pub encoding: EncodingName,
    /// The format of the report
    #[arg(long, value_enum, default_value = "table")]
    pub format: ReportFormat,
}

/// Runs the command. Cancelling it cancels the streams.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    if args.output_topic.is_some() && matches!(args.target, Target::Grpc(_)) {
        anyhow::bail!(UsageError("--output-topic is only allowed with kafka://".to_owned()));
    }
    // Checked before anything is sent, so that a wrong process id ends the command immediately.
    args.target_pid.map(ProcessUse::of).transpose().context("use --target-pid")?;
    let plan = LoadPlan {
        streams: args.streams as usize,
        pace: args.speed,
        duration: Duration::from_secs(args.seconds),
        ramp: Duration::from_secs(args.ramp),
        speech: Arc::new(speech(&args)?),
        target_pid: args.target_pid,
    };
    let target = connect(&args, &context).await.with_context(|| args.target.to_string())?;
    let windows = Arc::new(AtomicU64::new(0));
    let report = tokio::select! {
        report = load::run(&plan, target, Arc::clone(&windows)) => report?,
        never = draw(args.seconds, &windows) => match never? {},
    };
    let mut out = io::stdout().lock();
    match args.format {
        ReportFormat::Table => write!(out, "{report}")?,
        ReportFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    match report.failure {
        None => Ok(()),
        Some(first) => {
            let counts = format!("{} of {} streams failed, first", report.errors, report.streams);
            Err(anyhow::Error::new(first).context(counts))
        }
    }
}

async fn connect(args: &Args, context: &super::Context) -> anyhow::Result<load::LoadTarget> {
    match &args.target {
        Target::Grpc(server) => {
            let credentials = args.connection.credentials(server)?;
            Ok(load::LoadTarget::Grpc(load::connect(server, &credentials, args.streams as usize).await?))
        }
        Target::Kafka { brokers, topic } => {
            let mut kafka = context.loaded.kafka_at(brokers);
            args.connection.apply_to(&mut kafka)?;
            kafka.input_topic = topic.clone().unwrap_or(kafka.input_topic);
            kafka.output_topic = args.output_topic.clone().unwrap_or(kafka.output_topic);
            Ok(load::LoadTarget::Kafka(Topics::open(&kafka).await?))
        }
    }
}

/// Returns the speech that all streams repeat.
fn speech(args: &Args) -> anyhow::Result<Speech> {
    let Recording { mut sample_rate_hz, mut channels } = match &args.file {
        Some(path) => decode_file(path)?,
        None => samples::one_voice()?,
    };
    match args.encoding {
        EncodingName::File => anyhow::bail!(UsageError(
            "--encoding file: not allowed, because the audio of a load test is endless".to_owned()
        )),
        EncodingName::Mulaw | EncodingName::Alaw if sample_rate_hz != TELEPHONE_HZ => {
            let plan = Arc::new(ResamplerPlan::new(sample_rate_hz, TELEPHONE_HZ));
            channels.iter_mut().for_each(|channel| *channel = resample(&plan, channel));
            sample_rate_hz = TELEPHONE_HZ;
        }
        _ => {}
    }
    let chunk = Duration::from_millis(args.chunk_ms);
    Ok(Speech::new(&channels, sample_rate_hz, args.encoding.into(), chunk))
}

/// Draws progress on stderr, where stderr is a terminal, until the future is dropped.
async fn draw(seconds: u64, windows: &AtomicU64) -> anyhow::Result<Infallible> {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} s, {msg} windows")?;
    let bar = ProgressBar::new(seconds).with_style(style).with_finish(indicatif::ProgressFinish::AndClear);
    let mut ticks = tokio::time::interval(DRAW_EVERY);
    loop {
        ticks.tick().await;
        bar.set_message(windows.load(Ordering::Relaxed).to_string());
        bar.set_position(bar.elapsed().as_secs().min(seconds));
    }
}
