//! Descriptions of the configuration for people and editors, generated from the option structs.
//!
//! Input: the schema of the structs and [`keys`]. Output: a TOML file with every key ([`template`], which is
//! `deploy/config.toml`), a Markdown table ([`table`], which is part of `docs/configuration.md`) and a JSON Schema
//! ([`schema`], which `affectd config schema` prints). Invariants: each of them names every key. The checked-in files are
//! written by `UPDATE=1 cargo test --test cli generated`.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::file::File;
use super::keys::{
    KAFKA_PROPERTIES, Key, SINGLE_MODEL_KEYS, alert_keys, as_text, keys, model_keys, one_paragraph,
};
use crate::calls::alerts::AlertOptions;
use crate::options::{allowed, schema_of, words};
use crate::serving::ModelOptions;

/// Columns of a comment in the template.
const WIDTH: usize = 110;

const HEADER: &str = "Every key of affectd's configuration with its default, generated from the code. A key in a \
    comment is not set by default. Each key may also be set by an environment variable \
    (`AFFECTD__AUDIO__MAX_GAP=2s`) or on the command line (`--set audio.max_gap=2s`); `affectd config print` shows \
    the value that is used and where it came from.";

/// Precedes the example of `[[model]]` in the template.
const MODEL_LIST: &str =
    "Several models are a list. In variables and flags their keys are `model.0.path` and so on.";

/// Precedes the example of `[[alert]]` in the template.
const ALERT_LIST: &str = "Alerts are a list of rules; see docs/alerts.md for the keys of each kind. In variables and flags their keys \
    are `alert.0.name` and so on.";

/// Returns the JSON Schema of a configuration file, in draft 2020-12.
#[must_use]
pub fn schema() -> Json {
    let mut schema = schema_of::<File>();
    let (mut entry, mut alert) = (schema_of::<ModelOptions>(), schema_of::<AlertOptions>());
    for key in ["$schema", "title"] {
        entry.as_object_mut().expect("a schema of a struct is an object").remove(key);
        alert.as_object_mut().expect("a schema of a struct is an object").remove(key);
    }
    let mut single = entry.clone();
    let properties = single["properties"].as_object_mut().expect("a struct has properties");
    properties.retain(|name, _| SINGLE_MODEL_KEYS.contains(&name.as_str()));
    schema["title"] = "Configuration of affectd".into();
    schema["description"] = "A TOML file that `affectd --config` reads.".into();
    schema["properties"]["model"] =
        json!({"anyOf": [single, {"type": "array", "minItems": 1, "items": entry}]});
    let sections = schema["properties"].as_object_mut().expect("a struct has properties");
    sections.values_mut().for_each(nest);
    schema["properties"]["alert"] = json!({"type": "array", "items": alert});
    tidy(&mut schema);
    schema
}

/// Moves the keys of a section that have a dot into tables: a file may write `twilio.inbound` as a key of `[ingest]` or `inbound` in
/// `[ingest.twilio]`, which is the same.
fn nest(section: &mut Json) {
    let Some(properties) = section.get_mut("properties").and_then(Json::as_object_mut) else { return };
    let dotted: Vec<String> = properties.keys().filter(|key| key.contains('.')).cloned().collect();
    for name in dotted {
        let (Some(schema), Some((table, key))) = (properties.remove(&name), name.split_once('.')) else {
            continue;
        };
        let empty = || json!({"type": "object", "properties": {}, "additionalProperties": false});
        properties.entry(table).or_insert_with(empty)["properties"][key] = schema;
    }
}

