//! `affectd serve`: runs the daemon until SIGTERM or SIGINT.
//!
//! Input: the configuration. Output: none; the daemon logs to stderr. Invariants: SIGHUP reloads the models.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::Loaded;
use crate::daemon::{self, DaemonError, Listeners};
use crate::kafka::KafkaFault;
use crate::model::{Contract, ModelSource, Runtime};
use crate::security::{Gate, ServerTls};
use crate::stream::{SetupError, StreamSetup};
use crate::vad;
use crate::window::{GeometryError, MAX_HOP, WindowGeometry};

/// Arguments of `affectd serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, context: super::Context) -> anyhow::Result<()> {
    context.loaded.check_exposure()?;
    check(&context.loaded)?;
    let config = context.loaded.config;
    let shutdown = super::signal()?;
    raise_descriptor_limit();
    let listeners = Listeners {
        grpc: bind("grpc.address", config.grpc.address).await?,
        http: bind("http.address", config.http.address).await?,
        audiosocket: match config.ingest.audiosocket_address {
            Some(address) => Some(bind("ingest.audiosocket.address", address).await?),
            None => None,
        },
    };
    let (grpc, http) = (listeners.grpc.local_addr()?, listeners.http.local_addr()?);
    match &listeners.audiosocket {
        Some(port) => {
            let audiosocket = port.local_addr()?;
            tracing::info!("listening grpc={grpc} http={http} audiosocket={audiosocket}");
        }
        None => tracing::info!("listening grpc={grpc} http={http}"),
    }
    daemon::run_with_reload(config, listeners, reload_requests()?, shutdown).await.map_err(
        |error| match error {
            DaemonError::Kafka(KafkaFault::Broker { .. }) => anyhow::Error::new(error).context(
                "use Kafka (kafka.brokers must name reachable brokers; where it is not set, Kafka is off)",
            ),
            other => other.into(),
        },
    )
}

/// Raises the limit of open descriptors to the most that the process may have: each connection takes one.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::warn!(limit = ?limit.current, "cannot raise the limit of open descriptors: {error}");
    }
}

/// Returns a channel of reload requests, one for each SIGHUP. The channel holds one request: during a reload, the next
/// request waits and further ones are dropped, because the waiting reload covers them.
fn reload_requests() -> std::io::Result<mpsc::Receiver<()>> {
    let mut signals = signal(SignalKind::hangup())?;
    let (reload, requests) = mpsc::channel(1);
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            if let Err(mpsc::error::TrySendError::Closed(())) = reload.try_send(()) {
                return;
            }
        }
    });
    Ok(requests)
}

/// Checks, before the daemon listens, that every model can be read, that its windows match the configuration, that
/// ONNX Runtime can be loaded, and that the files of `[tls]` and `[auth]` can be read.
pub(super) fn check(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    for model in &config.models {
        let source = ModelSource::configured(model.path.as_deref());
        let contract = source.check_size(model.limits.max_bytes as u64).and_then(|()| source.contract());
        let contract =
            contract.context("use model.path (where it is not set, the built-in model is used)")?;
        check_windows(&contract, loaded)?;
    }
    ServerTls::start(&config.tls)?;
    Gate::start(&config.auth, config.limits.of_principals())?;
    Runtime::load(config.engine.library.as_deref())?;
    Ok(())
}

/// Rejects a hop that is not a multiple of the model's frame hop, and voice activity detection at a sample rate that the
/// detector does not support.
fn check_windows(contract: &Contract, loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    let setup = StreamSetup::new(contract, &config.window, &config.audio);
    match setup.and_then(|setup| setup.gated(contract, &config.vad)) {
        Ok(setup) => {
            warn_of_gaps(&setup);
            Ok(())
        }
        Err(SetupError::Geometry(GeometryError::Hop { frame, .. })) => {
            let allowed = format!("a whole multiple of the model's frame hop, {frame:?}, up to {MAX_HOP:?}");
            Err(loaded.reject("window.hop", allowed).into())
        }
        Err(SetupError::VoiceActivity { model, rate_hz }) => {
            let needed = vad::SAMPLE_RATE_HZ;
            let allowed = format!(
                "\"off\" or \"digital-silence\" with model {model} at {rate_hz} Hz, or a model at {needed} Hz"
            );
            Err(loaded.reject("vad.mode", allowed).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Logs a warning where windows do not touch each other.
fn warn_of_gaps(setup: &StreamSetup) {
    let WindowGeometry { length, hop, sample_rate_hz, .. } = setup.geometry;
    if hop > length {
        let seconds = |samples: u64| samples as f64 / f64::from(sample_rate_hz);
        let (hop, length) = (seconds(hop), seconds(length));
        tracing::warn!(
            "window.hop = {hop} s is longer than a window ({length} s): the audio between two windows is not analysed"
        );
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}: choose another port with {key}"))
}
