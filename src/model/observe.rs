//! Runs a graph and shows what each of its outputs holds: for calibration, which asks for values inside the network.
//!
//! In: a graph in memory and batches of its input. Out: the values of every output, as they come. Never knows a contract.

use ort::value::TensorRef;

use super::device::{Graph, place};
use super::{EngineError, ModelError, Runtime};
use crate::config;

/// A loaded graph with one input.
#[derive(Debug)]
pub struct Observer {
    graph: ort::session::Session,
    input: String,
}

impl Observer {
    /// Loads the bytes of an ONNX file on the CPU, with all cores.
    ///
    /// # Errors
    /// No ONNX Runtime, or a graph that it refuses.
    pub fn load(onnx: &[u8], engine: &config::Engine) -> Result<Self, ModelError> {
        let model = "in memory".to_owned();
        let runtime = Runtime::load(engine.library.as_deref())?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let engine = config::Engine { device: config::Device::Cpu, sessions: 1, threads, ..engine.clone() };
        let placed = place(&runtime, Graph::Bytes(onnx), &engine, &model)?;
        let unfit = |problem: &str| ModelError::Unfit { model, problem: problem.to_owned() };
        let Some(graph) = placed.sessions.into_iter().next() else { return Err(unfit("no session")) };
        let [input] = graph.inputs() else { return Err(unfit("the graph takes more than one input")) };
        let input = input.name().to_owned();
        Ok(Self { graph, input })
    }

    /// Runs a batch of `shape` and shows each output, its name and its values.
    ///
    /// # Errors
    /// A failure of ONNX Runtime, such as a shape that does not fit, and an output that holds no floats.
    pub fn run(
        &mut self,
        shape: &[usize],
        batch: &[f32],
        mut show: impl FnMut(&str, &[f32]),
    ) -> Result<(), EngineError> {
        let failed = |error: ort::Error| EngineError::Run(error.to_string());
        let tensor = TensorRef::from_array_view((shape, batch)).map_err(failed)?;
        let outputs = self.graph.run(ort::inputs![self.input.as_str() => tensor]).map_err(failed)?;
        for (name, value) in outputs.iter() {
            let (_, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            show(name, values);
        }
        Ok(())
    }
}
