//! The JSON Schema of the configuration: it accepts what the daemon accepts, and rejects wrong values.

use std::collections::BTreeMap;

use affectd::config::{
    self, AdaptationMethod, ClientAuth, DeliveryMode, Device, LoadOptions, OnLostProgress, Scheduling,
    SmoothingMethod, ValueFormat,
};
use affectd::stream::Summaries;
use affectd::{audio, vad};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Returns the first violation of a schema. Only the keywords that the schema of the configuration uses are known; any
/// other one panics, so that none is left out unnoticed.
fn violation(schema: &Json, value: &Json) -> Option<String> {
    let broken =
        |(keyword, rule): (&String, &Json)| violates(keyword, rule, schema, value).then(|| keyword.clone());
    let own = schema.as_object().expect("a schema is an object").iter().find_map(broken);
    own.map(|keyword| format!("{value} violates {keyword} of {schema}"))
        .or_else(|| inner(schema, value).find_map(|(schema, value)| violation(schema, value)))
}

/// Returns the members of an object and the items of a list, each with its schema.
fn inner<'a>(schema: &'a Json, value: &'a Json) -> impl Iterator<Item = (&'a Json, &'a Json)> {
    let members = value.as_object().into_iter().flatten().filter_map(|(name, value)| {
        let free = Some(&schema["additionalProperties"]).filter(|rule| rule.is_object());
        schema["properties"].get(name).or(free).map(|schema| (schema, value))
    });
    let items = value.as_array().into_iter().flatten();
    let items = items.filter_map(|value| schema.get("items").map(|schema| (schema, value)));
    members.chain(items)
}

fn violates(keyword: &str, rule: &Json, schema: &Json, value: &Json) -> bool {
    let rules = || rule.as_array().expect("the keyword has a list");
    let matches = |rule: &&Json| violation(rule, value).is_none();
    match keyword {
        "$schema" | "title" | "description" | "default" | "examples" | "x-allowed" | "x-secret" => false,
        // See `inner`.
        "properties" | "items" => false,
        "type" if rule.is_array() => !rules().iter().any(|name| is_of_type(name, value)),
        "type" => !is_of_type(rule, value),
        "const" => value != rule,
        "enum" => !rules().contains(value),
        "oneOf" => rules().iter().filter(matches).count() != 1,
        "anyOf" => !rules().iter().any(|rule| matches(&rule)),
        "required" => {
            rules().iter().any(|name| value.get(name.as_str().unwrap()).is_none() && value.is_object())
        }
        "not" => matches(&rule),
        "minimum" => value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_some_and(|number| number > rule.as_f64().unwrap()),
        "minItems" => value.as_array().is_some_and(|items| items.len() < rule.as_u64().unwrap() as usize),
        "minLength" => {
            value.as_str().is_some_and(|text| text.chars().count() < rule.as_u64().unwrap() as usize)
        }
        "maxLength" => {
            value.as_str().is_some_and(|text| text.chars().count() > rule.as_u64().unwrap() as usize)
        }
        "pattern" => {
            let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
            value.as_str().is_some_and(|text| !pattern.is_match(text))
        }
        "propertyNames" => {
            let mut names =
                value.as_object().into_iter().flatten().map(|(name, _)| Json::from(name.as_str()));
            names.any(|name| violation(rule, &name).is_some())
        }
        "additionalProperties" if rule == &json!(false) => {
            let mut names = value.as_object().into_iter().flatten().map(|(name, _)| name);
            names.any(|name| schema["properties"].get(name).is_none())
        }
        "additionalProperties" if rule.is_object() => false,
        _ => panic!("the keyword {keyword} is not known here"),
    }
}

fn is_of_type(name: &Json, value: &Json) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the type {other} is not known here"),
    }
}

fn from_toml(text: &str) -> Json {
    let source = ::config::File::from_str(text, ::config::FileFormat::Toml);
    ::config::Config::builder().add_source(source).build().unwrap().try_deserialize().unwrap()
}

/// Returns a file that holds one key.
fn file_with(key: &str, value: &Json) -> Json {
    key.rsplit('.').fold(value.clone(), |value, name| json!({name: value}))
}

#[test]
fn the_schema_accepts_the_defaults_and_the_example_file() {
    let schema = config::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for key in config::keys().iter().filter(|key| key.default.is_some()) {
        assert_eq!(violation(&schema, &file_with(&key.name, &key.schema["default"])), None, "{}", key.name);
    }
    for key in config::keys().iter().filter(|key| key.default.is_none()) {
        assert_eq!(
            violation(&schema, &file_with(&key.name, &key.schema["examples"][0])),
            None,
            "{}",
            key.name
        );
    }
    let example =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config.toml")).unwrap();
    assert_eq!(violation(&schema, &from_toml(&example)), None);
    // The same with every key that a comment shows, but the list form of [model], which excludes the other one.
    let (before, rest) = example.split_once("# [[model]]").unwrap();
    let after = &rest[rest.find("\n[audio]").unwrap()..];
    let key = regex::Regex::new("(?m)^# (\"?[a-z_.]+\"? = )").unwrap();
    let complete = format!("{before}{after}").replace("# [[alert]]", "[[alert]]");
    let complete = from_toml(&key.replace_all(&complete, "$1"));
    assert_eq!(violation(&schema, &complete), None);
    assert_eq!(complete["window"]["hop"], "500ms");
    let list = json!({"model": [{"path": "a.onnx"}, {"shadow": true, "topic": "trial"}]});
    assert_eq!(violation(&schema, &list), None);
}

