//! Typed options: how the value of a configuration key is written, which values are allowed, and their JSON Schema.
//!
//! A module that has configuration keys defines them as the fields of a struct in its `options.rs`. The doc comment of a
//! field is the help text of the key, its `Default` is the default, and [`As`] names the allowed values:
//!
//! ```text
//! /// Time without a chunk after which a stream ends.
//! #[serde(with = "As::<PositiveDuration>")]
//! pub idle_timeout: Duration,
//! ```
//!
//! Input: JSON values, which is what the layers of a configuration are converted to. Output: Rust values, or nothing where
//! the value is not allowed. Invariants: a form writes each value so that it reads the same value back, and what it
//! accepts as JSON its schema accepts too. This module uses no other module of the crate.

mod choice;
mod duration;
mod number;
mod text;

use std::marker::PhantomData;

pub(crate) use choice::choice;
pub use choice::{OneOf, OrOff};
pub use duration::{AnyDuration, PositiveDuration};
pub use number::{Count, CountOrAuto, Number, Share};
pub use text::{Address, FilePath, Names, SECRET, SecretText, Secrets, Text, Topic, secret, secret_allowed};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

/// Annotation in a schema that describes the allowed values in words: it completes "expected …".
pub const ALLOWED: &str = "x-allowed";

/// The written form of a value: how it is read and written, and what is allowed.
pub trait Form {
    /// The type of the field.
    type Value;

    /// Describes the allowed values in words that complete the sentence "expected …".
    fn allowed() -> String;

    /// Returns the JSON Schema of the value as a TOML or JSON file holds it.
    fn schema() -> Json;

    /// Converts a JSON value; returns `None` where it is not allowed.
    fn read(json: &Json) -> Option<Self::Value>;

    /// Converts a value to JSON.
    fn write(value: &Self::Value) -> Json;
}

/// Connects a [`Form`] with serde and schemars: `#[serde(with = "As::<PositiveDuration>")]` on a field.
///
/// One attribute gives the field its parser, its range and its schema, so that they cannot differ.
pub struct As<F>(PhantomData<F>);

impl<F: Form> As<F> {
    /// Serialises a field.
    ///
    /// # Errors
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(value: &F::Value, serializer: S) -> Result<S::Ok, S::Error> {
        F::write(value).serialize(serializer)
    }

    /// Deserialises a field.
    ///
    /// # Errors
    /// A value that the form does not allow, or one that is not representable as JSON.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<F::Value, D::Error> {
        let json = Json::deserialize(deserializer)?;
        F::read(&json)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{json}: expected {}", F::allowed())))
    }
}

impl<F: Form> JsonSchema for As<F> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        std::any::type_name::<F>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = Schema::try_from(F::schema()).expect("every form describes an object");
        schema.insert(ALLOWED.to_owned(), F::allowed().into());
        schema
    }
}

/// A key that may be left out: `None` where it is not set.
pub struct Optional<F>(PhantomData<F>);

impl<F: Form> Form for Optional<F> {
    type Value = Option<F::Value>;

    fn allowed() -> String {
        F::allowed()
    }

    /// As the form itself: TOML has no null, a key that is not set is absent.
    fn schema() -> Json {
        F::schema()
    }

    fn read(json: &Json) -> Option<Self::Value> {
        if json.is_null() { Some(None) } else { F::read(json).map(Some) }
    }

    fn write(value: &Self::Value) -> Json {
        value.as_ref().map_or(Json::Null, F::write)
    }
}

/// Returns the schema of `T` without references, in JSON Schema draft 2020-12.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Json {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Returns the words that the schema of a choice allows, in the order of their definition; empty for other schemas.
#[must_use]
pub fn words(schema: &Json) -> Vec<&str> {
    let documented = schema["oneOf"].as_array().into_iter().flatten().map(|word| &word["const"]);
    let plain = schema["enum"].as_array().into_iter().flatten();
    plain.chain(documented).filter_map(Json::as_str).collect()
}

/// Describes what a schema allows in words that complete the sentence "expected …".
#[must_use]
pub fn allowed(schema: &Json) -> String {
    let words = words(schema);
    match schema[ALLOWED].as_str() {
        Some(text) => text.to_owned(),
        None if words.is_empty() => "true or false".to_owned(),
        None => format!("one of {}", words.join(", ")),
    }
}
