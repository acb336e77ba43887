//! The section `[privacy]` of the configuration.
//!
//! Input: values that serde reads. Output: which personal attributes of calls are kept, and which are hashed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::options::{As, Names, Optional, SecretText};

/// Personal attributes of calls that telephony brings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyOptions {
    /// Personal attributes of telephony that are kept: `ani`, `aniName`, `dnis`, `from` and `to` are dropped unless they are named here.
    #[serde(with = "As::<Names>")]
    pub keep: Vec<String>,
    /// Attributes of telephony whose values are replaced by their HMAC-SHA256 in hexadecimal digits, so that calls of the same person can be
    /// joined.
    #[serde(with = "As::<Names>")]
    pub hash: Vec<String>,
    /// The key of `privacy.hash`.
    #[serde(with = "As::<Optional<SecretText>>")]
    #[schemars(example = "32 random bytes in base64")]
    pub key: Option<String>,
}
