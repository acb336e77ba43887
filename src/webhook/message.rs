//! The request of one alert: its body and its signature.
//!
//! Input: an alert, the time and the secret. Output: headers and body. Pure. Reference: Standard Webhooks 1.0.0, "Webhook metadata" and "Signature scheme".

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::json;

use crate::proto::{Alert, Timestamp};

/// What is sent for one alert. All tries send the same body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The header `webhook-id`.
    pub id: String,
    /// JSON with `type`, `timestamp` and `data`.
    pub body: String,
}

impl Message {
    /// Returns the message of an alert that has changed at `at`.
    #[must_use]
    pub fn new(alert: &Alert, at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanos) = (since.as_secs() as i64, since.subsec_millis() as i32 * 1_000_000);
        let kind = format!("alert.{}", alert.state);
        let body = json!({"type": kind, "timestamp": Timestamp { seconds, nanos }, "data": alert});
        Self { id: alert.alert_id.clone(), body: body.to_string() }
    }
}

/// Returns the header `webhook-signature` of a request that is sent `timestamp` seconds after 1970.
#[must_use]
pub fn sign(secret: &[u8], message: &Message, timestamp: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = format!("{}.{timestamp}.{}", message.id, message.body);
    format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, signed.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::super::SigningSecret;
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_example_of_standard_webhooks() {
        let secret = SigningSecret::decode("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = Message {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
            body: "{\"test\": 2432232314}".to_owned(),
        };
        let signature = sign(&secret, &message, 1_614_265_330);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_body_names_the_change_and_has_the_alert_as_proto3_json() {
        let alert = Alert { alert_id: "a".to_owned(), state: "cleared".to_owned(), ..Alert::default() };
        let message = Message::new(&alert, UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_250));
        let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        assert_eq!(
            (body["type"].as_str(), body["data"]["alertId"].as_str()),
            (Some("alert.cleared"), Some("a"))
        );
        assert_eq!(body["timestamp"].as_str(), Some("2023-11-14T22:13:20.250Z"));
    }
}
