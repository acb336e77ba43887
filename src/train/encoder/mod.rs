//! A frozen encoder: an ONNX graph, such as that of a speech recogniser, whose frames a head classifies.
//!
//! Input: an ONNX file with its front end (the contract in its metadata or its sidecar), and the name of a layer. Output:
//! an [`Encoder`], the embeddings of clips, and the graph that an exported file contains. Invariants: the encoder's weights
//! are not changed; trainer and exported file run the same nodes for encoder and pooling, so their embeddings agree.
//!
//! In data order: `weights` (weights in other files) → `layer` (the nodes up to the layer) → `probe` (a trial run) →
//! `pooling` (from frames to embeddings, as ONNX nodes) → `embeddings` (clips through ONNX Runtime, with a cache).

mod embeddings;
mod layer;
mod pooling;
mod probe;
mod weights;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use prost::Message;
use sha2::{Digest, Sha256};

pub use embeddings::{Embeddings, Variant};
pub use pooling::{EncoderGraph, Pooled, Pooling};

use super::onnx::{ModelProto, StringStringEntryProto};
use crate::config;
use crate::model::{Contract, METADATA_KEY, load_front_end};

/// The key of the encoder's description in the `metadata_props` of an exported file.
const ENCODER_KEY: &str = "affectd.encoder";
/// The oldest operator set of ONNX whose operators the pooling and the head can use.
const MIN_OPSET: i64 = 13;
/// The oldest IR version of an exported file.
const MIN_IR_VERSION: i64 = 8;

/// Which encoder a run uses, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderOptions {
    /// The ONNX file.
    pub path: PathBuf,
    /// The name of a tensor or node; `None` for the first output `[batch, frames, width]`.
    pub layer: Option<String>,
    /// The SHA-256 that the file must have, in hexadecimal digits; `None` for any.
    pub sha256: Option<String>,
    /// The pooling of the frames.
    pub pooling: Pooling,
    /// The number of augmented copies of each training window.
    pub copies: usize,
}

/// An encoder, cut off at its layer.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// The options.
    pub options: EncoderOptions,
    /// The front end; the entries of a classifier, such as the labels, have no meaning.
    pub contract: Contract,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// The name of the tensor that holds the frames.
    pub layer: String,
    /// The number of frames of a window.
    pub frames: usize,
    /// The number of values of a frame.
    pub width: usize,
    /// The shape of one window in the encoder's input, without the batch axis.
    window_shape: Vec<usize>,
    /// The nodes up to the layer, with the file's operator sets and metadata.
    model: Arc<ModelProto>,
    engine: config::Engine,
}

impl Encoder {
    /// Reads an encoder, cuts it off at the layer and runs it once.
    ///
    /// # Errors
    /// Returns an error where the file cannot be read, has another SHA-256, holds no front end, has no such layer, or has
    /// frames that do not fit: another rank, a fixed batch, another length than that of the front end's windows.
    pub fn open(options: EncoderOptions, engine: &config::Engine) -> anyhow::Result<Self> {
        let contract = load_front_end(&options.path)?;
        let bytes = std::fs::read(&options.path)?;
        let sha256 = digits(&Sha256::digest(&bytes));
        check_sha256(&sha256, options.sha256.as_deref())?;
        let mut model = ModelProto::decode(bytes.as_slice())?;
        drop(bytes);
        check_operators(&model)?;
        let mut graph = model.graph.take().context("it holds no graph")?;
        weights::inline(&mut graph, options.path.parent().unwrap_or(Path::new("")))?;
        let candidates = layer::candidates(&graph, options.layer.as_deref())?;
        model.graph = Some(layer::cut(graph, &candidates)?);
        let found = probe::run(&model, &contract, engine)?;
        let chosen = found.choose(&candidates, options.layer.is_some())?;
        let (layer, [frames, width]) = (candidates[chosen.output].clone(), chosen.size);
        let graph = model.graph.take().context("it holds no graph")?;
        model.graph = Some(layer::cut(graph, std::slice::from_ref(&layer))?);
        let (window_shape, engine) = (found.window_shape, engine.clone());
        let model = Arc::new(model);
        Ok(Self { options, contract, sha256, layer, frames, width, window_shape, model, engine })
    }

    /// Returns the frames and the width of what the graph returns for a window; one frame is a pooled embedding.
    pub fn embedding_size(&self) -> [usize; 2] {
        match self.options.pooling {
            Pooling::Mean => [1, self.width],
            Pooling::MeanDeviation => [1, 2 * self.width],
            Pooling::Attentive => [self.frames, self.width],
        }
    }

    /// Returns the description of the encoder for reports and for the exported file.
    pub fn settings(&self) -> serde_json::Value {
        let file = self.options.path.file_name().map(|name| name.to_string_lossy().into_owned());
        serde_json::json!({
            "file": file,
            "sha256": self.sha256,
            "layer": self.layer,
            "frames": self.frames,
            "width": self.width,
            "pooling": self.options.pooling,
            "copies": self.options.copies,
        })
    }

    /// Completes a model that contains the encoder: it gets the encoder's operator sets, functions and metadata, such as
    /// the attribution of its authors, and a description of the encoder.
    pub fn complete(&self, model: ModelProto) -> ModelProto {
        let own = [METADATA_KEY, ENCODER_KEY];
        let kept = self.model.metadata_props.iter().filter(|entry| !own.contains(&entry.key.as_str()));
        let described =
            StringStringEntryProto { key: ENCODER_KEY.to_owned(), value: self.settings().to_string() };
        ModelProto {
            ir_version: self.model.ir_version.max(MIN_IR_VERSION),
            opset_import: self.model.opset_import.clone(),
            functions: self.model.functions.clone(),
            metadata_props: model
                .metadata_props
                .into_iter()
                .chain([described])
                .chain(kept.cloned())
                .collect(),
            ..model
        }
    }
}

/// Names the layer, the file and the pooling in one phrase.
impl std::fmt::Display for Encoder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { layer, frames, width, options, .. } = self;
        let (file, pooling) = (options.path.display(), options.pooling.name());
        write!(out, "{layer} of {file}, {frames} frames of {width} values, pooling {pooling}")
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_sha256(found: &str, wanted: Option<&str>) -> anyhow::Result<()> {
    let wanted = wanted.map(str::to_ascii_lowercase);
    match wanted.filter(|wanted| wanted != found) {
        None => Ok(()),
        Some(wanted) => bail!("its SHA-256 is {found}, and must be {wanted}"),
    }
}

fn check_operators(model: &ModelProto) -> anyhow::Result<()> {
    let own = model.opset_import.iter().filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    let version = own.map(|set| set.version).max().context("it names no operator set of ONNX")?;
    ensure!(version >= MIN_OPSET, "its operator set is {version}, and must be {MIN_OPSET} or newer");
    Ok(())
}