/// Removes the defaults that TOML cannot express (null, for keys that are not set) and those of whole sections, which
/// only repeat the defaults of their keys, and joins the lines of descriptions.
fn tidy(schema: &mut Json) {
    match schema {
        Json::Object(object) => {
            object.retain(|name, value| name != "default" || !(value.is_null() || value.is_object()));
            object.values_mut().for_each(tidy);
            if object.get("description").is_some_and(Json::is_string) {
                let description = one_paragraph(&Json::Object(object.clone()));
                object.insert("description".to_owned(), description.into());
            }
        }
        Json::Array(items) => items.iter_mut().for_each(tidy),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// Returns the table of all keys in Markdown, with its head.
#[must_use]
pub fn table() -> String {
    let row = |name: &str, default: Option<&str>, schema: &Json| {
        let default = default.map_or("not set".to_owned(), |default| format!("`{default}`"));
        format!("| `{name}` | {default} | {} | {} |\n", allowed(schema), one_paragraph(schema))
    };
    let of_list = model_keys().iter().filter(|key| !SINGLE_MODEL_KEYS.contains(&key.name.as_str()));
    let of_list =
        of_list.map(|key| row(&format!("model.N.{}", key.name), key.default.as_deref(), &key.schema));
    let properties = row(&format!("{KAFKA_PROPERTIES}*"), None, &properties());
    let mut table = "| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n".to_owned();
    for (index, key) in keys().iter().enumerate() {
        table += &row(&key.name, key.default.as_deref(), &key.schema);
        // The last key of a section is followed by what the section holds beside plain keys.
        let next = keys().get(index + 1).map(Key::section);
        match key.section() {
            section if next == Some(section) => {}
            "model" => table.extend(of_list.clone()),
            "kafka" => table += &properties,
            "calls" => table.extend(
                alert_keys()
                    .iter()
                    .map(|key| row(&format!("alert.N.{}", key.name), key.default.as_deref(), &key.schema)),
            ),
            _ => {}
        }
    }
    table
}

/// Returns a TOML file that holds every key with its default.
#[must_use]
pub fn template() -> String {
    let mut text = comment(HEADER);
    let mut section = "";
    for key in keys() {
        let (name, word) = key.name.split_once('.').expect("every key has a section");
        if name != section {
            close(&mut text, section);
            let _ = writeln!(text, "\n[{name}]");
            section = name;
        }
        let unset = if key.default.is_none() { "# " } else { "" };
        let _ = writeln!(text, "{}{unset}{word} = {}", comment(&help(key)), toml(shown(key)));
    }
    close(&mut text, section);
    text
}

/// Writes what follows the keys of a section: the list form of `[model]`, and `[kafka.properties]`.
fn close(text: &mut String, section: &str) {
    match section {
        "model" => {
            let _ = writeln!(text, "\n{}# [[model]]", comment(MODEL_LIST));
            for key in model_keys() {
                let _ = writeln!(text, "{}# {} = {}", comment(&help(key)), key.name, toml(shown(key)));
            }
        }
        "calls" => {
            let _ = writeln!(text, "\n{}# [[alert]]", comment(ALERT_LIST));
            for key in alert_keys() {
                let _ = writeln!(text, "{}# {} = {}", comment(&help(key)), key.name, toml(shown(key)));
            }
        }
        "kafka" => {
            let properties = properties();
            let _ = writeln!(text, "\n{}[kafka.properties]", comment(&one_paragraph(&properties)));
            for (name, value) in properties["examples"][0].as_object().into_iter().flatten() {
                let _ = writeln!(text, "# {name:?} = {}", toml(value));
            }
        }
        _ => {}
    }
}

fn properties() -> Json {
    schema_of::<File>()["properties"]["kafka"]["properties"]["properties"].clone()
}

/// Returns the help text of a key, with the words that it allows.
fn help(key: &Key) -> String {
    match words(&key.schema).join(" | ") {
        words if words.is_empty() => key.help.clone(),
        words => format!("{} ({words}).", key.help.trim_end_matches('.')),
    }
}

/// Returns the default of a key, or an example where it is not set.
fn shown(key: &Key) -> &Json {
    if key.default.is_some() { &key.schema["default"] } else { &key.schema["examples"][0] }
}

/// Returns the value as TOML has it.
fn toml(value: &Json) -> String {
    if let Json::Object(table) = value {
        let pairs: Vec<String> =
            table.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
        return format!("{{ {} }}", pairs.join(", "));
    }
    let text = as_text(value).unwrap_or_default();
    if value.is_string() { format!("{text:?}") } else { text }
}

/// Returns the text as comment lines.
fn comment(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            lines += &format!("{line}\n");
            line = "#".to_owned();
        }
        line += &format!(" {word}");
    }
    lines + &line + "\n"
}
