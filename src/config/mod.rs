//! The configuration: raw layers in, validated sections out, all at once and before anything starts.
//!
//! Defaults, then a TOML file, then `AFFECTD__SECTION__KEY` variables, then flags ([`LoadOptions`]); the table
//! of keys ([`KEYS`]) says what each one allows. Out comes [`Loaded`], or the first [`ConfigError`].

mod error;
mod kafka;
mod keys;
mod kinds;
mod layers;
mod limits;
mod sections;
mod vad;
mod values;

pub use error::{ConfigError, Origin};
pub use kafka::{Kafka, OnLostProgress, ValueFormat};
pub use keys::{KAFKA_PROPERTIES, KEYS, Key, Kind, MODEL_KEYS, is_secret};
pub use kinds::allowed;
pub use layers::{LoadOptions, VARIABLE_PREFIX};
pub use limits::{Limits, Scheduling};
pub use sections::*;
pub use vad::{Vad, VadMode};

use values::Values;

/// A valid configuration and where each of its values came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What the stages are given.
    pub config: Config,
    /// Every key in the order of the table, then librdkafka's own properties; secrets are masked.
    pub settings: Vec<Setting>,
    /// `[kafka]` whether or not it is on; its brokers mean nothing.
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
    /// Who set it.
    pub origin: Origin,
}

impl Loaded {
    /// `[kafka]` for a client that was told its brokers elsewhere: the configured topics and properties.
    pub fn kafka_at(&self, brokers: &str) -> Kafka {
        Kafka { brokers: brokers.to_owned(), ..self.kafka.clone() }
    }

    /// The error for a value that is valid by itself but does not fit something learnt later, such as
    /// the model: `allowed` says what would.
    pub fn reject(&self, key: &str, allowed: impl Into<String>) -> ConfigError {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        let value = setting.and_then(|setting| setting.value.clone());
        ConfigError::Value {
            key: key.to_owned(),
            value: value.map_or("not set".to_owned(), |value| format!("{value:?}")),
            origin: setting.map_or(Origin::Default, |setting| setting.origin.clone()),
            allowed: allowed.into(),
        }
    }
}

/// Reads all layers and checks every value.
///
/// # Errors
/// The first thing that is wrong: the file, an unknown key, or a value that its key does not allow.
pub fn load(options: &LoadOptions) -> Result<Loaded, ConfigError> {
    let values = Values::check(layers::merge(options)?)?;
    let config = Config::from_values(&values);
    let kafka = Kafka::from_values("", &values);
    let loaded = Loaded { config, settings: values.settings, kafka };
    check_models(&loaded)?;
    check_topics(&loaded)?;
    Ok(loaded)
}

/// Someone must answer, and only a shadow has a topic of its own.
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

/// One topic in two roles would feed the daemon its own output.
fn check_topics(loaded: &Loaded) -> Result<(), ConfigError> {
    let Some(kafka) = &loaded.config.kafka else { return Ok(()) };
    let mut topics = vec![
        ("kafka.input_topic".to_owned(), &kafka.input_topic),
        ("kafka.output_topic".to_owned(), &kafka.output_topic),
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
