//! Loading of a model: contract, graph and sessions.
//!
//! Input: the source of the model and the `[engine]` configuration. Output: a [`Model`] whose graph matches its contract.
//! Invariants: every session of a loaded model has run one batch successfully, and the result of a window depends neither on
//! the other windows of its batch nor on chance.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;

use super::EngineOptions;
use super::device::{Graph, create_sessions};
use super::file;
use super::graph::match_ports;
use super::operators::{is_quantised, suspects};
use super::session::CPU_WINDOWS_PER_RUN;
use super::trial::{self, QUANTISED_TOLERANCE, TOLERANCE};
use super::{
    Contract, ModelError, Output, Runtime, Session, builtin, contract_of, load_contract, model_files,
};

/// The source of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// An ONNX file.
    File(PathBuf),
    /// The model that is compiled into the binary.
    #[default]
    BuiltIn,
}

impl ModelSource {
    /// Checks that none of the model's files is larger than `max_bytes`. The built-in model has none.
    ///
    /// # Errors
    /// [`ModelError::Read`] names the first file that is not regular or too large.
    pub fn check_size(&self, max_bytes: u64) -> Result<(), ModelError> {
        let Self::File(path) = self else { return Ok(()) };
        let check = |file: PathBuf| match file::check(&file, max_bytes) {
            // Whether a file is needed, and missing, is found where it is read.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ModelError::Read { path: file, source: error })
            }
            _ => Ok(()),
        };
        check(path.clone())?;
        model_files(path).into_iter().try_for_each(check)
    }

    /// Returns the file `model.path`, or the built-in model where no path is configured.
    #[must_use]
    pub fn configured(path: Option<&Path>) -> Self {
        path.map(Path::to_owned).map_or(Self::BuiltIn, Self::File)
    }

    /// Reads the bytes of the ONNX file.
    fn bytes(&self) -> Result<Bytes, ModelError> {
        match self {
            Self::File(path) => file::read(path)
                .map(Bytes::from)
                .map_err(|source| ModelError::Read { path: path.to_owned(), source }),
            Self::BuiltIn => Ok(Bytes::from_static(builtin::ONNX)),
        }
    }

    /// Reads the contract. ONNX Runtime is not needed.
    ///
    /// # Errors
    /// See [`load_contract`].
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

/// A loaded model, whose sessions have each run one batch.
#[derive(Debug)]
pub struct Model {
    /// The contract of the model.
    pub contract: Arc<Contract>,
    /// The sessions, one for each inference thread; at least one.
    pub sessions: Vec<Session>,
    /// The device that the sessions run on: `cpu`, `cuda` or `tensorrt`.
    pub device: String,
    /// The name of the inference engine: `onnxruntime`.
    pub engine: String,
    /// The path of the engine's shared library.
    pub library: PathBuf,
    /// The time that one window took in the warm-up batch of the last session.
    pub time_per_window: Duration,
}

impl Model {
    /// Reads the contract, loads the graph, compares them, runs a warm-up batch in each session, and tries out in the first
    /// one whether windows influence each other.
    ///
    /// The call blocks for tens of milliseconds per session on a CPU and for seconds on a GPU, so it must not run on an
    /// async worker thread.
    ///
    /// # Errors
    /// Returns a [`ModelError`] that names the file and what is wrong with it.
    pub fn load(source: ModelSource, engine: &EngineOptions) -> Result<Self, ModelError> {
        let contract = Arc::new(source.contract()?);
        let name = source.to_string();
        let runtime = Runtime::load(engine.library.as_deref())?;
        let graph = match &source {
            ModelSource::File(path) => Graph::File(path),
            ModelSource::BuiltIn => Graph::Bytes(builtin::ONNX),
        };
        let created = create_sessions(&runtime, graph, engine, &name)?;
        let mismatch = |problem| ModelError::Mismatch { model: name.clone(), problem };
        let mut sessions = Vec::with_capacity(created.sessions.len());
        let mut time_per_window = Duration::ZERO;
        let max_windows_per_run = if created.device == "cpu" { CPU_WINDOWS_PER_RUN } else { usize::MAX };
        for session in created.sessions {
            let ports = match_ports(session.inputs(), session.outputs(), &contract).map_err(mismatch)?;
            let mut session = Session::new(session, ports, Arc::clone(&contract), max_windows_per_run);
            time_per_window = warm_up(&mut session).map_err(mismatch)?;
            if sessions.is_empty() {
                try_out(&mut session, &source)?;
            }
            sessions.push(session);
        }
        Ok(Self {
            contract,
            sessions,
            device: created.device,
            engine: "onnxruntime".to_owned(),
            library: runtime.path,
            time_per_window,
        })
    }
}

/// Returns an error where a window has another result beside other windows, or in a second run.
fn try_out(session: &mut Session, source: &ModelSource) -> Result<(), ModelError> {
    let model = source.to_string();
    let mut found = trial::first_difference(session, TOLERANCE);
    if matches!(&found, Ok(Some(difference)) if !difference.by_chance) && is_quantised(&source.bytes()?) {
        found = trial::first_difference(session, QUANTISED_TOLERANCE);
    }
    match found {
        Ok(None) => Ok(()),
        Ok(Some(difference)) => {
            let rank = 1 + session.window_shape().len();
            let suspects = suspects(&source.bytes()?, rank);
            Err(ModelError::NotReproducible { model, difference: difference.to_string(), suspects })
        }
        Err(error) => Err(ModelError::Mismatch { model, problem: format!("a trial batch failed: {error}") }),
    }
}

/// The number of windows in the warm-up batch. Two, so that a graph that supports only a batch of one, and does not
/// declare it, is detected.
const WARM_UP_BATCH: usize = 2;

/// Runs the warm-up batch twice and returns the time per window of the second run; the first run includes allocations.
fn warm_up(session: &mut Session) -> Result<Duration, String> {
    let contract = Arc::clone(session.contract());
    let size = WARM_UP_BATCH * contract.rows() * contract.coefficients();
    let features = trial::warm_up_values(size);
    let mut out = Vec::new();
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let start = Instant::now();
        let run = session.run(&features, WARM_UP_BATCH, &mut out);
        run.map_err(|error| format!("a warm-up batch failed: {error}"))?;
        took = start.elapsed();
    }
    if contract.output == Output::Probabilities {
        for row in out.chunks_exact(contract.labels.len()) {
            let sum: f32 = row.iter().sum();
            if (sum - 1.0).abs() > 1e-2 || row.iter().any(|value| *value < 0.0) {
                return Err(format!(
                    "output is \"probabilities\", but the probabilities of a warm-up window add up to {sum}; use \"logits\" for a graph without softmax"
                ));
            }
        }
    }
    Ok(took / WARM_UP_BATCH as u32)
}
