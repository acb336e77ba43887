//! `affectd demo`: the daemon and sample speech in one process, with a real gRPC connection between them.
//!
//! In: the samples inside the binary, or the user's files. Out: the events as they come, then a summary.
//! Never touches Kafka, never takes a port that was asked for elsewhere.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::channels::ChannelArgs;
use super::samples;
use super::streams::{EventFormat, NamedScript, StreamsOutcome, first_of, recognize_all, stem};
use crate::audio::{self, Recording};
use crate::client::{self, ChannelRequest, ChunkOptions, Pace, Script};
use crate::config::Config;
use crate::model::ModelSource;
use crate::pipeline::{self, DaemonError, Listeners};
use crate::proto::Encoding;

/// Audio in one chunk.
const CHUNK: Duration = Duration::from_millis(100);
/// The rate at which telephones speak µ-law.
const TELEPHONE_HZ: u32 = 8_000;

/// Said with them, so that nobody takes their labels for more than they are.
const ABOUT_SAMPLES: &str = "a synthesiser speaks: its labels show events flowing, not how good the model is";

/// Arguments of `affectd demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings of your own: WAV, FLAC, MP3 or Ogg [default: sample speech inside the binary]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// real-time, max, or how many times as fast
    #[arg(long, value_name = "SPEED", default_value = "4")]
    pub speed: Pace,
    /// How events are written; jsonl leaves everything else out
    #[arg(long, value_enum, default_value = "table")]
    pub format: EventFormat,
    /// Channels.
    #[command(flatten)]
    pub channels: ChannelArgs,
    /// Stay up afterwards, until Ctrl-C
    #[arg(long)]
    pub keep_running: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let config = Config { kafka: None, ..context.loaded.config };
    let streams = streams(&args.files, &args.channels.request())?;
    let model = ModelSource::configured(config.default_model()).contract()?;
    let listeners = Listeners { grpc: free_port().await?, http: free_port().await? };
    let addresses = Addresses { grpc: listeners.grpc.local_addr()?, http: listeners.http.local_addr()? };
    if args.format == EventFormat::Table {
        let (version, name) = (env!("CARGO_PKG_VERSION"), format!("{}@{}", model.name, model.version));
        let Addresses { grpc, http } = addresses;
        let mut out = io::stdout();
        writeln!(
            out,
            "affectd {version} in this process: gRPC {grpc}, HTTP {http}\n\
             model {name}; {} recordings over gRPC, side by side, at speed {}",
            streams.len(),
            args.speed
        )?;
        if args.files.is_empty() {
            writeln!(out, "{ABOUT_SAMPLES}")?;
        }
        writeln!(out)?;
    }
    let stop = CancellationToken::new();
    let daemon = pipeline::run(config, listeners, stop.clone().cancelled_owned());
    beside(daemon, &stop, show(&args, addresses, streams)).await
}

/// Runs `task` beside the daemon; then has the daemon drain. A daemon that stops first ends the task.
async fn beside(
    daemon: impl Future<Output = Result<(), DaemonError>>,
    stop: &CancellationToken,
    task: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::pin!(daemon);
    let outcome = tokio::select! {
        stopped = &mut daemon => {
            stopped?;
            anyhow::bail!("the daemon stopped before the recordings ended");
        }
        outcome = task => outcome,
    };
    stop.cancel();
    let drained = daemon.await;
    outcome?;
    Ok(drained?)
}

/// Where the daemon listens.
#[derive(Clone, Copy)]
struct Addresses {
    grpc: SocketAddr,
    http: SocketAddr,
}

async fn show(args: &Args, addresses: Addresses, streams: Vec<NamedScript>) -> anyhow::Result<()> {
    let channel = client::connect(&addresses.grpc.to_string()).await?;
    client::wait_until_serving(channel.clone()).await?;
    let outcome = recognize_all(&channel, streams, args.speed, args.format).await?;
    if args.format == EventFormat::Table {
        writeln!(io::stdout(), "\n{}", summary(&outcome))?;
    }
    first_of(outcome.failures)?;
    if args.keep_running {
        // Whoever reads the line may send the signal at once.
        let signal = super::signal()?;
        let Addresses { grpc, http } = addresses;
        let line = format!(
            "still running until Ctrl-C: gRPC grpc://{grpc}, metrics http://{http}/metrics, page http://{http}/"
        );
        match args.format {
            EventFormat::Table => writeln!(io::stdout(), "{line}")?,
            EventFormat::Jsonl => eprintln!("{line}"),
        }
        signal.await;
    }
    Ok(())
}

fn summary(outcome: &StreamsOutcome) -> String {
    format!(
        "{}\n(latency: from sending the audio that completes a window to receiving its event)",
        outcome.summary()
    )
}

/// The user's files, else the samples; two of one name get numbers.
fn streams(files: &[PathBuf], channels: &ChannelRequest) -> anyhow::Result<Vec<NamedScript>> {
    let recordings = if files.is_empty() {
        samples::recordings()?.into_iter().map(|(name, recording)| (name.to_owned(), recording)).collect()
    } else {
        files
            .iter()
            .map(|path| Ok((stem(path), audio::decode_file(path)?)))
            .collect::<anyhow::Result<Vec<_>>>()?
    };
    let mut streams: Vec<NamedScript> = Vec::with_capacity(recordings.len());
    for (name, recording) in recordings {
        let taken = |id: &str| streams.iter().any(|stream| stream.stream_id == id);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let stream_id = std::iter::once(name.clone()).chain(numbered).find(|id| !taken(id));
        let stream_id = stream_id.context("numbers never end")?;
        streams.push(named(stream_id, &recording, channels));
    }
    Ok(streams)
}

/// As such a source would send it: telephones µ-law, others 16 bits.
fn named(stream_id: String, recording: &Recording, channels: &ChannelRequest) -> NamedScript {
    let telephone = recording.sample_rate_hz == TELEPHONE_HZ;
    let encoding = if telephone { Encoding::Mulaw } else { Encoding::PcmS16le };
    let options = ChunkOptions {
        stream_id: stream_id.clone(),
        chunk: CHUNK,
        encoding,
        first_sample: true,
        channels: channels.clone(),
    };
    let script = Script::of_samples(&recording.channels, recording.sample_rate_hz, &options);
    NamedScript { stream_id, script }
}

async fn free_port() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("listen on a free port of 127.0.0.1")
}
