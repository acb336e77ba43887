//! Reads the contract of an ONNX file.
//!
//! In: a path or the file's bytes. Out: a checked [`Contract`] from the file's metadata, else from the sidecar
//! `<model>.contract.json`. Never runs or loads the graph, so it needs no ONNX Runtime.

use std::path::{Path, PathBuf};

use prost::Message;

use super::{Contract, METADATA_KEY, ModelError};

/// The two entries of ONNX's `ModelProto` that matter here (onnx/onnx.proto); prost skips the graph.
#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Entry>,
}

/// ONNX's `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Reads the contract of the model at `path`: the file's own entry, else the sidecar's.
///
/// # Errors
/// Names the file where it cannot be read, is not ONNX, has no contract, or one that is wrong.
pub fn load_contract(path: &Path) -> Result<Contract, ModelError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    let model = path.display().to_string();
    if let Some(json) = contract_entry(&bytes, &model)? {
        return parse(&json, model);
    }
    let sidecar = sidecar(path);
    match std::fs::read_to_string(&sidecar) {
        Ok(json) => parse(&json, sidecar.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ModelError::NoContract { path: path.to_owned(), sidecar })
        }
        Err(source) => Err(ModelError::Read { path: sidecar, source }),
    }
}

/// Reads the contract inside the bytes of an ONNX file that messages call `model`.
///
/// # Errors
/// As [`load_contract`], without a sidecar.
pub fn contract_of(bytes: &[u8], model: &str) -> Result<Contract, ModelError> {
    match contract_entry(bytes, model)? {
        Some(json) => parse(&json, model.to_owned()),
        None => Err(ModelError::NoContract { path: model.into(), sidecar: sidecar(Path::new(model)) }),
    }
}

fn contract_entry(bytes: &[u8], model: &str) -> Result<Option<String>, ModelError> {
    let not_onnx = |reason: String| ModelError::NotOnnx { model: model.to_owned(), reason };
    if bytes.is_empty() {
        return Err(not_onnx("the file is empty".to_owned()));
    }
    let file = ModelProto::decode(bytes).map_err(|error| not_onnx(error.to_string()))?;
    if file.ir_version <= 0 {
        return Err(not_onnx("no ir_version".to_owned()));
    }
    Ok(file.metadata_props.into_iter().find(|entry| entry.key == METADATA_KEY).map(|entry| entry.value))
}

fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".contract.json");
    PathBuf::from(name)
}

fn parse(json: &str, origin: String) -> Result<Contract, ModelError> {
    Contract::parse(json).map_err(|source| ModelError::Contract { origin, source })
}
