//! The conversion of raw values to typed ones. Every value is validated here and nowhere else.
//!
//! Input: the merged layers. Output: the options of all modules, and each key with its value and origin. Invariants: a
//! value is allowed if and only if the field that it belongs to accepts it.

use std::collections::BTreeMap;

use config::ValueKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::file::File;
use super::keys::{KAFKA_PROPERTIES, Key, alert_keys, as_text, keys, model_keys, nearest};
use super::layers::Raw;
use super::{ConfigError, Setting, ValueOrigin, secrets};
use crate::calls::alerts::AlertOptions;
use crate::kafka::{MASK, Properties, RESERVED_PROPERTIES, ValueSource, is_secret};
use crate::options::{Form, SECRET};
use crate::serving::ModelOptions;

/// Validated values.
#[derive(Default)]
pub(super) struct Values {
    /// Every section but `[model]`.
    pub file: File,
    /// The models in the order of the file; `[model]` is a list of one.
    pub models: Vec<ModelOptions>,
    /// The rules of alerts in the order of the file.
    pub alerts: Vec<AlertOptions>,
    /// Every key in order, then librdkafka's properties; secrets are masked.
    pub settings: Vec<Setting>,
}

pub(super) type RawValues = BTreeMap<String, Raw>;
type Object = Map<String, Json>;

impl Values {
    /// Validates every value, in the order of the keys. Values that name a variable are read from `environment`.
    pub fn check(mut raw: RawValues, environment: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut values = Self::default();
        while let Some(model) = values.take_entry::<ModelOptions>(&mut raw, ("model", values.models.len()))? {
            values.models.push(model);
        }
        let several = !values.models.is_empty();
        let mut single = Object::new();
        let mut sections = Object::new();
        for key in keys() {
            let (section, name) = key.name.split_once('.').expect("every key has a section");
            let given = secrets::take(&mut raw, key, environment)?;
            if section == "model" && several {
                refuse_beside_list(&key.name, given)?;
            } else if section == "model" {
                let read = |value| canonical::<ModelOptions>(&[name], value);
                single.insert(name.to_owned(), values.take(key, key.name.clone(), given, read)?);
            } else {
                let read = |value| canonical::<File>(&[section, name], value);
                let value = values.take(key, key.name.clone(), given, read)?;
                nested(&mut sections, section).insert(name.to_owned(), value);
            }
        }
        if !several {
            values.models.push(typed(single));
        }
        while let Some(alert) = values.take_entry::<AlertOptions>(&mut raw, ("alert", values.alerts.len()))? {
            values.alerts.push(alert);
        }
        let mut properties = Object::new();
        let mut origins: BTreeMap<String, u8> = BTreeMap::new();
        for (key, raw) in raw {
            let precedence = raw.origin.precedence();
            let (property, value) = values.take_property(key, raw, environment)?;
            // The same property may be set as a value in one layer and as a file in another: the later layer counts.
            let before = origins.entry(property.clone()).or_insert(precedence);
            if precedence >= *before {
                *before = precedence;
                properties.insert(property, value.into());
            }
        }
        nested(&mut sections, "kafka").insert("properties".to_owned(), properties.into());
        values.file = typed(sections);
        Ok(values)
    }

    /// Takes an entry of `[[model]]` or `[[alert]]`, if there is one with this index.
    fn take_entry<T: DeserializeOwned + Serialize>(
        &mut self,
        raw: &mut RawValues,
        (list, index): (&str, usize),
    ) -> Result<Option<T>, ConfigError> {
        let prefix = format!("{list}.{index}.");
        if !raw.keys().any(|key| key.starts_with(&prefix)) {
            return Ok(None);
        }
        let mut entry = Object::new();
        for key in if list == "model" { model_keys() } else { alert_keys() } {
            let name = format!("{prefix}{}", key.name);
            let given = raw.remove(&name);
            let read = |value| canonical::<T>(&[&key.name], value);
            entry.insert(key.name.clone(), self.take(key, name, given, read)?);
        }
        Ok(Some(typed(entry)))
    }

    /// Converts one value and records it as a setting. A key that is not set has its default, or null.
    fn take(
        &mut self,
        key: &Key,
        name: String,
        given: Option<Raw>,
        read: impl Fn(Json) -> Option<Json>,
    ) -> Result<Json, ConfigError> {
        let (value, origin) = match given {
            None => (key.schema["default"].clone(), ValueOrigin::Default),
            // An empty value unsets a key that need not be set, whatever an earlier layer sets.
            Some(Raw { kind, origin }) if key.default.is_none() && is_empty(&kind) => (Json::Null, origin),
            Some(Raw { kind, origin }) => match readings(&kind).into_iter().find_map(&read) {
                Some(value) => (value, origin),
                None => {
                    let rejected = reject(&name, &kind, &origin, &key.allowed());
                    return Err(if is_masked(key) { masked(rejected) } else { rejected });
                }
            },
        };
        let is_set = value.is_string() || value.as_array().is_some_and(|list| !list.is_empty());
        let shown = if is_masked(key) && is_set { MASK.into() } else { value.clone() };
        self.settings.push(Setting { key: name, value: as_text(&shown), is_text: shown.is_string(), origin });
        Ok(value)
    }

