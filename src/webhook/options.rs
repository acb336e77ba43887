//! The section `[webhook]` of the configuration.
//!
//! Input: values that serde reads. Output: where alerts are sent, and with which secret they are signed.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::options::{As, Form, Optional, PositiveDuration, Text, secret, secret_allowed};

/// The webhook of alerts. It is on where `url` is set, beside `secret`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address that alerts are sent to, as `http://` or `https://`.
    #[serde(with = "As::<Optional<Url>>")]
    #[schemars(example = &"https://example.com/affectd")]
    pub url: Option<String>,
    /// Secret that requests are signed with, as Standard Webhooks write it.
    #[serde(with = "As::<Optional<SigningSecret>>")]
    #[schemars(example = &"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: Option<String>,
    /// Time that the receiver may take for one request.
    #[serde(with = "As::<PositiveDuration>")]
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { url: None, secret: None, timeout: Duration::from_secs(15) }
    }
}

/// An address with the scheme `http` or `https` and a host.
pub struct Url;

impl Form for Url {
    type Value = String;

    fn allowed() -> String {
        "an address such as \"https://example.com/affectd\", without user and fragment".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^https?://[^@#]+$"})
    }

    fn read(json: &Json) -> Option<String> {
        let text = Text::read(json)?;
        super::Target::parse(&text).is_ok().then_some(text)
    }

    fn write(value: &String) -> Json {
        value.as_str().into()
    }
}

/// A secret of Standard Webhooks: `whsec_` and 24 to 64 bytes in base64.
pub struct SigningSecret;

const PREFIX: &str = "whsec_";

impl SigningSecret {
    /// Returns the bytes of a secret; `None` where it is none.
    #[must_use]
    pub fn decode(secret: &str) -> Option<Vec<u8>> {
        let bytes = BASE64_STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
        (24..=64).contains(&bytes.len()).then_some(bytes)
    }
}

impl Form for SigningSecret {
    type Value = String;

    fn allowed() -> String {
        secret_allowed(&format!("{PREFIX} and 24 to 64 bytes in base64"))
    }

    fn schema() -> Json {
        secret(json!({"type": "string", "pattern": format!("^{PREFIX}[A-Za-z0-9+/]+=*$")}))
    }

    fn read(json: &Json) -> Option<String> {
        let text = Text::read(json)?;
        Self::decode(&text).map(|_| text)
    }

    fn write(value: &String) -> Json {
        value.as_str().into()
    }
}
