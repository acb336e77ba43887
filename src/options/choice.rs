//! Options that are one of a few words.
//!
//! Input: enums whose variants name their words. Output: the same enums with conversions to and from the words.
//! Invariants: each word is written once, beside its variant.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{Form, schema_of, words};

/// Defines an enum whose variants are words of the configuration: `Cuda = "cuda"`.
///
/// The enum gets serde and schema implementations, `NAMES` (every word in order), `name` (variant to word) and
/// `from_name` (word to variant). Serde's `rename_all` alone would not give the words as `&'static str`, which metric
/// labels and command line flags need; they would stand a second time in a `match`.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $choice:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $choice {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant),+
        }

        impl $choice {
            /// Every word, in the order of the variants.
            pub const NAMES: &[&str] = &[$($word),+];

            /// Returns the variant of a word among [`Self::NAMES`].
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Returns the word of the variant, as configuration, flags, headers and metric labels have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }
    };
}

pub(crate) use choice;

/// One of the words of `C`, or `off`, which is `None`.
pub struct OrOff<C>(PhantomData<C>);

const OFF: &str = "off";

impl<C: JsonSchema + Serialize + DeserializeOwned> Form for OrOff<C> {
    type Value = Option<C>;

    fn allowed() -> String {
        super::allowed(&Self::schema())
    }

    fn schema() -> Json {
        let choice = schema_of::<C>();
        let words: Vec<&str> = std::iter::once(OFF).chain(words(&choice)).collect();
        serde_json::json!({"type": "string", "enum": words})
    }

    fn read(json: &Json) -> Option<Self::Value> {
        if json.as_str()? == OFF { Some(None) } else { serde_json::from_value(json.clone()).ok().map(Some) }
    }

    fn write(value: &Self::Value) -> Json {
        value.as_ref().map_or_else(
            || OFF.into(),
            |choice| serde_json::to_value(choice).expect("a choice is written as a word"),
        )
    }
}

/// One of the words of `C`.
pub struct OneOf<C>(PhantomData<C>);

impl<C: JsonSchema + Serialize + DeserializeOwned> Form for OneOf<C> {
    type Value = C;

    fn allowed() -> String {
        super::allowed(&Self::schema())
    }

    fn schema() -> Json {
        serde_json::json!({"type": "string", "enum": words(&schema_of::<C>())})
    }

    fn read(json: &Json) -> Option<C> {
        serde_json::from_value(json.clone()).ok()
    }

    fn write(value: &C) -> Json {
        serde_json::to_value(value).expect("a choice is written as a word")
    }
}
