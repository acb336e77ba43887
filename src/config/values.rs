//! Raw values to typed ones, by the table of keys: here every value is judged, and here alone.
//!
//! In: the merged layers. Out: [`Values`], which the sections are filled from. Never reads a file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use config::ValueKind;
use humantime_serde::re::humantime;

use super::keys::{KAFKA_PROPERTIES, KEYS, Key, Kind, MODEL_KEYS, RESERVED_PROPERTIES, is_secret, nearest};
use super::kinds::{allowed, is_host_and_port, is_topic};
use super::layers::Raw;
use super::sections::{Model, Role};
use super::{ConfigError, Origin, Setting};

/// A value that its key allows.
#[derive(Debug, Clone)]
enum Value {
    Duration(Duration),
    Integer(u64),
    Auto,
    Share(f64),
    Boolean(bool),
    Address(SocketAddr),
    Text(String),
}

/// Checked values by key; a key that is not set is absent.
pub(super) struct Values {
    values: BTreeMap<&'static str, Value>,
    /// `[[model]]`, where there are any: the keys of each.
    models: Vec<BTreeMap<&'static str, Value>>,
    pub properties: BTreeMap<String, String>,
    pub settings: Vec<Setting>,
}

impl Values {
    /// Checks every value, in the order of the table.
    pub fn check(mut raw: BTreeMap<String, Raw>) -> Result<Self, ConfigError> {
        let mut result = Self {
            values: BTreeMap::new(),
            models: Vec::new(),
            properties: BTreeMap::new(),
            settings: Vec::new(),
        };
        while let Some(model) = result.take_model(&mut raw)? {
            result.models.push(model);
        }
        for key in KEYS {
            let Raw { kind, origin } = raw.remove(key.name).expect("the defaults hold every key");
            if key.name == "model.path" && !result.models.is_empty() {
                if !matches!(kind, ValueKind::Nil) {
                    let allowed = "either [model] or [[model]] (model.0.path and so on), not both";
                    return Err(reject(key.name, &kind, &origin, allowed));
                }
                continue;
            }
            if let Some(value) = result.take(key, key.name.to_owned(), &kind, origin)? {
                result.values.insert(key.name, value);
            }
        }
        for (key, Raw { kind, origin }) in raw {
            result.take_property(key, &kind, origin)?;
        }
        Ok(result)
    }

    /// The next of `[[model]]`, where there is one.
    fn take_model(
        &mut self,
        raw: &mut BTreeMap<String, Raw>,
    ) -> Result<Option<BTreeMap<&'static str, Value>>, ConfigError> {
        let prefix = format!("model.{}.", self.models.len());
        if !raw.keys().any(|key| key.starts_with(&prefix)) {
            return Ok(None);
        }
        let mut model = BTreeMap::new();
        for key in MODEL_KEYS {
            let name = format!("{prefix}{}", key.name);
            let unset =
                || Raw { kind: key.default.map_or(ValueKind::Nil, ValueKind::from), origin: Origin::Default };
            let Raw { kind, origin } = raw.remove(&name).unwrap_or_else(unset);
            if let Some(value) = self.take(key, name, &kind, origin)? {
                model.insert(key.name, value);
            }
        }
        Ok(Some(model))
    }

    fn take(
        &mut self,
        key: &Key,
        name: String,
        kind: &ValueKind,
        origin: Origin,
    ) -> Result<Option<Value>, ConfigError> {
        let unset = matches!(kind, ValueKind::Nil) || *kind == ValueKind::from("");
        let value = if unset && key.default.is_none() {
            None
        } else {
            Some(parse((&name, key.kind), kind, &origin)?)
        };
        self.settings.push(Setting {
            key: name,
            value: value.as_ref().map(render),
            is_text: !matches!(value, Some(Value::Integer(_) | Value::Share(_) | Value::Boolean(_))),
            origin,
        });
        Ok(value)
    }

    /// Every model, in the order of the file; `[model]` is a list of one.
    pub fn models(&self) -> Vec<Model> {
        if self.models.is_empty() {
            return vec![Model { path: self.path("model.path"), role: Role::Serving }];
        }
        let text = |model: &BTreeMap<&str, Value>, key| match model.get(key) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let model = |model: &BTreeMap<&'static str, Value>| Model {
            path: text(model, "path").map(PathBuf::from),
            role: match model.get("shadow") {
                Some(Value::Boolean(true)) => Role::Shadow { topic: text(model, "topic") },
                _ => Role::Serving,
            },
        };
        self.models.iter().map(model).collect()
    }

    fn take_property(&mut self, key: String, kind: &ValueKind, origin: Origin) -> Result<(), ConfigError> {
        let Some(property) = key.strip_prefix(KAFKA_PROPERTIES) else {
            return Err(ConfigError::UnknownKey { nearest: nearest(&key), key, origin });
        };
        let reserved = RESERVED_PROPERTIES.iter().find(|(name, _)| *name == property);
        let allowed = match (reserved, kind) {
            (Some((_, instead)), _) => Some(*instead),
            (None, ValueKind::Array(_) | ValueKind::Nil) => Some("text, a number, true or false"),
            (None, _) => None,
        };
        if let Some(allowed) = allowed {
            return Err(reject(&key, kind, &origin, allowed));
        }
        let value = kind.to_string();
        self.properties.insert(property.to_owned(), value.clone());
        let shown = if is_secret(&key) { "********".to_owned() } else { value };
        self.settings.push(Setting { key, value: Some(shown), is_text: true, origin });
        Ok(())
    }

    pub fn optional_duration(&self, key: &str) -> Option<Duration> {
        match self.values.get(key)? {
            Value::Duration(duration) => Some(*duration),
            other => unreachable!("{key} is no duration: {other:?}"),
        }
    }

    pub fn duration(&self, key: &str) -> Duration {
        self.optional_duration(key).expect("the key has a default")
    }

    /// `None` where it is not set, or `auto`.
    pub fn optional_size(&self, key: &str) -> Option<usize> {
        match self.values.get(key)? {
            Value::Auto => None,
            Value::Integer(size) => {
                Some(usize::try_from(*size).expect("a machine that has so much can count it"))
            }
            other => unreachable!("{key} is no integer: {other:?}"),
        }
    }

    pub fn size(&self, key: &str) -> usize {
        self.optional_size(key).expect("the key has a default")
    }

    pub fn share(&self, key: &str) -> f64 {
        match self.values.get(key) {
            Some(Value::Share(share)) => *share,
            other => unreachable!("{key} is no share: {other:?}"),
        }
    }

    pub fn boolean(&self, key: &str) -> bool {
        match self.values.get(key) {
            Some(Value::Boolean(value)) => *value,
            other => unreachable!("{key} is no boolean: {other:?}"),
        }
    }

    pub fn address(&self, key: &str) -> SocketAddr {
        match self.values.get(key) {
            Some(Value::Address(address)) => *address,
            other => unreachable!("{key} is no address: {other:?}"),
        }
    }

    pub fn optional_text(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            Value::Text(text) => Some(text),
            other => unreachable!("{key} is no text: {other:?}"),
        }
    }

    pub fn text(&self, key: &str) -> String {
        self.optional_text(key).expect("the key has a default").to_owned()
    }

    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.optional_text(key).map(PathBuf::from)
    }
}

