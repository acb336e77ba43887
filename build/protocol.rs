//! Compiles `proto/` to Rust: messages and services (tonic), proto3 JSON (pbjson), and the descriptor set for reflection.

use std::path::PathBuf;

const FILES: [&str; 6] = [
    "affectd/v1/audio.proto",
    "affectd/v1/emotion.proto",
    "affectd/v1/events.proto",
    "affectd/v1/recognition.proto",
    "affectd/v1/evaluation.proto",
    "affectd/v1/calls.proto",
];

/// Compiles the protocol into `OUT_DIR`.
///
/// # Panics
/// Panics, and so fails the build, where the protocol is invalid.
pub fn compile() {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut compiler = protox::Compiler::new(["proto"]).expect("proto/ exists");
    compiler.include_imports(true).open_files(FILES).unwrap_or_else(|error| panic!("{error:?}"));
    let descriptors = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("affectd.v1.bin"), &descriptors).expect("OUT_DIR can be written");
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .extern_path(".google.protobuf.Timestamp", "crate::proto::Timestamp")
        .codec_path("crate::proto::codec::BoundedCodec")
        .bytes(".affectd.v1")
        .compile_fds(compiler.file_descriptor_set())
        .expect("the protocol compiles");
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)
        .expect("the descriptors are valid")
        .emit_fields()
        .build(&[".affectd.v1"])
        .expect("the JSON mapping compiles");
}
