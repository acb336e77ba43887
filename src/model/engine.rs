//! From a model file to sessions that run.
//!
//! In: where the model is, and `[engine]`. Out: a [`Model`] whose graph fits its contract and has run once.
//! Never gives out a model that would fail on its first window.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::device::{Graph, place};
use super::graph::fit;
use super::session::AT_ONCE_ON_CPU;
use super::{Contract, ModelError, Output, Runtime, Session, builtin, contract_of, load_contract};
use crate::config;

/// Where a model comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// An ONNX file.
    File(PathBuf),
    /// The one inside the binary.
    #[default]
    BuiltIn,
}

impl ModelSource {
    /// `model.path`, else the built-in one.
    #[must_use]
    pub fn configured(model: &config::Model) -> Self {
        model.path.clone().map_or(Self::BuiltIn, Self::File)
    }

    /// Reads the contract, without ONNX Runtime.
    ///
    /// # Errors
    /// As [`load_contract`].
    pub fn contract(&self) -> Result<Contract, ModelError> {
        match self {
            Self::File(path) => load_contract(path),
            Self::BuiltIn => contract_of(builtin::ONNX, &self.to_string()),
        }
    }
}

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn => f.write_str("(built in)"),
        }
    }
}

/// A model, loaded and tried out.
#[derive(Debug)]
pub struct Model {
    /// What it says of itself.
    pub contract: Arc<Contract>,
    /// One for each inference thread, at least one.
    pub sessions: Vec<Session>,
    /// What the sessions truly run on: `cpu` or `cuda`.
    pub device: String,
    /// The engine that runs it: `onnxruntime`.
    pub engine: String,
    /// The engine's library.
    pub library: PathBuf,
    /// What a window took of a session in a trial batch.
    pub window_takes: Duration,
}

impl Model {
    /// Reads the contract, loads the graph, checks the one against the other, and runs one batch in each session.
    /// Takes tens of milliseconds a session on a CPU and seconds on a GPU: not for an async thread.
    ///
    /// # Errors
    /// See [`ModelError`]: each names the file and what is wrong with it.
    pub fn load(source: ModelSource, engine: &config::Engine) -> Result<Self, ModelError> {
        let contract = Arc::new(source.contract()?);
        let name = source.to_string();
        let runtime = Runtime::load(engine.library.as_deref())?;
        let graph = match &source {
            ModelSource::File(path) => Graph::File(path),
            ModelSource::BuiltIn => Graph::Bytes(builtin::ONNX),
        };
        let placed = place(&runtime, graph, engine, &name)?;
        let unfit = |problem| ModelError::Unfit { model: name.clone(), problem };
        let mut sessions = Vec::with_capacity(placed.sessions.len());
        let mut window_takes = Duration::ZERO;
        let at_once = if placed.device == "cpu" { AT_ONCE_ON_CPU } else { usize::MAX };
        for session in placed.sessions {
            let ports = fit(session.inputs(), session.outputs(), &contract).map_err(unfit)?;
            let mut session = Session::new(session, ports, Arc::clone(&contract), at_once);
            window_takes = warm_up(&mut session).map_err(unfit)?;
            sessions.push(session);
        }
        Ok(Self {
            contract,
            sessions,
            device: placed.device,
            engine: "onnxruntime".to_owned(),
            library: runtime.path,
            window_takes,
        })
    }
}

/// Two windows, so that a graph that only bears a batch of one is found; no row is zero, as those mean padding.
const WARM_UP_BATCH: usize = 2;

/// Says what a window took, once the engine had made room for it.
fn warm_up(session: &mut Session) -> Result<Duration, String> {
    let contract = Arc::clone(session.contract());
    let size = WARM_UP_BATCH * contract.rows() * contract.coefficients();
    let features: Vec<f32> = (1..=size).map(|n| (n as f32 * 0.7).sin() * 0.5).collect();
    let mut out = Vec::new();
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let start = Instant::now();
        let run = session.run(&features, WARM_UP_BATCH, &mut out);
        run.map_err(|error| format!("a trial batch failed: {error}"))?;
        took = start.elapsed();
    }
    if contract.output == Output::Probabilities {
        for row in out.chunks_exact(contract.labels.len()) {
            let sum: f32 = row.iter().sum();
            if (sum - 1.0).abs() > 1e-2 || row.iter().any(|value| *value < 0.0) {
                return Err(format!(
                    "output says \"probabilities\", and a trial window's sum is {sum}; \"logits\" would add a softmax"
                ));
            }
        }
    }
    Ok(took / WARM_UP_BATCH as u32)
}
