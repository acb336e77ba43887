//! `affectd serve`: the daemon, until SIGTERM or SIGINT. SIGHUP loads the models again.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::Loaded;
use crate::daemon::{self, DaemonError, Listeners};
use crate::kafka::KafkaFault;
use crate::model::{Contract, ModelSource, Runtime};
use crate::stream::{SetupError, StreamSetup};
use crate::vad;
use crate::window::GeometryError;

/// Arguments of `affectd serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_args: Args, context: super::Context) -> anyhow::Result<()> {
    check(&context.loaded)?;
    let config = context.loaded.config;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listeners = Listeners {
        grpc: bind("grpc.address", config.grpc.address).await?,
        http: bind("http.address", config.http.address).await?,
    };
    let (grpc, http) = (listeners.grpc.local_addr()?, listeners.http.local_addr()?);
    tracing::info!("listening grpc={grpc} http={http}");
    daemon::run_with_reload(config, listeners, hang_ups()?, shutdown).await.map_err(|error| match error {
        DaemonError::Kafka(KafkaFault::Broker { .. }) => anyhow::Error::new(error).context(
            "use Kafka (kafka.brokers must name brokers that answer; where it is not set, Kafka is off)",
        ),
        other => other.into(),
    })
}

/// SIGHUP: load the models again. Where one is still being loaded, the next one waits and others add nothing.
fn hang_ups() -> std::io::Result<mpsc::Receiver<()>> {
    let mut signals = signal(SignalKind::hangup())?;
    let (reload, told) = mpsc::channel(1);
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            if let Err(mpsc::error::TrySendError::Closed(())) = reload.try_send(()) {
                return;
            }
        }
    });
    Ok(told)
}

/// Finds out what can be known before anything listens: whether there is a model, whether its windows are the configured ones,
/// whether there is an ONNX Runtime.
fn check(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    for model in &config.models {
        let contract = ModelSource::configured(model).contract();
        let contract =
            contract.context("use model.path (where it is not set, the built-in model is used)")?;
        fits(&contract, loaded)?;
    }
    Runtime::load(config.engine.library.as_deref())?;
    Ok(())
}

/// Refuses windows that the model's frames do not divide, and a gate at a rate at which speech cannot be told.
fn fits(contract: &Contract, loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    let setup = StreamSetup::new(contract, &config.window, &config.audio);
    match setup.and_then(|setup| setup.gated(contract, &config.vad)) {
        Ok(_) => Ok(()),
        Err(SetupError::Geometry(GeometryError::Hop { frame, .. })) => {
            let allowed = format!("a whole multiple of the model's frame hop, {frame:?}");
            Err(loaded.reject("window.hop", allowed).into())
        }
        Err(SetupError::VoiceActivity { model, rate_hz }) => {
            let needed = vad::SAMPLE_RATE_HZ;
            let allowed = format!("\"off\" with model {model} at {rate_hz} Hz, or a model at {needed} Hz");
            Err(loaded.reject("vad.mode", allowed).into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}: choose another port with {key}"))
}
