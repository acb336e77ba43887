//! `affectd config check`: whether a valid configuration fits this machine.
//!
//! Input: the loaded configuration. Output: everything that would stop `affectd serve`: models that cannot be loaded, addresses that cannot be used, and
//! properties that librdkafka refuses. Invariants: no connection is opened, and nothing is left behind.

use std::net::SocketAddr;

use super::streams::first_of;
use crate::config::{self, Engine, Loaded};
use crate::kafka::clients;
use crate::model::{Model, ModelSource};

/// Why a configuration that is valid does not fit this machine, in one line: exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EnvironmentError(String);

/// Checks the models, the addresses and the properties of Kafka. Blocks its thread while the models are loaded.
///
/// # Errors
/// The first [`EnvironmentError`]; the others are logged.
pub fn check(loaded: &Loaded) -> anyhow::Result<()> {
    let config = &loaded.config;
    let mut failures: Vec<anyhow::Error> = super::serve::check(loaded).err().into_iter().collect();
    if failures.is_empty() {
        failures.extend(config.models.iter().filter_map(|model| load(model, &config.engine).err()));
    }
    let audiosocket =
        config.ingest.audiosocket_address.map(|address| ("ingest.audiosocket.address", address));
    let addresses = [("grpc.address", config.grpc.address), ("http.address", config.http.address)];
    failures.extend(
        addresses.into_iter().chain(audiosocket).filter_map(|(key, address)| bind(key, address).err()),
    );
    // The properties are checked while Kafka is off as well.
    failures.extend(clients::check(&loaded.kafka_at("")).err().map(anyhow::Error::msg));
    first_of(failures.iter().map(|failure| EnvironmentError(super::one_line(failure)).into()).collect())
}

/// Loads a model as the daemon does, on one session.
fn load(model: &config::Model, engine: &Engine) -> anyhow::Result<()> {
    let engine = Engine { sessions: 1, ..engine.clone() };
    let source = ModelSource::configured(model.path.as_deref());
    source.check_size(model.limits.max_bytes as u64)?;
    Model::load(source, &engine)?;
    Ok(())
}

/// Listens on an address for a moment. An address that is in use is only reported, because a daemon with this configuration may be running.
fn bind(key: &str, address: SocketAddr) -> anyhow::Result<()> {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!("{key} = {address} is in use; a daemon cannot start until it is free");
            Ok(())
        }
        Err(error) => Err(anyhow::anyhow!("{key} = {address}: {error}")),
    }
}
