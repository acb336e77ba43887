//! Creation of ONNX Runtime sessions on a GPU or on the CPU.
//!
//! Input: the graph and the `[engine]` configuration. Output: sessions, and the name of the device that they run on.
//! Invariants: `engine.device = "auto"` falls back to the CPU with a log line; any other device is used or is an error.

use ort::ep::CPU;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::Device;
use super::EngineOptions;
use super::{ModelError, Runtime};

/// A graph in a form that ONNX Runtime loads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Graph<'a> {
    /// A file. ONNX Runtime finds weights that are stored in separate files relative to it.
    File(&'a std::path::Path),
    /// The bytes of a file, with all weights inside.
    Bytes(&'a [u8]),
}

/// ONNX Runtime sessions and the device that they run on.
pub(super) struct CreatedSessions {
    pub sessions: Vec<Session>,
    pub device: String,
}

/// Creates `engine.sessions` sessions of one graph on `engine.device`. With `engine.sessions = 0` there is one session
/// for each CPU core, or one session on a GPU. `model` names the model in errors.
pub(super) fn create_sessions(
    runtime: &Runtime,
    graph: Graph<'_>,
    engine: &EngineOptions,
    model: &str,
) -> Result<CreatedSessions, ModelError> {
    match engine.device {
        Device::Cpu => {}
        Device::Cuda | Device::TensorRt => {
            let sessions = create_gpu_sessions(runtime, graph, engine);
            let rejected =
                |reason| ModelError::NoGpu { model: model.to_owned(), device: engine.device.name(), reason };
            return Ok(CreatedSessions {
                sessions: sessions.map_err(rejected)?,
                device: engine.device.name().to_owned(),
            });
        }
        Device::Auto => match create_gpu_sessions(runtime, graph, engine) {
            Ok(sessions) => return Ok(CreatedSessions { sessions, device: "cuda".to_owned() }),
            Err(reason) => tracing::info!(%reason, "no usable GPU: the model runs on the CPU"),
        },
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if engine.sessions == 0 { cores } else { engine.sessions };
    let load = |_| builder(runtime, engine).and_then(|builder| commit(builder, graph));
    let sessions = (0..count).map(load).collect::<Result<_, _>>();
    let rejected =
        |error: ort::Error| ModelError::Rejected { model: model.to_owned(), reason: error.to_string() };
    Ok(CreatedSessions { sessions: sessions.map_err(rejected)?, device: "cpu".to_owned() })
}

/// Creates sessions on the GPU, with CUDA alone or with TensorRT first and CUDA for the operators that TensorRT does not
/// support.
fn create_gpu_sessions(
    runtime: &Runtime,
    graph: Graph<'_>,
    engine: &EngineOptions,
) -> Result<Vec<Session>, String> {
    let load = |_| {
        let mut builder = builder(runtime, engine).map_err(|error| error.to_string())?;
        if engine.device == Device::TensorRt {
            register_tensorrt(&mut builder)?;
        }
        register_cuda(&mut builder, engine)?;
        commit(builder, graph).map_err(|error| error.to_string())
    };
    (0..engine.sessions.max(1)).map(load).collect()
}

#[cfg(feature = "cuda")]
fn register_cuda(builder: &mut SessionBuilder, engine: &EngineOptions) -> Result<(), String> {
    use ort::ep::{CUDA, ExecutionProvider, cuda::ConvAlgorithmSearch};
    // TF32 is off because it rounds the mantissa to 10 bits, which changes the fourth digit of a probability. The
    // heuristic search is used because the exhaustive one repeats for every new batch size and takes seconds each time.
    let mut provider =
        CUDA::default().with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic);
    if let Some(bytes) = engine.gpu_memory_limit_bytes {
        provider = provider.with_memory_limit(bytes);
    }
    provider.register(builder).map_err(|error| error.to_string())
}

#[cfg(not(feature = "cuda"))]
fn register_cuda(_: &mut SessionBuilder, _: &EngineOptions) -> Result<(), String> {
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

/// Returns a builder with the options of all sessions. Products of integers are precise: on CPUs without VNNI, ONNX Runtime
/// would otherwise add two 8-bit products in 16 bits, which saturate, and a quantized model would answer wrongly.
fn builder(runtime: &Runtime, engine: &EngineOptions) -> Result<SessionBuilder, ort::Error> {
    Ok(Session::builder(&runtime.environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(engine.threads.max(1))?
        .with_intra_op_spinning(engine.spinning)?
        .with_precise_qmm()?
        .with_execution_providers([CPU::default().with_arena_allocator(engine.cpu_arena).build()])?)
}

fn commit(mut builder: SessionBuilder, graph: Graph<'_>) -> Result<Session, ort::Error> {
    match graph {
        Graph::File(path) => builder.commit_from_file(path),
        Graph::Bytes(bytes) => builder.commit_from_memory(bytes),
    }
}