/// The error for a value that a key does not allow.
pub(super) fn reject(key: &str, kind: &ValueKind, origin: &Origin, allowed: &str) -> ConfigError {
    let value = match kind {
        _ if is_secret(key) => "********".to_owned(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    };
    ConfigError::Value { key: key.to_owned(), value, origin: origin.clone(), allowed: allowed.to_owned() }
}

fn parse((name, allows): (&str, Kind), kind: &ValueKind, origin: &Origin) -> Result<Value, ConfigError> {
    let value = match (allows, kind) {
        (Kind::Integer { .. } | Kind::IntegerOrAuto { .. }, ValueKind::I64(value)) => {
            u64::try_from(*value).ok().and_then(|value| integer(allows, value))
        }
        (Kind::Boolean, ValueKind::Boolean(value)) => Some(Value::Boolean(*value)),
        (Kind::Share, ValueKind::Float(value)) => share(*value),
        (Kind::Share, ValueKind::I64(value)) => share(*value as f64),
        (expected, ValueKind::String(text)) => from_text(expected, text.trim()),
        _ => None,
    };
    value.ok_or_else(|| reject(name, kind, origin, &allowed(allows)))
}

fn integer(kind: Kind, value: u64) -> Option<Value> {
    match kind {
        Kind::Integer { min, max } | Kind::IntegerOrAuto { min, max } if (min..=max).contains(&value) => {
            Some(Value::Integer(value))
        }
        _ => None,
    }
}

fn from_text(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Duration { positive } => {
            let duration = humantime::parse_duration(text).ok()?;
            (!positive || !duration.is_zero()).then_some(Value::Duration(duration))
        }
        Kind::IntegerOrAuto { .. } if text == "auto" => Some(Value::Auto),
        Kind::Integer { .. } | Kind::IntegerOrAuto { .. } => integer(kind, text.parse().ok()?),
        Kind::Share => share(text.parse().ok()?),
        Kind::Boolean => Some(Value::Boolean(text.parse().ok()?)),
        Kind::Address => Some(Value::Address(text.parse().ok()?)),
        Kind::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        Kind::Brokers => text.split(',').all(is_host_and_port).then(|| Value::Text(text.to_owned())),
        Kind::Topic => is_topic(text).then(|| Value::Text(text.to_owned())),
        Kind::Path | Kind::Text => (!text.is_empty()).then(|| Value::Text(text.to_owned())),
    }
}

fn share(value: f64) -> Option<Value> {
    (0.0..=1.0).contains(&value).then_some(Value::Share(value))
}

fn render(value: &Value) -> String {
    match value {
        Value::Duration(duration) => humantime::format_duration(*duration).to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Auto => "auto".to_owned(),
        Value::Share(value) => value.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Address(address) => address.to_string(),
        Value::Text(text) => text.clone(),
    }
}
