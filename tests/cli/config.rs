//! The configuration: order of the layers, errors for unknown keys and bad values, defaults, generated descriptions.

use std::io::Write;
use std::time::Duration;

use affectd::config::{self, Config, LoadOptions, Loaded, ValueOrigin};

fn flag(key: &str, value: &str) -> (String, String, String) {
    (key.to_owned(), value.to_owned(), "--set".to_owned())
}

pub fn with_flags(flags: &[(&str, &str)]) -> LoadOptions {
    LoadOptions { flags: flags.iter().map(|(key, value)| flag(key, value)).collect(), ..Default::default() }
}

pub fn with_file(text: &str) -> (tempfile::NamedTempFile, LoadOptions) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let options = LoadOptions { file: Some(file.path().to_owned()), ..Default::default() };
    (file, options)
}

pub fn error_of(options: &LoadOptions) -> String {
    config::load(options).unwrap_err().to_string()
}

fn origin<'a>(loaded: &'a Loaded, key: &str) -> &'a ValueOrigin {
    &loaded.settings.iter().find(|setting| setting.key == key).unwrap().origin
}

#[test]
fn defaults_are_as_documented() {
    let config = Config::default();
    assert_eq!(config.grpc.address.to_string(), "127.0.0.1:50051");
    assert_eq!(config.http.address.to_string(), "127.0.0.1:8080");
    let expected = config::Model { path: None, role: config::Role::Serving, limits: Default::default() };
    assert_eq!(config.models, [expected]);
    assert_eq!(config.kafka, None);
    assert_eq!(config.audio.idle_timeout, Duration::from_secs(30));
    assert_eq!(config.batch.max_delay, Duration::ZERO);
    let vad = config::Vad { mode: config::VadMode::DigitalSilence, min_speech: 0.1, publish_silence: false };
    assert_eq!(config.vad, vad);
    assert_eq!(config.limits.grace_period, Duration::from_secs(25));
}

#[test]
fn each_layer_overrides_the_one_before_and_is_named_as_the_origin() {
    let (file, mut options) =
        with_file("[audio]\nmax_gap = '2s'\nidle_timeout = '5s'\n[batch]\nmax_size = 8\n");
    options.environment = vec![
        ("AFFECTD__AUDIO__MAX_GAP".into(), "3s".into()),
        ("AFFECTD__BATCH__MAX_SIZE".into(), "16".into()),
        ("HOME".into(), "/nowhere".into()),
    ];
    options.flags = vec![flag("batch.max_size", "64")];
    let loaded = config::load(&options).unwrap();
    assert_eq!(loaded.config.audio.idle_timeout, Duration::from_secs(5));
    assert_eq!(loaded.config.audio.max_gap, Duration::from_secs(3));
    assert_eq!(loaded.config.batch.max_size, Some(64));
    assert_eq!(origin(&loaded, "audio.idle_timeout"), &ValueOrigin::File(file.path().to_owned()));
    assert_eq!(origin(&loaded, "audio.max_gap"), &ValueOrigin::Environment("AFFECTD__AUDIO__MAX_GAP".into()));
    assert_eq!(origin(&loaded, "batch.max_size"), &ValueOrigin::Flag("--set".into()));
    assert_eq!(origin(&loaded, "window.min_length"), &ValueOrigin::Default);
}

#[test]
fn the_error_for_an_unknown_key_names_the_nearest_known_one() {
    let error = error_of(&with_flags(&[("audio.max_gpa", "1s")]));
    assert!(error.contains("`audio.max_gpa`") && error.contains("did you mean `audio.max_gap`?"), "{error}");
    let (file, options) = with_file("colour = 'red'\n");
    let error = error_of(&options);
    assert!(error.contains("`colour`") && error.contains(file.path().to_str().unwrap()), "{error}");
    assert!(!error.contains("did you mean"), "{error}");
}

