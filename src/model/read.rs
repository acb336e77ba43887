//! Reading of the contract of an ONNX file.
//!
//! Input: a path or the file's bytes. Output: a validated [`Contract`] from the file's metadata, or from the sidecar
//! `<model>.contract.json` where the metadata holds none. Invariants: the graph is not loaded, so ONNX Runtime is not
//! needed.

use std::path::{Path, PathBuf};

use prost::Message;

use super::operators::external_files;
use super::{Contract, METADATA_KEY, ModelError, file};

/// The two fields of ONNX's `ModelProto` (onnx/onnx.proto) that are read here; prost skips the others.
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

/// Reads the contract of the model at `path` from the file's metadata, or from the sidecar.
///
/// # Errors
/// Returns an error that names the file where it cannot be read, is not ONNX, or has no valid contract.
pub fn load_contract(path: &Path) -> Result<Contract, ModelError> {
    let (json, origin) = contract_text(path)?;
    parse(&json, origin)
}

/// Returns the JSON of a contract and the name of the file that holds it.
fn contract_text(path: &Path) -> Result<(String, String), ModelError> {
    let bytes = file::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    let model = path.display().to_string();
    if let Some(json) = contract_entry(&bytes, &model)? {
        return Ok((json, model));
    }
    let sidecar = sidecar(path);
    match file::check(&sidecar, file::MAX_BYTES).and_then(|()| std::fs::read_to_string(&sidecar)) {
        Ok(json) => Ok((json, sidecar.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ModelError::NoContract { path: path.to_owned(), sidecar })
        }
        Err(source) => Err(ModelError::Read { path: sidecar, source }),
    }
}

/// Reads the front end of an encoder: a contract in which the entries of a classifier may be absent, from the file's
/// metadata or from the sidecar. `name`, `version`, `labels`, `output` and `provenance` are not used.
///
/// # Errors
/// See [`load_contract`].
#[cfg(feature = "train")]
pub fn load_front_end(path: &Path) -> Result<Contract, ModelError> {
    let (json, origin) = contract_text(path)?;
    Contract::parse_front_end(&json).map_err(|source| ModelError::Contract { origin, source })
}

/// Reads the contract from the bytes of an ONNX file. `model` names the file in errors.
///
/// # Errors
/// See [`load_contract`]; there is no sidecar here.
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

/// Returns the files that a model consists of: the ONNX file, its sidecar whether it exists or not, and the files that
/// hold weights outside the ONNX file. A file that cannot be read or is not ONNX has no such weights.
#[must_use]
pub fn model_files(path: &Path) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let weights = file::read(path).map(|onnx| external_files(&onnx.into())).unwrap_or_default();
    let weights = weights.into_iter().map(|file| folder.join(file));
    [path.to_owned(), sidecar(path)].into_iter().chain(weights).collect()
}

fn sidecar(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".contract.json");
    PathBuf::from(name)
}

fn parse(json: &str, origin: String) -> Result<Contract, ModelError> {
    Contract::parse(json).map_err(|source| ModelError::Contract { origin, source })
}
