//! The configuration of all modules: composed, validated and documented in one place.
//!
//! Input: defaults, then a TOML file, then `AFFECTD__SECTION__KEY` variables, then flags ([`LoadOptions`]). Output:
//! [`Loaded`], or the first [`ConfigError`]. Invariants: every value is valid before anything starts, and each key is
//! defined once, as a field in the `options.rs` of the module that uses it (`[limits]`, which spans modules, in `limits.rs` here). [`keys`], [`template`], [`table`] and
//! [`schema`] describe these fields.

mod alerts;
mod describe;
mod error;
mod file;
mod ingest;
mod keys;
mod layers;
mod limits;
mod secrets;
mod security;
mod values;

pub use describe::{schema, table, template};
pub use error::{ConfigError, ValueOrigin};
pub use keys::{KAFKA_PROPERTIES, Key, alert_keys, keys, model_keys};
pub use layers::{LoadOptions, VARIABLE_PREFIX};
pub use limits::{Limits, Scheduling};

pub use crate::audio::Options as Audio;
pub use crate::batch::Options as Batch;
pub use crate::calls::Options as Calls;
pub use crate::calls::alerts::Rule as AlertRule;
pub use crate::evaluation::Options as Evaluation;
pub use crate::kafka::{DeliveryMode, OnLostProgress, Options as Kafka, ValueFormat};
pub use crate::model::{Device, EngineOptions as Engine};
pub use crate::publish::{AdaptationMethod, Options as Publish, Smoothing, SmoothingMethod};
pub use crate::security::{AuthOptions as Auth, ClientAuth, TlsOptions as Tls};
pub use crate::serving::{ConfiguredModel as Model, Role};
pub use crate::transport::grpc::Options as Grpc;
pub use crate::transport::http::Options as Http;
pub use crate::transport::ingest::{Options as Ingest, PrivacyOptions as Privacy};
pub use crate::vad::{Mode as VadMode, Options as Vad};
pub use crate::webhook::Options as Webhook;
pub use crate::window::Options as Window;

use crate::serving::{ModelOptions, ReloaderOptions};
use file::File;
use values::Values;

