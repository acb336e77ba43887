//! Secrets among librdkafka's properties: which values are masked, and where a value is read from a file or a variable.
//!
//! Input: names of properties, and errors of librdkafka. Output: whether a value is shown, and errors without values that are not. Pure. Invariant: where it
//! is not certain that a value is no secret, it is masked.

use rdkafka::error::KafkaError;

/// The mask of a secret.
pub const MASK: &str = "********";

/// What the names of librdkafka's sensitive properties contain (`_RK_SENSITIVE` in its `rdkafka_conf.c`), and what misspelled ones probably do.
const MARKS: [&str; 15] = [
    "passw",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "pem",
    "jaas",
    "oauthbearer.config",
    "oauthbearer.client.id",
    "private.key",
    "ssl.key",
    "ssl_key",
    "sasl.username",
    "credential",
    "api.key",
];

/// Properties whose names contain a mark, and whose values are no secrets.
const PUBLIC: [&str; 4] = [
    "ssl.key.location",
    "sasl.oauthbearer.assertion.private.key.file",
    "ssl.certificate.pem",
    "sasl.oauthbearer.token.endpoint.url",
];

/// Returns whether the value of a property is masked wherever it would be shown. The case of its name does not count.
#[must_use]
pub fn is_secret(property: &str) -> bool {
    let name = property.trim().to_ascii_lowercase();
    !PUBLIC.contains(&name.as_str()) && MARKS.iter().any(|mark| name.contains(mark))
}

/// Where the value of a property is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// The file that the key names.
    File,
    /// The environment variable that the key names.
    Environment,
}

impl ValueSource {
    /// Splits a key such as `sasl.password.file` or `sasl.password.env`, which an inline table `{ file = "..." }` gives; `None` for any other key.
    #[must_use]
    pub fn of(key: &str) -> Option<(&str, Self)> {
        // A property of librdkafka itself, which names a file too.
        if key == "sasl.oauthbearer.assertion.private.key.file" {
            return None;
        }
        let file = key.strip_suffix(".file").map(|property| (property, Self::File));
        file.or_else(|| key.strip_suffix(".env").map(|property| (property, Self::Environment)))
    }
}

/// Returns an error of a configuration without the value where that is a secret, or the name is unknown and may be a misspelled one.
pub(super) fn masked(error: KafkaError) -> KafkaError {
    match error {
        KafkaError::ClientConfig(code, text, key, value) => {
            let unknown = text.contains("No such configuration property");
            let text = if is_secret(&key) && !value.is_empty() { text.replace(&value, MASK) } else { text };
            let value = if unknown || is_secret(&key) { MASK.to_owned() } else { value };
            KafkaError::ClientConfig(code, text, key, value)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::config::RDKafkaLogLevel;

    use super::*;

    #[test]
    fn secrets_are_masked_in_any_case_and_where_they_are_misspelled() {
        for secret in [
            "sasl.password",
            "SASL.PASSWORD",
            "sasl.passwrd",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "Sasl.OAuthBearer.Config",
            "ssl.ca.pem",
            "sasl.username",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for public in ["ssl.key.location", "ssl.ca.location", "acks", "security.protocol", "sasl.mechanism"] {
            assert!(!is_secret(public), "{public}");
        }
    }

    #[test]
    fn errors_of_librdkafka_show_no_secret() {
        let create = |key: &str| {
            let mut settings = rdkafka::ClientConfig::new();
            settings
                .set(key, "hunter2")
                .set("security.protocol", "ssl")
                .set_log_level(RDKafkaLogLevel::Emerg);
            let created = settings.create::<rdkafka::producer::BaseProducer>();
            masked(created.err().unwrap_or_else(|| panic!("{key}: a client is set up"))).to_string()
        };
        for key in ["sasl.passwrd", "SASL.PASSWORD", "ssl.key.pem", "acks.all"] {
            let text = create(key);
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(create("acks").contains("hunter2"), "a value that is no secret helps to find the error");
    }

    #[test]
    fn a_value_may_come_from_a_file_or_a_variable() {
        assert_eq!(ValueSource::of("sasl.password.file"), Some(("sasl.password", ValueSource::File)));
        assert_eq!(ValueSource::of("ssl.key.pem.env"), Some(("ssl.key.pem", ValueSource::Environment)));
        assert_eq!(ValueSource::of("sasl.password"), None);
        assert_eq!(ValueSource::of("sasl.oauthbearer.assertion.private.key.file"), None);
    }
}
