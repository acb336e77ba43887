//! The layers of a configuration, merged by the crate `config`: file, environment, flags.
//!
//! Input: the path of a file, environment variables, `key=value` pairs. Output: the raw value and [`ValueOrigin`] of each key
//! that a layer sets; the others have their default. Invariants: no value is validated here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{File, FileFormat, Map, Source, Value, ValueKind};

use super::keys::{KAFKA_PROPERTIES, keys};
use super::{ConfigError, ValueOrigin};

/// Prefix of the environment variables that set a key.
pub const VARIABLE_PREFIX: &str = "AFFECTD__";

/// Where a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// A TOML file, which must exist; `None` reads no file.
    pub file: Option<PathBuf>,
    /// Environment variables by name; those without [`VARIABLE_PREFIX`] are ignored.
    pub environment: Vec<(String, String)>,
    /// `(key, value, flag)` from the command line; the last one wins.
    pub flags: Vec<(String, String, String)>,
}

/// A raw value and where it was set.
pub(super) struct Raw {
    pub kind: ValueKind,
    pub origin: ValueOrigin,
}

/// One layer: full dotted key to value and origin.
#[derive(Debug, Clone)]
struct Layer(BTreeMap<String, (ValueKind, String)>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    /// Returns tables that are one level deep: the text after the section is one key, dots included, so that
    /// `sasl.password` merges in the same way whether it was written as one key or as nested tables.
    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let mut sections: Map<String, Map<String, Value>> = Map::new();
        for (key, (kind, origin)) in &self.0 {
            let (section, rest) = key.split_once('.').unwrap_or(("", key));
            let value = Value::new(Some(origin), kind.clone());
            sections.entry(section.to_owned()).or_default().insert(rest.to_owned(), value);
        }
        Ok(sections.into_iter().map(|(section, keys)| (section, Value::new(None, keys))).collect())
    }
}

/// Merges all layers; a later one overrides an earlier one.
pub(super) fn merge(options: &LoadOptions) -> Result<BTreeMap<String, Raw>, ConfigError> {
    let mut origins = Vec::new();
    let mut builder = config::Config::builder();
    for layer in [file(options.file.as_deref())?, environment(options), flags(options)] {
        let mut named = BTreeMap::new();
        for (key, raw) in layer {
            // The crate carries an origin as text: the index into `origins`.
            named.insert(key, (raw.kind, origins.len().to_string()));
            origins.push(raw.origin);
        }
        builder = builder.add_source(Layer(named));
    }
    let merged = builder.build().expect("layers hold plain values and cannot fail");
    let sections = merged.collect().expect("a merged configuration is a table");
    let mut result = BTreeMap::new();
    for (section, table) in sections {
        for (rest, value) in table.into_table().expect("every layer holds tables of keys") {
            let index: usize =
                value.origin().and_then(|index| index.parse().ok()).expect("every value has an origin");
            let key = if section.is_empty() { rest } else { format!("{section}.{rest}") };
            result.insert(key, Raw { kind: value.kind, origin: origins[index].clone() });
        }
    }
    Ok(result)
}

fn file(path: Option<&Path>) -> Result<Vec<(String, Raw)>, ConfigError> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let error = |reason: String| ConfigError::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|cause| error(cause.to_string()))?;
    let table = File::from_str(&text, FileFormat::Toml).collect().map_err(|cause| error(one_line(&cause)))?;
    let mut flat = Vec::new();
    flatten("", table, &mut flat);
    let raw = |kind| Raw { kind, origin: ValueOrigin::File(path.to_owned()) };
    Ok(flat.into_iter().map(|(key, kind)| (key, raw(kind))).collect())
}

/// Returns the position and the reason of a TOML error, without the excerpt between them.
fn one_line(cause: &config::ConfigError) -> String {
    let text = cause.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("not TOML").to_owned();
    lines.next_back().map_or(first.clone(), |reason| format!("{first}: {reason}"))
}

