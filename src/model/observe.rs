//! An observer of graphs: runs a graph and passes the values of its outputs to the caller.
//!
//! Input: a graph in memory, whose outputs are the values to observe, and batches of its input. Output: the values of
//! each output. Invariants: the graph needs no contract. Calibration and encoders use it.

use ort::value::TensorRef;

use super::Device;
use super::EngineOptions;
use super::device::{Graph, create_sessions};
use super::graph::match_input;
use super::{Contract, EngineError, ModelError, Runtime};

/// The values of one output of a graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedTensor {
    /// The sizes of all axes.
    pub shape: Vec<usize>,
    /// The values, the last axis first.
    pub values: Vec<f32>,
}

/// A loaded graph with one input and any number of outputs.
#[derive(Debug)]
pub struct Observer {
    graph: ort::session::Session,
    input: String,
}

impl Observer {
    /// Loads the bytes of an ONNX file on the CPU, with one session that uses all cores.
    ///
    /// # Errors
    /// Returns an error where ONNX Runtime is missing or rejects the graph, or where the graph has more than one input.
    pub fn load(onnx: &[u8], engine: &EngineOptions) -> Result<Self, ModelError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(onnx, engine, threads)
    }

    /// Loads the bytes of an ONNX file on the CPU, with one session that uses `threads` threads.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn with_threads(onnx: &[u8], engine: &EngineOptions, threads: usize) -> Result<Self, ModelError> {
        let model = "in memory".to_owned();
        let runtime = Runtime::load(engine.library.as_deref())?;
        let engine = EngineOptions { device: Device::Cpu, sessions: 1, threads, ..engine.clone() };
        let created = create_sessions(&runtime, Graph::Bytes(onnx), &engine, &model)?;
        let mismatch = |problem: &str| ModelError::Mismatch { model, problem: problem.to_owned() };
        let Some(graph) = created.sessions.into_iter().next() else { return Err(mismatch("no session")) };
        let [input] = graph.inputs() else { return Err(mismatch("the graph has more than one input")) };
        let input = input.name().to_owned();
        Ok(Self { graph, input })
    }

    /// Compares the graph's input with a contract and returns the shape of one window, without the batch axis.
    ///
    /// # Errors
    /// Returns the first mismatch: element type, rank, a size, or a fixed batch size.
    pub fn window_shape(&self, contract: &Contract) -> Result<Vec<usize>, String> {
        Ok(match_input(self.graph.inputs(), contract)?.1)
    }

    /// Runs `batch`, a tensor of `shape`, and returns each output in the order of the graph; `None` stands for an output that
    /// is not a tensor of 32-bit floats.
    ///
    /// # Errors
    /// Returns an error where ONNX Runtime fails, for example on a wrong shape.
    pub fn tensors(
        &mut self,
        shape: &[usize],
        batch: &[f32],
    ) -> Result<Vec<Option<ObservedTensor>>, EngineError> {
        let failed = |error: ort::Error| EngineError::Run(error.to_string());
        let tensor = TensorRef::from_array_view((shape, batch)).map_err(failed)?;
        let outputs = self.graph.run(ort::inputs![self.input.as_str() => tensor]).map_err(failed)?;
        let observed = outputs.iter().map(|(_, value)| {
            let (shape, values) = value.try_extract_tensor::<f32>().ok()?;
            let shape = shape.iter().map(|size| *size as usize).collect();
            Some(ObservedTensor { shape, values: values.to_vec() })
        });
        Ok(observed.collect())
    }

    /// Runs `batch`, a tensor of `shape`, and calls `observe` with the name and the values of each output.
    ///
    /// # Errors
    /// Returns an error where ONNX Runtime fails, for example on a wrong shape, and where an output holds no 32-bit floats.
    pub fn run(
        &mut self,
        shape: &[usize],
        batch: &[f32],
        mut observe: impl FnMut(&str, &[f32]),
    ) -> Result<(), EngineError> {
        let failed = |error: ort::Error| EngineError::Run(error.to_string());
        let tensor = TensorRef::from_array_view((shape, batch)).map_err(failed)?;
        let outputs = self.graph.run(ort::inputs![self.input.as_str() => tensor]).map_err(failed)?;
        for (name, value) in outputs.iter() {
            let (_, values) = value.try_extract_tensor::<f32>().map_err(failed)?;
            observe(name, values);
        }
        Ok(())
    }
}
