//! `affectd demo`: the daemon and a client with sample speech in one process, connected over gRPC.
//!
//! Input: the samples in the binary, or the user's files. Output: the events as they arrive, then a summary. Invariants:
//! Kafka, TLS and authentication are off, and the daemon listens on free ports of 127.0.0.1, whatever the configuration says.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::channels::ChannelArgs;
use super::recordings;
use super::samples;
use super::streams::{EventFormat, NamedScript, StreamsOutcome, first_of, recognize_all};
use crate::audio::Recording;
use crate::client::{self, ChannelRequest, ChunkOptions, Credentials, GrpcServer, Pace, Script};
use crate::config::{Config, Loaded, ValueOrigin};
use crate::daemon::{self, DaemonError, Listeners};
use crate::model::ModelSource;
use crate::proto::Encoding;

/// The length of one chunk.
const CHUNK: Duration = Duration::from_millis(100);
/// The sample rate, in Hz, of recordings that are sent in µ-law.
const TELEPHONE_HZ: u32 = 8_000;

/// The value of `publish.uncertain_below` for the samples, where the configuration does not set it.
const UNCERTAIN_BELOW: f64 = 0.5;

/// What to look at in the events of the samples. Labels of synthetic speech say nothing about the model's accuracy.
const ABOUT_SAMPLES: &str = "\
synthetic speech, unlike the speech that the model was trained on: a window
whose best probability is below publish.uncertain_below, here 0.5, is uncertain.
Look at call-stereo-mulaw, whose channels are analysed separately, and at
muted-then-speech: its first 4 s are digital silence, which has no events.";

/// Arguments of `affectd demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Your own recordings, folders of recordings, or - for standard input [default: sample speech in the binary]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// real-time, max, or how many times as fast
    #[arg(long, value_name = "SPEED", default_value = "4")]
    pub speed: Pace,
    /// The format of events; with jsonl, nothing else is printed to stdout
    #[arg(long, value_enum, default_value = "table")]
    pub format: EventFormat,
    /// The channel options.
    #[command(flatten)]
    pub channels: ChannelArgs,
    /// Keep the daemon running after the recordings, until Ctrl-C
    #[arg(long)]
    pub keep_running: bool,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let config = config(context.loaded, args.files.is_empty());
    let streams = streams(&args.files, &args.channels.request())?;
    let model = ModelSource::configured(config.default_model().path.as_deref()).contract()?;
    let listeners = Listeners { grpc: free_port().await?, http: free_port().await?, audiosocket: None };
    let addresses = Addresses { grpc: listeners.grpc.local_addr()?, http: listeners.http.local_addr()? };
    if args.format == EventFormat::Table {
        let (version, name) = (env!("CARGO_PKG_VERSION"), format!("{}@{}", model.name, model.version));
        let Addresses { grpc, http } = addresses;
        let mut out = io::stdout();
        writeln!(
            out,
            "affectd {version} in this process: gRPC {grpc}, HTTP {http}\n\
             model {name}; {} recordings over gRPC, concurrently, at speed {}",
            streams.len(),
            args.speed
        )?;
        if args.files.is_empty() {
            writeln!(out, "{ABOUT_SAMPLES}")?;
        }
        writeln!(out)?;
    }
    let stop = CancellationToken::new();
    let daemon = daemon::run(config, listeners, stop.clone().cancelled_owned());
    run_with_daemon(daemon, &stop, run_client(&args, addresses, streams)).await
}

/// Returns the configuration of the daemon: without Kafka, webhook, TLS, authentication and the token of HTTP, and with [`UNCERTAIN_BELOW`] for the
/// samples.
fn config(loaded: Loaded, samples: bool) -> Config {
    let key = "publish.uncertain_below";
    let default = loaded.settings.iter().any(|it| it.key == key && it.origin == ValueOrigin::Default);
    let (tls, auth, webhook) = Default::default();
    let mut config = Config { kafka: None, tls, auth, webhook, ..loaded.config };
    config.http.token = None;
    if samples && default {
        config.publish.uncertain_below = UNCERTAIN_BELOW;
    }
    config
}

/// Runs `task` concurrently with the daemon and then drains the daemon. Where the daemon stops first, the task is cancelled
/// and an error is returned.
async fn run_with_daemon(
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

/// The addresses that the daemon listens on.
#[derive(Clone, Copy)]
struct Addresses {
    grpc: SocketAddr,
    http: SocketAddr,
}

/// Sends all streams to the daemon and prints their events and a summary; with `--keep-running`, then waits for a signal.
async fn run_client(args: &Args, addresses: Addresses, streams: Vec<NamedScript>) -> anyhow::Result<()> {
    let server = GrpcServer { authority: addresses.grpc.to_string(), tls: false };
    let channel = client::connect(&server, &Credentials::default()).await?;
    client::wait_until_serving(channel.clone()).await?;
    let outcome = recognize_all(&channel, streams, args.speed, Some(args.format)).await?;
    if args.format == EventFormat::Table {
        writeln!(io::stdout(), "\n{}", summary(&outcome))?;
    }
    first_of(outcome.failures)?;
    if args.keep_running {
        // The signal handler is installed before the line is printed, because a program that reads the line may send
        // the signal immediately.
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

/// Returns the user's files, or the samples, as streams. Files with the same name get numbered stream ids.
fn streams(files: &[PathBuf], channels: &ChannelRequest) -> anyhow::Result<Vec<NamedScript>> {
    let named_recordings = if files.is_empty() {
        let mut samples = samples::recordings()?;
        samples.push(samples::muted()?);
        samples.into_iter().map(|(name, recording)| (name.to_owned(), recording)).collect()
    } else {
        recordings::expand(files)?
            .iter()
            .map(|path| Ok((recordings::stem(path), recordings::decode(path)?)))
            .collect::<anyhow::Result<Vec<_>>>()?
    };
    let mut streams: Vec<NamedScript> = Vec::with_capacity(named_recordings.len());
    for (name, recording) in named_recordings {
        let taken = |id: &str| streams.iter().any(|stream| stream.stream_id == id);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let stream_id = std::iter::once(name.clone()).chain(numbered).find(|id| !taken(id));
        let stream_id = stream_id.context("numbers never end")?;
        streams.push(named(stream_id, &recording, channels));
    }
    Ok(streams)
}

/// Cuts a recording as a live source would send it: 8 kHz recordings in µ-law, others as 16-bit PCM.
fn named(stream_id: String, recording: &Recording, channels: &ChannelRequest) -> NamedScript {
    let telephone = recording.sample_rate_hz == TELEPHONE_HZ;
    let encoding = if telephone { Encoding::Mulaw } else { Encoding::PcmS16le };
    let options = ChunkOptions {
        stream_id: stream_id.clone(),
        chunk: CHUNK,
        encoding,
        first_sample: true,
        channels: channels.clone(),
        model: String::new(),
    };
    let script = Script::of_samples(&recording.channels, recording.sample_rate_hz, &options);
    NamedScript { stream_id, script }
}

async fn free_port() -> anyhow::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await.context("listen on a free port of 127.0.0.1")
}
