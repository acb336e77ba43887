//! Where a graph runs: the GPU where one is usable, else the CPU.
//!
//! In: `engine.device` and the graph. Out: sessions, and the device that they truly use. Never falls back in silence.

use ort::ep::CPU;
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
    match engine.device {
        config::Device::Cpu => {}
        config::Device::Cuda | config::Device::TensorRt => {
            let sessions = on_gpu(runtime, graph, engine);
            let refused =
                |reason| ModelError::NoGpu { model: model.to_owned(), device: engine.device.name(), reason };
            return Ok(Placed {
                sessions: sessions.map_err(refused)?,
                device: engine.device.name().to_owned(),
            });
        }
        config::Device::Auto => match on_gpu(runtime, graph, engine) {
            Ok(sessions) => return Ok(Placed { sessions, device: "cuda".to_owned() }),
            Err(reason) => tracing::info!(%reason, "no usable GPU: the model runs on the CPU"),
        },
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if engine.sessions == 0 { cores } else { engine.sessions };
    let load = |_| builder(runtime, engine).and_then(|builder| commit(builder, graph));
    let sessions = (0..count).map(load).collect::<Result<_, _>>();
    let refused =
        |error: ort::Error| ModelError::Refused { model: model.to_owned(), reason: error.to_string() };
    Ok(Placed { sessions: sessions.map_err(refused)?, device: "cpu".to_owned() })
}

/// Sessions on the GPU: with TensorRT in front where that is asked for, CUDA for what it leaves.
fn on_gpu(runtime: &Runtime, graph: Graph<'_>, engine: &config::Engine) -> Result<Vec<Session>, String> {
    let load = |_| {
        let mut builder = builder(runtime, engine).map_err(|error| error.to_string())?;
        if engine.device == config::Device::TensorRt {
            register_tensorrt(&mut builder)?;
        }
        register_cuda(&mut builder, engine)?;
        commit(builder, graph).map_err(|error| error.to_string())
    };
    (0..engine.sessions.max(1)).map(load).collect()
}

#[cfg(feature = "cuda")]
fn register_cuda(builder: &mut SessionBuilder, engine: &config::Engine) -> Result<(), String> {
    use ort::ep::{CUDA, ExecutionProvider, cuda::ConvAlgorithmSearch};
    // TF32 rounds to 10 bits, which shows in the fourth digit of a score; a search for every batch size takes seconds.
    let mut provider =
        CUDA::default().with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic);
    if let Some(bytes) = engine.gpu_memory_limit_bytes {
        provider = provider.with_memory_limit(bytes);
    }
    provider.register(builder).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn register_cuda(_: &mut SessionBuilder, _: &config::Engine) -> Result<(), String> {
    Err("this build has no CUDA support (cargo feature cuda)".to_owned())
}

#[cfg(feature = "tensorrt")]
fn register_tensorrt(builder: &mut SessionBuilder) -> Result<(), String> {
    use ort::ep::{ExecutionProvider, TensorRT};
    TensorRT::default().register(builder).map_err(|error| error.to_string())
}

#[cfg(not(feature = "tensorrt"))]
fn register_tensorrt(_: &mut SessionBuilder) -> Result<(), String> {
    Err("this build has no TensorRT support (cargo feature tensorrt)".to_owned())
}

fn builder(runtime: &Runtime, engine: &config::Engine) -> Result<SessionBuilder, ort::Error> {
    Ok(Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(engine.threads.max(1))?
        .with_intra_op_spinning(engine.spinning)?
        .with_execution_providers([CPU::default().with_arena_allocator(engine.cpu_arena).build()])?)
}

fn commit(mut builder: SessionBuilder, graph: Graph<'_>) -> Result<Session, ort::Error> {
    match graph {
        Graph::File(path) => builder.commit_from_file(path),
        Graph::Bytes(bytes) => builder.commit_from_memory(bytes),
    }
}