#[test]
fn the_error_for_a_bad_value_names_key_value_origin_and_allowed_values() {
    let cases = [
        ("audio.idle_timeout", "0s", "above 0"),
        ("audio.idle_timeout", "soon", "30s"),
        ("batch.max_size", "0", "from 1 to"),
        ("batch.max_size", "-1", "from 1 to"),
        ("batch.max_size", "automatic", "auto, or a whole number"),
        ("publish.uncertain_below", "1.5", "from 0 to 1"),
        ("publish.uncertain_below", "nan", "from 0 to 1"),
        ("window.hop", "nan", "above 0"),
        ("engine.gpu_memory_limit_bytes", "inf", "whole number"),
        ("batch.max_size", "1.5", "whole number"),
        ("engine.device", "gpu", "auto, cpu, cuda"),
        ("grpc.address", "50051", "an IP address and a port"),
        ("kafka.brokers", "localhost", "host:port"),
        ("kafka.input_topic", "a b", "topic name"),
        ("kafka.create_topics", "yes", "true or false"),
        ("kafka.group_id", "", "not empty"),
        ("kafka.properties.group.id", "x", "kafka.group_id"),
    ];
    for (key, value, allowed) in cases {
        let error = error_of(&with_flags(&[(key, value)]));
        for part in [key, &format!("{value:?}"), "--set", allowed] {
            assert!(error.contains(part), "{part:?} is missing in {error:?}");
        }
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_error_for_an_unusable_file_names_it_in_one_line() {
    for (text, reason) in [
        ("[audio\n", "line 1"),
        ("[audio]\nmax_gap = 3\n", "audio.max_gap"),
        ("[window]\nhop = nan\n", "window.hop"),
    ] {
        let (file, options) = with_file(text);
        let error = error_of(&options);
        assert!(error.contains(file.path().to_str().unwrap()) && error.contains(reason), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let missing = LoadOptions { file: Some("/nowhere/affectd.toml".into()), ..Default::default() };
    assert!(error_of(&missing).contains("/nowhere/affectd.toml"));
}

#[test]
fn kafka_is_on_if_brokers_are_set_and_an_empty_variable_leaves_it_off() {
    let environment = vec![("AFFECTD__KAFKA__BROKERS".into(), String::new())];
    let mut options = LoadOptions { environment, ..Default::default() };
    assert_eq!(config::load(&options).unwrap().config.kafka, None);
    options.environment[0].1 = "a:9092,b:9092".into();
    assert_eq!(config::load(&options).unwrap().config.kafka, Some(config::Kafka::new("a:9092,b:9092")));
}

#[test]
fn one_topic_cannot_have_two_roles() {
    let error = error_of(&with_flags(&[("kafka.brokers", "a:1"), ("kafka.output_topic", "affectd.audio")]));
    assert!(error.contains("kafka.output_topic") && error.contains("kafka.input_topic"), "{error}");
}

#[test]
fn the_example_file_holds_every_key_with_its_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config.toml");
    let options = LoadOptions { file: Some(path.into()), ..Default::default() };
    assert_eq!(config::load(&options).unwrap().config, Config::default());
    let text = std::fs::read_to_string(path).unwrap();
    let mut section = "";
    let mut keys = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            keys.push(format!("{section}.{key}"));
        }
    }
    for key in config::keys() {
        assert!(keys.contains(&key.name), "{} is missing in deploy/config.toml", key.name);
    }
}

#[test]
fn a_list_holds_several_models_and_variables_override_each() {
    let text = "[[model]]\npath = \"a.onnx\"\n[[model]]\n[[model]]\npath = \"c.onnx\"\nshadow = true\ntopic = \"trial\"\n";
    let (_file, mut options) = with_file(text);
    options.environment = vec![("AFFECTD__MODEL__0__PATH".to_owned(), "b.onnx".to_owned())];
    let loaded = config::load(&options).unwrap();
    let shadow = config::Role::Shadow { topic: Some("trial".to_owned()) };
    let expected = [
        (Some("b.onnx".into()), config::Role::Serving),
        (None, config::Role::Serving),
        (Some("c.onnx".into()), shadow),
    ];
    let found: Vec<_> =
        loaded.config.models.iter().map(|model| (model.path.clone(), model.role.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(loaded.config.default_model().path, Some("b.onnx".into()));
    assert!(matches!(origin(&loaded, "model.0.path"), ValueOrigin::Environment(_)));
}

#[test]
fn the_error_for_a_bad_list_of_models_names_the_key() {
    for (text, expected) in [
        ("[[model]]\npath = \"a\"\nshadow = true\n", "`model.0.shadow`: \"true\""),
        ("[[model]]\npath = \"a\"\ntopic = \"t\"\n", "`model.0.topic`: \"t\""),
        ("[[model]]\npath = \"a\"\npaht = \"b\"\n", "`model.0.paht`"),
        ("[[model]]\npath = 3\n", "`model.0.path`: 3"),
        ("model = [1]\n", "`model.0`"),
    ] {
        let (_file, options) = with_file(text);
        let error = error_of(&options);
        assert!(error.contains(expected), "{text}: {error}");
    }
    let (_file, mut options) = with_file("[[model]]\npath = \"a\"\n");
    options.flags = vec![flag("model.path", "b")];
    assert!(error_of(&options).contains("either [model] or [[model]]"), "{}", error_of(&options));
}

#[test]
fn values_that_contradict_each_other_or_have_no_effect_are_refused() {
    for url in [
        "ftp://x",
        "voice.example.com",
        "https://",
        "https:///path",
        "wss://:443",
        "https://a b",
        "https://a?b",
    ] {
        let error = error_of(&with_flags(&[("ingest.public_url", url)]));
        assert!(
            error.contains("ingest.public_url") && error.contains("http, https, ws or wss"),
            "{url}: {error}"
        );
    }
    for url in ["http://x", "https://x/y", "ws://x:1", "WSS://[::1]:1/y"] {
        assert!(config::load(&with_flags(&[("ingest.public_url", url)])).is_ok(), "{url}");
    }
    let hashed = error_of(&with_flags(&[("privacy.hash", "from,Call_ID"), ("privacy.key", "key")]));
    assert!(hashed.contains("privacy.hash") && hashed.contains("other than call_id"), "{hashed}");
    let both = error_of(&with_flags(&[("calls.positive", "joy,fear")]));
    assert!(both.contains("calls.negative") && both.contains("\"fear\""), "{both}");
}
