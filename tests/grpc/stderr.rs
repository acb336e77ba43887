//! A daemon whose standard error cannot be written goes on: its reader has gone, nobody reads it, or its disk is full.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::support::PATIENCE;

/// A port that was free a moment ago, below the range from which systems take ports for others.
fn free_port() -> u16 {
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (first..).find(is_free).unwrap()
}

/// A daemon that logs everything to `stderr`, and the port of its HTTP server.
fn start(stderr: Stdio) -> (Child, u16) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command.args(["--log-level", "trace", "serve", "--set", "grpc.address=127.0.0.1:0"]);
    command.args(["--set", &format!("http.address=127.0.0.1:{port}"), "--set", "engine.device=cpu"]);
    (command.stdin(Stdio::null()).stderr(stderr).spawn().unwrap(), port)
}

/// Whether the daemon is ready; each request is logged too.
fn is_ready(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let done = stream.write_all(request).and_then(|()| stream.read_to_string(&mut answer));
    done.is_ok() && answer.starts_with("HTTP/1.1 200")
}

/// Lets a daemon log some thousand lines, and stops it.
async fn run(stderr: Stdio) -> ExitStatus {
    let (mut daemon, port) = start(stderr);
    let mut ready = 0;
    let served = async {
        while ready < 500 {
            match tokio::task::spawn_blocking(move || is_ready(port)).await.unwrap() {
                true => ready += 1,
                false => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let served = timeout(PATIENCE, served).await;
    let status = daemon.try_wait().unwrap();
    let kill = Command::new("kill").arg("-TERM").arg(daemon.id().to_string()).status();
    let ended = timeout(PATIENCE, tokio::task::spawn_blocking(move || daemon.wait().unwrap())).await;
    assert!(served.is_ok(), "{ready} requests were served, the daemon's status is {status:?}");
    assert!(kill.unwrap().success());
    ended.expect("the daemon ends").unwrap()
}

#[tokio::test]
async fn a_daemon_whose_standard_error_is_closed_or_full_goes_on() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(run(OwnedFd::from(writer).into()).await.success(), "a pipe whose reader has gone");
    let (reader, writer) = std::io::pipe().unwrap();
    assert!(run(OwnedFd::from(writer).into()).await.success(), "a pipe that nobody reads");
    drop(reader);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert!(run(full.into()).await.success(), "a disk that is full");
}
