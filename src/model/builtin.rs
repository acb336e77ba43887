//! The model that is compiled into the binary.
//!
//! Output: the bytes of an ONNX file with its contract. `deploy/models/speech-emotion.md` describes its training data,
//! its scores and its limits.

/// The bytes of the ONNX file of the built-in model.
pub const ONNX: &[u8] = include_bytes!("../../deploy/models/speech-emotion.onnx");
