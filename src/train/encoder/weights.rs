//! Weights that an ONNX file keeps in other files.
//!
//! Input: a graph and the folder of its file. Output: the graph with all weights inside, so that an exported file needs
//! nothing beside it. Invariants: only files in that folder and below it are read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use anyhow::{Context, ensure};

use crate::train::onnx::{GraphProto, TensorProto};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Reads all weights that are in other files.
///
/// # Errors
/// Returns an error that names the tensor where its file cannot be read, is too short, or is outside `folder`.
pub(super) fn inline(graph: &mut GraphProto, folder: &Path) -> anyhow::Result<()> {
    for tensor in graph.initializer.iter_mut().filter(|tensor| tensor.data_location == EXTERNAL) {
        let bytes = read(tensor, folder).with_context(|| format!("weights {}", tensor.name))?;
        tensor.raw_data = bytes;
        tensor.external_data.clear();
        tensor.data_location = 0;
    }
    Ok(())
}

fn read(tensor: &TensorProto, folder: &Path) -> anyhow::Result<Vec<u8>> {
    let entry = |key: &str| tensor.external_data.iter().find(|it| it.key == key).map(|it| it.value.as_str());
    let number = |key: &str| entry(key).map(str::parse::<u64>).transpose();
    let location = Path::new(entry("location").context("no location")?);
    let inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    ensure!(location.components().all(inside), "{} is outside the folder of the file", location.display());
    let path = folder.join(location);
    let named = || format!("read {}", path.display());
    let mut file = File::open(&path).with_context(named)?;
    let (offset, length) = (number("offset")?.unwrap_or_default(), number("length")?);
    file.seek(SeekFrom::Start(offset)).with_context(named)?;
    let mut bytes = Vec::new();
    file.take(length.unwrap_or(u64::MAX)).read_to_end(&mut bytes).with_context(named)?;
    let complete = length.is_none_or(|length| length == bytes.len() as u64);
    ensure!(complete, "{} is shorter than the weights", path.display());
    Ok(bytes)
}