    fn take_property(
        &mut self,
        key: String,
        raw: Raw,
        environment: &[(String, String)],
    ) -> Result<(String, String), ConfigError> {
        let Raw { kind, origin } = raw;
        let Some(property) = key.strip_prefix(KAFKA_PROPERTIES).map(str::to_owned) else {
            return Err(ConfigError::UnknownKey { nearest: nearest(&key), key, origin });
        };
        if matches!(kind, ValueKind::Array(_) | ValueKind::Nil) {
            return Err(reject(&key, &kind, &origin, &Properties::allowed()));
        }
        let value = kind.to_string();
        let (property, value, shown) = match ValueSource::of(&property) {
            Some((property, source)) => {
                let read = secrets::read(source, &value, environment);
                let read = read.map_err(|allowed| reject(&key, &kind, &origin, &allowed))?;
                (property.to_owned(), read, value)
            }
            None if is_secret(&property) => (property, value, MASK.to_owned()),
            None => (property, value.clone(), value),
        };
        if let Some((_, instead)) = RESERVED_PROPERTIES.iter().find(|(name, _)| *name == property) {
            return Err(reject(&key, &kind, &origin, instead));
        }
        self.settings.push(Setting { key, value: Some(shown), is_text: true, origin });
        Ok((property, value))
    }
}

/// Returns what a value may stand for, in the order in which it is tried.
///
/// Text from a variable or a flag has no type: it is text where the key accepts text, else a boolean or a number.
fn readings(kind: &ValueKind) -> Vec<Json> {
    let mut readings: Vec<Json> = match kind {
        ValueKind::Boolean(value) => vec![(*value).into()],
        ValueKind::I64(value) => vec![(*value).into()],
        ValueKind::U64(value) => vec![(*value).into()],
        ValueKind::Float(value) => vec![(*value).into()],
        ValueKind::String(text) => {
            let text = text.trim();
            let boolean = text.parse::<bool>().map(Json::from).ok();
            let whole = text.parse::<u64>().map(Json::from).ok();
            let number = text.parse::<f64>().map(Json::from).ok();
            std::iter::once(text.into()).chain(boolean).chain(whole).chain(number).collect()
        }
        ValueKind::Array(items) => {
            let text = |item: &config::Value| match &item.kind {
                ValueKind::String(text) => Some(Json::from(text.as_str())),
                _ => None,
            };
            items.iter().map(text).collect::<Option<Vec<Json>>>().map(Json::Array).into_iter().collect()
        }
        ValueKind::Nil | ValueKind::I128(_) | ValueKind::U128(_) | ValueKind::Table(_) => Vec::new(),
    };
    // JSON has no NaN and no infinity: both become null, which would mean that the key is not set.
    readings.retain(|reading| !reading.is_null());
    readings
}

fn is_empty(kind: &ValueKind) -> bool {
    matches!(kind, ValueKind::Nil) || *kind == ValueKind::from("")
}

/// Returns the value as the field at `path` of `T` writes it; `None` where the field does not accept it.
fn canonical<T: DeserializeOwned + Serialize>(path: &[&str], value: Json) -> Option<Json> {
    let wrap = |value, name: &&str| Json::Object(Object::from_iter([((*name).to_owned(), value)]));
    let options: T = serde_json::from_value(path.iter().rev().fold(value, wrap)).ok()?;
    let mut written = serde_json::to_value(options).expect("options are plain values");
    path.iter().try_fold(&mut written, |json, name| json.get_mut(*name)).map(Json::take)
}

/// Returns the options with these values, each of which its field has accepted.
fn typed<T: DeserializeOwned>(values: Object) -> T {
    serde_json::from_value(values.into()).expect("the fields accept the values one by one")
}

fn nested<'a>(sections: &'a mut Object, section: &str) -> &'a mut Object {
    let section = sections.entry(section).or_insert_with(|| Object::new().into());
    section.as_object_mut().expect("every section is an object")
}

/// Refuses a value in `[model]` where there is `[[model]]`.
fn refuse_beside_list(key: &str, given: Option<Raw>) -> Result<(), ConfigError> {
    match given {
        Some(Raw { kind, origin }) if !matches!(kind, ValueKind::Nil) => {
            let allowed = "either [model] or [[model]] (model.0.path and so on), not both";
            Err(reject(key, &kind, &origin, allowed))
        }
        _ => Ok(()),
    }
}

/// Returns the error for a value that its key does not allow.
pub(super) fn reject(key: &str, kind: &ValueKind, origin: &ValueOrigin, allowed: &str) -> ConfigError {
    let value = match kind {
        _ if key.strip_prefix(KAFKA_PROPERTIES).is_some_and(is_secret_value) => MASK.to_owned(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    };
    ConfigError::Value { key: key.to_owned(), value, origin: origin.clone(), allowed: allowed.to_owned() }
}

/// Returns whether the values of a key are not shown.
pub(super) fn is_masked(key: &Key) -> bool {
    key.schema[SECRET] == true
}

/// Returns the error without the value.
fn masked(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Value { key, origin, allowed, .. } => {
            ConfigError::Value { key, value: MASK.to_owned(), origin, allowed }
        }
        other => other,
    }
}

/// Returns whether the value of a property itself is secret; the name of a file or a variable is not.
fn is_secret_value(property: &str) -> bool {
    is_secret(property) && ValueSource::of(property).is_none()
}
