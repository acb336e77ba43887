//! Secrets of the configuration: read from files and variables, never shown, and refused by name where their source is wrong.

use affectd::config;

use crate::config::{error_of, with_file, with_flags};

#[test]
fn quoted_and_nested_properties_are_equal_and_secrets_are_masked() {
    let quoted = "[kafka]\nbrokers = 'a:1'\n[kafka.properties]\n'sasl.password' = 'hush'\n";
    let dotted = "[kafka]\nbrokers = 'a:1'\nproperties.sasl.password = 'hush'\n";
    for text in [quoted, dotted] {
        let (_file, mut options) = with_file(text);
        options.environment = vec![("AFFECTD__KAFKA__PROPERTIES__SASL_USERNAME".into(), "me".into())];
        let loaded = config::load(&options).unwrap();
        let properties = &loaded.config.kafka.as_ref().unwrap().properties;
        assert_eq!(properties["sasl.password"], "hush");
        assert_eq!(properties["sasl.username"], "me");
        let shown = |setting: &config::Setting| setting.value.as_deref() == Some("hush");
        assert!(!loaded.settings.iter().any(shown));
    }
}

#[test]
fn secrets_are_read_from_files_and_variables_and_never_shown() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "from-file\n").unwrap();
    let path = secret.path().display();
    let text = format!(
        "[kafka]\nbrokers = 'a:1'\n[kafka.properties]\n'sasl.password' = {{ file = '{path}' }}\n\
         'ssl.key.password' = {{ env = 'KEY_PASSWORD' }}\n\
         'sasl.oauthbearer.assertion.private.key.file' = '/a/key'\n'SSL.KEYSTORE.PASSWORD' = 'hush'\n"
    );
    let (_file, mut options) = with_file(&text);
    options.environment = vec![("KEY_PASSWORD".into(), "from-variable".into())];
    let loaded = config::load(&options).unwrap();
    let properties = &loaded.config.kafka.as_ref().unwrap().properties;
    assert_eq!(properties["sasl.password"], "from-file", "without the line break");
    assert_eq!(properties["ssl.key.password"], "from-variable");
    assert_eq!(
        properties["sasl.oauthbearer.assertion.private.key.file"], "/a/key",
        "librdkafka reads this file"
    );
    let shown = format!("{:?} {:?}", loaded.settings, loaded.config);
    for hidden in ["from-file", "from-variable", "hush"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    // A later layer counts, whichever way it sets the property.
    options.environment.push(("AFFECTD__KAFKA__PROPERTIES__SASL_PASSWORD".into(), "direct".into()));
    let loaded = config::load(&options).unwrap();
    assert_eq!(loaded.config.kafka.unwrap().properties["sasl.password"], "direct");
    let missing = with_flags(&[("kafka.brokers", "a:1"), ("kafka.properties.sasl.password.env", "UNSET")]);
    let error = error_of(&missing);
    assert!(error.contains("kafka.properties.sasl.password.env") && error.contains("UNSET"), "{error}");
    let nowhere =
        with_flags(&[("kafka.brokers", "a:1"), ("kafka.properties.sasl.password.file", "/nowhere")]);
    assert!(error_of(&nowhere).contains("/nowhere"), "{}", error_of(&nowhere));
}

#[test]
fn every_secret_may_be_in_a_file_or_a_variable() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), "token-one\ntoken-two\n").unwrap();
    let path = tokens.path().display();
    let text = format!(
        "[ingest]\npublic_url = 'https://voice.example.com'\ntokens = {{ file = '{path}' }}\n[ingest.twilio]\nauth_tokens = {{ env = 'TWILIO' }}\n\
         [ingest.audiohook]\nkeys = {{ env = 'AUDIOHOOK' }}\n[privacy]\nhash = ['ani']\nkey = {{ env = 'PRIVACY' }}\n\
         [webhook]\nurl = 'https://example.com/'\nsecret = {{ env = 'WEBHOOK' }}\n"
    );
    let (_file, mut options) = with_file(&text);
    let webhook = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let variables =
        [("TWILIO", "a,b"), ("AUDIOHOOK", "key:c2VjcmV0"), ("PRIVACY", "pepper"), ("WEBHOOK", webhook)];
    options.environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let loaded = config::load(&options).unwrap();
    assert_eq!(loaded.config.ingest.tokens, ["token-one", "token-two"]);
    assert_eq!(loaded.config.ingest.twilio_auth_tokens, ["a", "b"]);
    assert_eq!(loaded.config.ingest.audiohook_keys[0].secret, b"secret");
    assert_eq!(loaded.config.privacy.key.as_deref(), Some("pepper"));
    assert_eq!(loaded.config.webhook.secret.as_deref(), Some(webhook));
    let shown = format!("{:?}", loaded.settings);
    for hidden in ["token-one", "c2VjcmV0", "pepper", webhook] {
        assert!(!shown.contains(hidden), "{shown}");
    }
    // A later layer counts, whichever way it gives the value.
    options.environment.push(("AFFECTD__INGEST__TOKENS".into(), "direct".into()));
    assert_eq!(config::load(&options).unwrap().config.ingest.tokens, ["direct"]);
}

#[test]
fn a_secret_whose_source_is_wrong_is_refused_by_name() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().display().to_string();
    for (key, value, expected) in [
        ("ingest.tokens.file", "/nowhere/tokens", "No such file"),
        ("ingest.tokens.file", &empty, "not empty"),
        ("privacy.key.env", "UNSET", "a variable that is set"),
        ("ingest.analyse.file", "/nowhere", "unknown"),
    ] {
        let error = error_of(&with_flags(&[(key, value)]));
        assert!(error.contains(key) && error.contains(expected), "{error}");
    }
}