#[test]
fn the_schema_rejects_wrong_values() {
    let schema = config::schema();
    for (key, value) in [
        ("audio.idle_timeout", json!("0s")),
        ("audio.idle_timeout", json!("soon")),
        ("audio.idle_timeout", json!(30)),
        ("batch.max_size", json!(0)),
        ("batch.max_size", json!("automatic")),
        ("batch.max_size", json!(1.5)),
        ("publish.uncertain_below", json!(1.5)),
        ("publish.smoothing", json!("mean")),
        ("engine.device", json!("gpu")),
        ("engine.gpu_memory_limit_bytes", json!(1)),
        ("grpc.address", json!("localhost")),
        ("kafka.brokers", json!("localhost")),
        ("kafka.input_topic", json!("a b")),
        ("kafka.input_topic", json!("..")),
        ("kafka.input_topic", json!("a".repeat(250))),
        ("kafka.create_topics", json!("yes")),
        ("kafka.group_id", json!("")),
        ("kafka.properties", json!({"group.id": "x"})),
        ("kafka.properties", json!({"sasl.password": ["x"]})),
        ("audio.max_gpa", json!("1s")),
        ("colour", json!("red")),
        ("model.shadow", json!(true)),
        ("model", json!([])),
        ("model", json!([{"paht": "a"}])),
        ("model", json!([{"path": 3}])),
    ] {
        let file = file_with(key, &value);
        assert!(violation(&schema, &file).is_some(), "{file} is accepted");
    }
}

#[test]
fn every_word_of_every_choice_is_read_and_shown_as_it_is_written() {
    // `tls.client_auth` is allowed beside these keys only.
    let tls = ["tls.cert", "tls.key", "tls.client_ca"]
        .map(|key| (key.to_owned(), "file.pem".to_owned(), "--set".to_owned()));
    let mut words = 0;
    for key in config::keys() {
        for word in affectd::options::words(&key.schema) {
            let flag = (key.name.clone(), word.to_owned(), "--set".to_owned());
            let flags = tls.iter().cloned().chain([flag]).collect();
            let loaded = config::load(&LoadOptions { flags, ..LoadOptions::default() }).unwrap();
            let setting = loaded.settings.iter().find(|setting| setting.key == key.name).unwrap();
            assert_eq!(setting.value.as_deref(), Some(word), "{}", key.name);
            words += 1;
        }
    }
    macro_rules! round_trip {
        ($($choice:ty),+) => {{
            $(for name in <$choice>::NAMES {
                let choice = <$choice>::from_name(name).unwrap();
                assert_eq!(choice.name(), *name);
                assert_eq!(serde_json::to_value(choice).unwrap(), *name);
                assert_eq!(serde_json::from_value::<$choice>(json!(name)).unwrap(), choice);
            })+
            [$(<$choice>::NAMES.len()),+].iter().sum::<usize>()
        }};
    }
    let known = round_trip!(
        audio::ChannelPolicy,
        audio::FileAsSamples,
        vad::Mode,
        Device,
        ValueFormat,
        OnLostProgress,
        SmoothingMethod,
        Scheduling,
        ClientAuth,
        DeliveryMode,
        AdaptationMethod,
        Summaries
    );
    // The word `off` of adaptation and of smoothing is the absence of a method.
    assert_eq!(words, known + 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accepted_text_fits_the_schema_and_is_shown_so_that_it_is_read_again(
        text in prop_oneof![
            "[0-9a-zA-Z._:,\\[\\] /µ-]{1,12}", "([0-9]{1,3}(\\.[0-9])? ?(ms|s|min|h|us|µs)){1,3}", "[a-z.]{1,4}:[0-9]{1,6}(, ?[a-z:]{1,4}: ?[+]?[0-9]{1,4}){0,2}",
            "[0-9.]{1,9}:[0-9]{1,5}", "[a-z._-]{240,255}",
        ],
    ) {
        // The daemon ignores the space around a value; a schema cannot.
        let text = text.trim();
        prop_assume!(!text.is_empty());
        let schema = config::schema();
        let file = tempfile::NamedTempFile::new().unwrap();
        // One key of each form. A secret is not shown.
        let forms: BTreeMap<String, &config::Key> = config::keys()
            .iter()
            .filter(|key| key.schema["type"] == "string" && key.schema["x-secret"] != true)
            .map(|key| (key.allowed(), key))
            .collect();
        for key in forms.into_values() {
            std::fs::write(file.path(), format!("{} = {text:?}", key.name)).unwrap();
            let options = LoadOptions { file: Some(file.path().to_owned()), ..LoadOptions::default() };
            let Ok(loaded) = config::load(&options) else { continue };
            prop_assert_eq!(violation(&schema, &file_with(&key.name, &json!(text))), None);
            let value = |loaded: &config::Loaded| {
                loaded.settings.iter().find(|setting| setting.key == key.name).unwrap().value.clone().unwrap()
            };
            let shown = value(&loaded);
            let flags = vec![(key.name.clone(), shown.clone(), "--set".to_owned())];
            let again = config::load(&LoadOptions { flags, ..LoadOptions::default() }).unwrap();
            prop_assert_eq!(value(&again), shown);
            prop_assert_eq!(again.config, loaded.config);
        }
    }
}
