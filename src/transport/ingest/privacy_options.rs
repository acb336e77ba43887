//! The section `[privacy]` of the configuration.
//!
//! Input: values that serde reads. Output: which personal attributes of calls are kept, and which are hashed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::privacy::{PERSONAL, is_in};
use crate::options::{As, Names, Optional, SecretText};

/// Personal attributes of calls that telephony brings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyOptions {
    /// Personal attributes of telephony that are kept: `ani`, `aniName`, `callerId`, `callerName`, `channel` (of Asterisk), `dnis`, `from` and `to` are
    /// dropped unless they are named here.
    #[serde(with = "As::<Names>")]
    pub keep: Vec<String>,
    /// Attributes of telephony whose values are replaced by their HMAC-SHA256 in hexadecimal digits, so that calls of the same person can be
    /// joined. The id of a call, `call_id`, cannot be one of them.
    #[serde(with = "As::<Names>")]
    pub hash: Vec<String>,
    /// The key of `privacy.hash`.
    #[serde(with = "As::<Optional<SecretText>>")]
    #[schemars(example = "32 random bytes in base64")]
    pub key: Option<String>,
}

impl PrivacyOptions {
    /// Returns the names of `privacy.keep` that would be kept in any case.
    #[must_use]
    pub fn kept_without_effect(&self) -> Vec<String> {
        self.keep.iter().filter(|name| !is_in(name, &PERSONAL)).cloned().collect()
    }

    /// Returns the names of the attributes that are dropped by default.
    #[must_use]
    pub fn personal(&self) -> &'static [&'static str] {
        &PERSONAL
    }
}
