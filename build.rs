//! The build script: compiles the protocol and, with the feature `bundled-onnxruntime`, downloads ONNX Runtime.

#[path = "build/onnxruntime.rs"]
mod onnxruntime;
#[path = "build/protocol.rs"]
mod protocol;

fn main() {
    protocol::compile();
    if std::env::var_os("CARGO_FEATURE_BUNDLED_ONNXRUNTIME").is_some() {
        onnxruntime::bundle();
    }
}
