//! The model inside the binary.

/// The bytes of its ONNX file; `deploy/models/crema-d-cnn.md` says what it is and what it is not.
pub const ONNX: &[u8] = include_bytes!("../../deploy/models/crema-d-cnn.onnx");
