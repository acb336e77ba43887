//! Which panics are findings.
//!
//! Input: panics. Output: an abort, which libFuzzer reports, for those of affectd's own code. A panic of a third-party decoder is caught where the decoder is
//! called, and makes the file malformed; libFuzzer's own hook would end the run there.

/// Replaces libFuzzer's hook.
pub fn are_findings() {
    std::panic::set_hook(Box::new(|panic| {
        let file = panic.location().map_or("", |at| at.file());
        if !file.contains("/registry/src/") {
            eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
            std::process::abort();
        }
    }));
}
