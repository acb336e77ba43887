//! Where a graph runs: the GPU where one is usable, else the CPU.
//!
//! In: `engine.device` and the graph. Out: sessions, and the device that they truly use. Never falls back in silence.

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::{ModelError, Runtime};
use crate::config;

/// The graph as ONNX Runtime takes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Graph<'a> {
    /// A file, so that weights kept in files beside it are found.
    File(&'a std::path::Path),
    /// The bytes of a file.
    Bytes(&'a [u8]),
}

/// Sessions and the device that they run on.
pub(super) struct Placed {
    pub sessions: Vec<Session>,
    pub device: String,
}

/// Loads the graph as often as `engine.sessions` asks, on the device that `engine.device` asks for.
pub(super) fn place(
    runtime: &Runtime,
    graph: Graph<'_>,
    engine: &config::Engine,
    model: &str,
) -> Result<Placed, ModelError> {
    if engine.device != config::Device::Cpu {
        match on_gpu(runtime, graph, engine) {
            Ok(sessions) => return Ok(Placed { sessions, device: "cuda".to_owned() }),
            Err(reason) if engine.device == config::Device::Cuda => {
                return Err(ModelError::NoGpu { model: model.to_owned(), reason });
            }
            Err(reason) => tracing::info!(%reason, "no usable GPU: the model runs on the CPU"),
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if engine.sessions == 0 { cores } else { engine.sessions };
    let load = |_| builder(runtime, engine).and_then(|builder| commit(builder, graph));
    let sessions = (0..count).map(load).collect::<Result<_, _>>();
    let refused =
        |error: ort::Error| ModelError::Refused { model: model.to_owned(), reason: error.to_string() };
    Ok(Placed { sessions: sessions.map_err(refused)?, device: "cpu".to_owned() })
}

#[cfg(feature = "cuda")]
fn on_gpu(runtime: &Runtime, graph: Graph<'_>, engine: &config::Engine) -> Result<Vec<Session>, String> {
    use ort::ep::{CUDA, ExecutionProvider, cuda::ConvAlgorithmSearch};
    // TF32 rounds to 10 bits, which shows in the fourth digit of a score; a search for every batch size takes seconds.
    let provider =
        CUDA::default().with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic);
    let load = |_| {
        let mut builder = builder(runtime, engine)?;
        provider.register(&mut builder)?;
        commit(builder, graph)
    };
    let count = engine.sessions.max(1);
    (0..count).map(load).collect::<Result<_, ort::Error>>().map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn on_gpu(_: &Runtime, _: Graph<'_>, _: &config::Engine) -> Result<Vec<Session>, String> {
    Err("this build has no CUDA support (cargo feature cuda)".to_owned())
}

fn builder(runtime: &Runtime, engine: &config::Engine) -> Result<SessionBuilder, ort::Error> {
    // Threads that spin between runs would take the front end's cores.
    Ok(Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(engine.threads.max(1))?
        .with_intra_op_spinning(false)?)
}

fn commit(mut builder: SessionBuilder, graph: Graph<'_>) -> Result<Session, ort::Error> {
    match graph {
        Graph::File(path) => builder.commit_from_file(path),
        Graph::Bytes(bytes) => builder.commit_from_memory(bytes),
    }
}
