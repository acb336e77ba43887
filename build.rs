//! The build script: compiles the protocol, describes the version and, with the feature `bundled-onnxruntime`, downloads
//! ONNX Runtime.

#[path = "build/onnxruntime.rs"]
mod onnxruntime;
#[path = "build/protocol.rs"]
mod protocol;
#[path = "build/version.rs"]
mod version;

fn main() {
    protocol::compile();
    version::describe(onnxruntime::version());
    if std::env::var_os("CARGO_FEATURE_BUNDLED_ONNXRUNTIME").is_some() {
        onnxruntime::bundle();
    }
}