fn flatten(prefix: &str, table: Map<String, Value>, flat: &mut Vec<(String, ValueKind)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value.kind {
            ValueKind::Table(inner) => flatten(&key, inner, flat),
            ValueKind::Array(entries) if key == "model" || key == "alert" => {
                let any_key = if key == "model" { "path" } else { "name" };
                for (index, entry) in entries.into_iter().enumerate() {
                    match entry.kind {
                        // An empty table is an entry with every default: one key without a value keeps it.
                        ValueKind::Table(inner) if inner.is_empty() => {
                            flat.push((format!("{key}.{index}.{any_key}"), ValueKind::Nil));
                        }
                        ValueKind::Table(inner) => flatten(&format!("{key}.{index}"), inner, flat),
                        kind => flat.push((format!("{key}.{index}"), kind)),
                    }
                }
            }
            kind => flat.push((key, kind)),
        }
    }
}

fn environment(options: &LoadOptions) -> Vec<(String, Raw)> {
    let mut layer = Vec::new();
    for (variable, value) in &options.environment {
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else {
            warn_of_near_miss(variable);
            continue;
        };
        let origin = ValueOrigin::Environment(variable.clone());
        layer.push((variable_key(name), Raw { kind: value.as_str().into(), origin }));
    }
    layer
}

/// Logs a warning for a variable that is ignored although its name is nearly that of a key, such as `AFFECTD_AUDIO__MAX_GAP`.
fn warn_of_near_miss(variable: &str) {
    if let Some(meant) = near_miss(variable) {
        tracing::warn!("the variable {variable} is ignored; did you mean {meant}?");
    }
}

/// Returns the variable of the key that an ignored variable is probably meant to set: the letters are the same, and case or
/// underscores differ.
fn near_miss(variable: &str) -> Option<String> {
    let letters = |name: &str| name.replace('_', "").to_lowercase();
    let ignored = letters(variable);
    // `kafka.properties` has no fixed names below it.
    let properties = letters(&format!("{VARIABLE_PREFIX}{KAFKA_PROPERTIES}")).replace('.', "");
    if ignored.strip_prefix(&properties).is_some_and(|property| !property.is_empty()) {
        return Some(format!("{VARIABLE_PREFIX}KAFKA__PROPERTIES__NAME"));
    }
    let names =
        keys().iter().map(|key| format!("{VARIABLE_PREFIX}{}", key.name.replace('.', "__").to_uppercase()));
    names.into_iter().find(|name| letters(name) == ignored)
}

/// Converts `AUDIO__MAX_GAP` to `audio.max_gap`.
///
/// Shells do not allow dots in names, so below `kafka.properties`, whose names have dots and no underscores, an
/// underscore stands for a dot.
fn variable_key(name: &str) -> String {
    let key = name.to_lowercase().replace("__", ".");
    match key.strip_prefix(KAFKA_PROPERTIES) {
        Some(property) => format!("{KAFKA_PROPERTIES}{}", property.replace('_', ".")),
        None => key,
    }
}

fn flags(options: &LoadOptions) -> Vec<(String, Raw)> {
    let raw =
        |value: &str, flag: &str| Raw { kind: value.into(), origin: ValueOrigin::Flag(flag.to_owned()) };
    options.flags.iter().map(|(key, value, flag)| (key.clone(), raw(value, flag))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_with_other_underscores_or_case_is_a_near_miss_and_others_are_not() {
        for variable in ["AFFECTD_AUDIO__MAX_GAP", "AFFECTD_AUDIO_MAX_GAP", "affectd__audio__max_gap"] {
            assert_eq!(near_miss(variable).as_deref(), Some("AFFECTD__AUDIO__MAX_GAP"), "{variable}");
        }
        let property = near_miss("AFFECTD_KAFKA_PROPERTIES_SASL_PASSWORD");
        assert_eq!(property.as_deref(), Some("AFFECTD__KAFKA__PROPERTIES__NAME"));
        for variable in ["AFFECTD_CONFIG", "AFFECTD_TEST_KAFKA", "PATH", "AFFECTD_HOME"] {
            assert_eq!(near_miss(variable), None, "{variable}");
        }
    }
}
