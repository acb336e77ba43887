//! Every key of the configuration with its default, its allowed values and its help text.
//!
//! Input: the option structs of the modules. Output: [`keys`] and [`model_keys`], which validation, `affectd config print`
//! and the documentation share. Invariants: nothing about a key is written here; all of it comes from the struct.

use std::fmt;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use super::file::File;
use crate::calls::alerts::AlertOptions;
use crate::options;
use crate::serving::ModelOptions;

/// Prefix of the keys that librdkafka defines.
pub const KAFKA_PROPERTIES: &str = "kafka.properties.";

/// One key.
#[derive(Debug, Clone)]
pub struct Key {
    /// `section.key`
    pub name: String,
    /// The default as text; `None` means that the key is not set.
    pub default: Option<String>,
    /// What the key does, in one paragraph.
    pub help: String,
    /// The JSON Schema of its values.
    pub schema: Json,
}

impl Key {
    /// Returns the section: `audio` of `audio.max_gap`.
    #[must_use]
    pub fn section(&self) -> &str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// Describes the allowed values in words that complete the sentence "expected …".
    #[must_use]
    pub fn allowed(&self) -> String {
        options::allowed(&self.schema)
    }
}

/// Returns every key but those under [`KAFKA_PROPERTIES`], in the order in which the structs define them.
#[must_use]
pub fn keys() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let schema = options::schema_of::<File>();
        let Ordered(sections): Ordered<Ordered<Json>> = ordered(&File::default());
        let section = |(section, Ordered(defaults)): (String, _)| {
            keys_of(&format!("{section}."), &schema["properties"][&section], defaults)
        };
        let model = model_keys().iter().filter(|key| SINGLE_MODEL_KEYS.contains(&key.name.as_str()));
        let single = model.map(|key| Key { name: format!("model.{}", key.name), ..key.clone() });
        single.chain(sections.into_iter().flat_map(section)).collect()
    });
    &KEYS
}

/// Returns the keys of one entry of `[[model]]`: `path` is written `model.0.path` in variables and flags.
#[must_use]
pub fn model_keys() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let Ordered(defaults) = ordered(&ModelOptions::default());
        keys_of("", &options::schema_of::<ModelOptions>(), defaults)
    });
    &KEYS
}

/// Returns the keys of one entry of `[[alert]]`: `name` is written `alert.0.name` in variables and flags.
#[must_use]
pub fn alert_keys() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let Ordered(defaults) = ordered(&AlertOptions::default());
        keys_of("", &options::schema_of::<AlertOptions>(), defaults)
    });
    &KEYS
}

/// The keys that `[model]` shares with an entry of `[[model]]`. The others compare several models.
pub(super) const SINGLE_MODEL_KEYS: &[&str] = &["path", "max_bytes", "load_timeout"];

fn keys_of(prefix: &str, section: &Json, defaults: Vec<(String, Json)>) -> Vec<Key> {
    // A table of free keys, as `kafka.properties` is one, is no key itself.
    let keys = defaults.into_iter().filter(|(_, default)| !default.is_object());
    let key = |(name, default): (String, Json)| {
        let schema = section["properties"][&name].clone();
        let help = one_paragraph(&schema);
        Key { name: format!("{prefix}{name}"), default: as_text(&default), help, schema }
    };
    keys.map(key).collect()
}

/// Returns the description of a schema without line breaks.
pub(super) fn one_paragraph(schema: &Json) -> String {
    let words = schema["description"].as_str().unwrap_or_default().split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

/// Returns the value as a file holds it, without quotes; `None` for null.
pub(super) fn as_text(json: &Json) -> Option<String> {
    match json {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        // Written without the fraction of a whole number: 0, not 0.0.
        Json::Number(number) if number.is_f64() => number.as_f64().map(|number| number.to_string()),
        other => Some(other.to_string()),
    }
}

/// Returns the known key that is spelled most like `name`, if one is close.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let (score, key) = keys()
        .iter()
        .map(|key| (strsim::normalized_damerau_levenshtein(name, &key.name), key.name.as_str()))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= 0.7).then_some(key)
}

/// A map in the order in which it was written: a JSON object sorts its keys, a struct has an order that people chose.
struct Ordered<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(std::marker::PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Vec<(String, V)>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Entries(std::marker::PhantomData)).map(Self)
    }
}

/// Returns the fields of a struct in their order.
fn ordered<V: DeserializeOwned>(options: &(impl Serialize + JsonSchema)) -> Ordered<V> {
    let text = serde_json::to_string(options).expect("options are plain values");
    serde_json::from_str(&text).expect("what was written can be read")
}