/// The options of every stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[model]`, or each `[[model]]`; at least one serves.
    pub models: Vec<Model>,
    /// `[audio]`
    pub audio: Audio,
    /// `[window]`
    pub window: Window,
    /// `[vad]`
    pub vad: Vad,
    /// `[batch]`
    pub batch: Batch,
    /// `[engine]`
    pub engine: Engine,
    /// `[grpc]`
    pub grpc: Grpc,
    /// `[http]`
    pub http: Http,
    /// `[tls]`
    pub tls: Tls,
    /// `[auth]`
    pub auth: Auth,
    /// `[kafka]`; `None` while `kafka.brokers` is not set.
    pub kafka: Option<Kafka>,
    /// `[publish]`
    pub publish: Publish,
    /// `[evaluation]`
    pub evaluation: Evaluation,
    /// `[calls]`
    pub calls: Calls,
    /// Each `[[alert]]`, in the order of the file.
    pub alerts: Vec<AlertRule>,
    /// `[webhook]`
    pub webhook: Webhook,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[privacy]`
    pub privacy: Privacy,
    /// `[limits]`
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        File::default().with_models(vec![ModelOptions::default()])
    }
}

impl Config {
    /// Returns the model of streams that name none, and of every command that takes one.
    #[must_use]
    pub fn default_model(&self) -> &Model {
        let serving = self.models.iter().find(|model| model.role == Role::Serving);
        serving.expect("the configuration was refused without one")
    }

    /// Returns the sections that load the models and set up their streams.
    #[must_use]
    pub fn reloader(&self) -> ReloaderOptions {
        let Self { models, window, audio, vad, batch, engine, .. } = self.clone();
        let shard_capacity = self.limits.shard_count().saturating_mul(self.limits.shard_queue);
        let (bounds, summaries) = (self.limits.bounds(), self.calls.summaries);
        ReloaderOptions { models, window, audio, vad, batch, engine, bounds, summaries, shard_capacity }
    }
}

/// A valid configuration and where each of its values came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The options of every stage.
    pub config: Config,
    /// Every key in order, then librdkafka's own properties; secrets are masked.
    pub settings: Vec<Setting>,
    /// `[kafka]`, whether or not Kafka is on.
    kafka: Kafka,
}

/// One key as `affectd config print` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `section.key`
    pub key: String,
    /// As a file would hold it, without quotes; `None` where it is not set.
    pub value: Option<String>,
    /// Whether a file would quote it.
    pub is_text: bool,
    /// Where the value was set.
    pub origin: ValueOrigin,
}

impl Loaded {
    /// Returns `[kafka]` for a client that has other brokers: the configured topics and properties.
    #[must_use]
    pub fn kafka_at(&self, brokers: &str) -> Kafka {
        Kafka { brokers: brokers.to_owned(), ..self.kafka.clone() }
    }

    /// Checks that no port is bound to other addresses than the loopback interface without TLS and authentication.
    ///
    /// # Errors
    /// Returns the error of `grpc.address` or `http.address`.
    pub fn check_exposure(&self) -> Result<(), ConfigError> {
        security::check_exposure(self)
    }

    /// Returns the error for a value that is valid by itself but does not fit something else, such as another value or
    /// the model; `allowed` describes what would fit.
    pub fn reject(&self, key: &str, allowed: impl Into<String>) -> ConfigError {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        let value = setting.and_then(|setting| setting.value.clone());
        ConfigError::Value {
            key: key.to_owned(),
            value: value.map_or("not set".to_owned(), |value| format!("{value:?}")),
            origin: setting.map_or(ValueOrigin::Default, |setting| setting.origin.clone()),
            allowed: allowed.into(),
        }
    }
}

/// Reads all layers and validates every value.
///
/// # Errors
/// The first thing that is wrong: the file, an unknown key, or a value that its key does not allow.
pub fn load(options: &LoadOptions) -> Result<Loaded, ConfigError> {
    let values = Values::check(layers::merge(options)?, &options.environment)?;
    let Values { file, models, alerts, settings } = values;
    let kafka = file.kafka.clone();
    let mut loaded = Loaded { config: file.with_models(models), settings, kafka };
    check_models(&loaded)?;
    check_topics(&loaded)?;
    ingest::check(&loaded)?;
    security::check(&loaded)?;
    alerts::check_webhook(&loaded)?;
    loaded.config.alerts = alerts::rules(&loaded, &alerts)?;
    Ok(loaded)
}

/// Checks that at least one model serves, and that only shadows have topics.
fn check_models(loaded: &Loaded) -> Result<(), ConfigError> {
    if loaded.config.models.iter().all(|model| model.role != Role::Serving) {
        return Err(loaded.reject("model.0.shadow", "false for at least one [[model]]"));
    }
    for (index, model) in loaded.config.models.iter().enumerate() {
        let key = format!("model.{index}.topic");
        let set = loaded.settings.iter().any(|setting| setting.key == key && setting.value.is_some());
        if set && model.role == Role::Serving {
            return Err(loaded.reject(&key, "a topic only beside shadow = true"));
        }
    }
    Ok(())
}

/// Checks that no two topics are the same: the daemon would read its own output.
fn check_topics(loaded: &Loaded) -> Result<(), ConfigError> {
    let Some(kafka) = &loaded.config.kafka else { return Ok(()) };
    let mut topics = vec![
        ("kafka.input_topic".to_owned(), &kafka.input_topic),
        ("kafka.output_topic".to_owned(), &kafka.output_topic),
        ("kafka.calls_topic".to_owned(), &kafka.calls_topic),
        ("kafka.alerts_topic".to_owned(), &kafka.alerts_topic),
        ("kafka.dead_letter_topic".to_owned(), &kafka.dead_letter_topic),
        ("kafka.progress_topic".to_owned(), &kafka.progress_topic),
    ];
    for (index, model) in loaded.config.models.iter().enumerate() {
        if let Role::Shadow { topic: Some(topic) } = &model.role {
            topics.push((format!("model.{index}.topic"), topic));
        }
    }
    for (index, (key, topic)) in topics.iter().enumerate() {
        if let Some((other, _)) = topics[..index].iter().find(|(_, earlier)| earlier == topic) {
            return Err(loaded.reject(key, format!("a topic of its own, not that of {other}")));
        }
    }
    Ok(())
}
