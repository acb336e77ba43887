//! The API keys of AudioHook and their client secrets.
//!
//! Input: the list of `ingest.audiohook.keys`. Output: keys with decoded secrets. Invariant: a list with an entry that is no key is refused as
//! a whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::options::{Form, Names, secret, secret_allowed};

/// An API key, which each request names, and the secret that signs it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The value of the header `X-API-KEY`.
    pub key: String,
    /// The client secret; empty where requests may be unsigned.
    pub secret: Vec<u8>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ApiKey").field("unsigned", &self.secret.is_empty()).finish_non_exhaustive()
    }
}

impl ApiKey {
    /// Reads `KEY:SECRET`, with the secret in base64; it may be empty.
    fn parse(text: &str) -> Option<Self> {
        let (key, secret) = text.rsplit_once(':')?;
        let secret = STANDARD.decode(secret.trim()).ok()?;
        let key = key.trim();
        (!key.is_empty()).then(|| Self { key: key.to_owned(), secret })
    }

    fn text(&self) -> String {
        format!("{}:{}", self.key, STANDARD.encode(&self.secret))
    }
}

/// A list of keys with their secrets, which `config print` masks.
pub struct ApiKeys;

impl Form for ApiKeys {
    type Value = Vec<ApiKey>;

    fn allowed() -> String {
        secret_allowed(
            "a list of \"KEY:SECRET\", with each secret in base64, or empty for requests that are not signed",
        )
    }

    fn schema() -> Json {
        secret(Names::schema())
    }

    fn read(json: &Json) -> Option<Vec<ApiKey>> {
        Names::read(json)?.iter().map(|text| ApiKey::parse(text)).collect()
    }

    fn write(value: &Vec<ApiKey>) -> Json {
        value.iter().map(ApiKey::text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_secrets_in_base64_or_none() {
        let keys = ApiKeys::read(&"one:c2VjcmV0,two:".into()).unwrap();
        assert_eq!((keys[0].key.as_str(), keys[0].secret.as_slice()), ("one", &b"secret"[..]));
        assert_eq!((keys[1].key.as_str(), keys[1].secret.len()), ("two", 0));
        assert_eq!(ApiKeys::read(&ApiKeys::write(&keys)).unwrap(), keys);
        assert!(!format!("{keys:?}").contains("one"), "secrets do not reach the log");
        for wrong in ["one", ":c2VjcmV0", "one:secret!"] {
            assert!(ApiKeys::read(&wrong.into()).is_none(), "{wrong}");
        }
    }
}
