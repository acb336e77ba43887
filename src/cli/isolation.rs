//! Switches off the telemetry of ONNX Runtime before its library is loaded.
//!
//! Input: the arguments and the environment of the process. Output: the same process, started again with one variable more. The library reads the
//! variable when it is loaded; its API switches telemetry off only afterwards, when it has looked up a host and written a device id. A process cannot
//! change its own environment safely once threads may run, so it replaces itself instead, before it has any.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The variable that ONNX Runtime reads when it is loaded.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Returns in a process that has the variable set. The process id stays the same.
pub fn disable_telemetry() {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "1") {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = match std::env::current_exe() {
        // Returns only where it fails.
        Ok(program) => Command::new(program).arg0(name).args(arguments).env(VARIABLE, "1").exec(),
        Err(error) => error,
    };
    eprintln!(
        "warning: the telemetry of ONNX Runtime may be on: cannot start again with {VARIABLE}=1: {error}"
    );
}
