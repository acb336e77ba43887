//! Options that are text: names, paths, addresses.
//!
//! Input: text. Output: the same text without the space around it, or the type that it denotes. Invariants: empty text is
//! never a value.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::Form;

/// Returns the text of a value without the space around it; `None` for other values and for empty text.
pub(super) fn text(json: &Json) -> Option<&str> {
    json.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// Text that is not empty.
pub struct Text;

impl Form for Text {
    type Value = String;

    fn allowed() -> String {
        "text that is not empty".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1})
    }

    fn read(json: &Json) -> Option<String> {
        text(json).map(str::to_owned)
    }

    fn write(value: &String) -> Json {
        value.as_str().into()
    }
}

/// A path. The file need not exist when the configuration is read.
pub struct FilePath;

impl Form for FilePath {
    type Value = PathBuf;

    fn allowed() -> String {
        "a path".to_owned()
    }

    fn schema() -> Json {
        Text::schema()
    }

    fn read(json: &Json) -> Option<PathBuf> {
        text(json).map(PathBuf::from)
    }

    fn write(value: &PathBuf) -> Json {
        value.to_string_lossy().into()
    }
}

/// An IP address and a port to listen on.
pub struct Address;

impl Form for Address {
    type Value = SocketAddr;

    fn allowed() -> String {
        "an IP address and a port, such as \"127.0.0.1:8080\"".to_owned()
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": ":[0-9]+$"})
    }

    fn read(json: &Json) -> Option<SocketAddr> {
        text(json)?.parse().ok()
    }

    fn write(value: &SocketAddr) -> Json {
        value.to_string().into()
    }
}

/// The name of a Kafka topic.
///
/// Kafka's own rule applies: letters, digits, `.`, `_` and `-`, at most 249 of them, and neither `.` nor `..`.
pub struct Topic;

const LONGEST_TOPIC: usize = 249;

impl Form for Topic {
    type Value = String;

    fn allowed() -> String {
        format!("a topic name: letters, digits, '.', '_' and '-', at most {LONGEST_TOPIC}")
    }

    fn schema() -> Json {
        json!({
            "type": "string", "pattern": "^[a-zA-Z0-9._-]+$", "maxLength": LONGEST_TOPIC,
            "not": {"enum": [".", ".."]},
        })
    }

    fn read(json: &Json) -> Option<String> {
        let name = text(json)?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let valid = name.len() <= LONGEST_TOPIC && name.bytes().all(known) && name != "." && name != "..";
        valid.then(|| name.to_owned())
    }

    fn write(value: &String) -> Json {
        value.as_str().into()
    }
}

/// A list of names: in a file `["a", "b"]`, in a variable or a flag `a,b`. It may be empty.
pub struct Names;

impl Form for Names {
    type Value = Vec<String>;

    fn allowed() -> String {
        "a list of names, such as [\"a\", \"b\"], or \"a,b\" in variables and flags".to_owned()
    }

    fn schema() -> Json {
        json!({"anyOf": [{"type": "array", "items": {"type": "string", "minLength": 1}}, {"type": "string"}]})
    }

    fn read(json: &Json) -> Option<Vec<String>> {
        match json {
            Json::String(names) => {
                let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
                Some(names.map(str::to_owned).collect())
            }
            Json::Array(names) => names.iter().map(|name| text(name).map(str::to_owned)).collect(),
            _ => None,
        }
    }

    fn write(value: &Vec<String>) -> Json {
        value.as_slice().into()
    }
}

/// Annotation in a schema of values that are not shown.
pub const SECRET: &str = "x-secret";

/// Returns the schema of a secret: the value itself, or a table that names the file or the environment variable which it is read
/// from.
#[must_use]
pub fn secret(schema: Json) -> Json {
    let source = |name: &str| {
        json!({
            "type": "object", "properties": {name: Text::schema()}, "required": [name], "additionalProperties": false,
        })
    };
    json!({"anyOf": [schema, source("file"), source("env")], SECRET: true})
}

/// Describes the allowed values of a secret.
#[must_use]
pub fn secret_allowed(value: &str) -> String {
    format!("{value}, or one of {{ file = \"...\" }} and {{ env = \"...\" }}")
}

/// A list of secrets, which `config print` masks.
pub struct Secrets;

impl Form for Secrets {
    type Value = Vec<String>;

    fn allowed() -> String {
        secret_allowed(&Names::allowed())
    }

    fn schema() -> Json {
        secret(Names::schema())
    }

    fn read(json: &Json) -> Option<Vec<String>> {
        Names::read(json)
    }

    fn write(value: &Vec<String>) -> Json {
        Names::write(value)
    }
}

/// Text that `config print` masks.
pub struct SecretText;

impl Form for SecretText {
    type Value = String;

    fn allowed() -> String {
        secret_allowed(&Text::allowed())
    }

    fn schema() -> Json {
        secret(Text::schema())
    }

    fn read(json: &Json) -> Option<String> {
        Text::read(json)
    }

    fn write(value: &String) -> Json {
        Text::write(value)
    }
}
