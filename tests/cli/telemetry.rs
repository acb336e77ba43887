//! ONNX Runtime looks up no host and writes no file: the system calls of a command that loads it.

use std::process::Command;

#[test]
fn no_byte_leaves_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-s",
        "200",
        "-e",
        "trace=socket,connect,sendto,sendmsg,openat,mkdir,mkdirat,execve",
        "-o",
    ]);
    command.arg(&trace).arg(env!("CARGO_BIN_EXE_affectd")).args(["model", "verify"]);
    command.env("HOME", folder.path()).env_remove("XDG_CACHE_HOME").env_remove("ORT_DISABLE_TELEMETRY");
    let Ok(output) = command.output() else {
        eprintln!("strace is not installed: the system calls were not checked");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("libonnxruntime"), "the library is loaded");
    assert!(trace.matches("execve(").count() >= 2, "the command starts itself again");
    let suspect = |line: &&str| line.contains("AF_INET") || line.contains(".cache/Microsoft");
    assert_eq!(trace.lines().filter(suspect).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(!folder.path().join(".cache").exists());
}
