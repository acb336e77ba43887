//! `affectd load`: so many streams side by side for so many seconds, to find out what a daemon bears.
//!
//! In: a running daemon's gRPC port or its Kafka topics. Out: throughput, latency and what generator and daemon used, as a
//! table or JSON. Never starts a daemon, never keeps what the daemon says of the audio.

use std::convert::Infallible;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::UsageError;
use super::model::Format;
use super::samples;
use super::send::EncodingName;
use crate::audio::{Recording, ResamplerPlan, decode_file, resample};
use crate::client::{Pace, Target};
use crate::load::{self, LoadPlan, Speech, Topics};
use crate::measure::ProcessUse;

/// The rate at which telephones speak G.711.
const TELEPHONE_HZ: u32 = 8_000;
/// How often progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Arguments of `affectd load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// grpc://host:port, or kafka://host:port/topic with brokers separated by commas; without a topic it is
    /// kafka.input_topic
    #[arg(long, value_name = "URL")]
    pub target: Target,
    /// Streams side by side
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub streams: u32,
    /// real-time, max (as fast as the daemon takes it), or how many times as fast as real time
    #[arg(long, value_name = "SPEED")]
    pub speed: Pace,
    /// Wall time that each stream is on for
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Audio in one chunk, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub chunk_ms: u64,
    /// The daemon's process on this machine: tells what it used (Linux)
    #[arg(long, value_name = "PID")]
    pub target_pid: Option<u32>,
    /// Kafka: where the daemon's events go [default: kafka.output_topic]
    #[arg(long, value_name = "TOPIC")]
    pub output_topic: Option<String>,
    /// What the streams say, over and over: WAV, FLAC, MP3 or Ogg [default: sample speech inside the binary]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How samples are written; µ-law and A-law at 8 kHz, the others at the recording's own rate
    #[arg(long, value_enum, default_value = "pcm_s16le")]
    pub encoding: EncodingName,
    /// How the result is written
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// Runs the command. Cancelling it cancels the streams.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    if args.output_topic.is_some() && matches!(args.target, Target::Grpc { .. }) {
        anyhow::bail!(UsageError("--output-topic is for kafka:// alone".to_owned()));
    }
    // Before anything is sent, so that a wrong id stops the command at once.
    args.target_pid.map(ProcessUse::of).transpose().context("use --target-pid")?;
    let plan = LoadPlan {
        streams: args.streams as usize,
        pace: args.speed,
        duration: Duration::from_secs(args.seconds),
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
        Format::Table => write!(out, "{report}")?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
    }
    match report.failure {
        None => Ok(()),
        Some(first) => {
            let counts = format!("{} of {} streams failed, the first one", report.errors, report.streams);
            Err(anyhow::Error::new(first).context(counts))
        }
    }
}

async fn connect(args: &Args, context: &super::Context) -> anyhow::Result<load::LoadTarget> {
    match &args.target {
        Target::Grpc { authority } => {
            Ok(load::LoadTarget::Grpc(load::connect(authority, args.streams as usize).await?))
        }
        Target::Kafka { brokers, topic } => {
            let mut kafka = context.loaded.kafka_at(brokers);
            kafka.input_topic = topic.clone().unwrap_or(kafka.input_topic);
            kafka.output_topic = args.output_topic.clone().unwrap_or(kafka.output_topic);
            Ok(load::LoadTarget::Kafka(Topics::open(&kafka).await?))
        }
    }
}

/// What all streams say.
fn speech(args: &Args) -> anyhow::Result<Speech> {
    let Recording { mut sample_rate_hz, mut channels } = match &args.file {
        Some(path) => decode_file(path)?,
        None => samples::one_voice()?,
    };
    match args.encoding {
        EncodingName::File => anyhow::bail!(UsageError("--encoding file: a load has no end".to_owned())),
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

/// Draws progress on stderr, where that is a terminal, until it is dropped.
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
