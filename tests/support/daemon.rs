//! The daemon as a separate process: the real binary on free ports.
//!
//! Input: settings and environment. Output: its addresses and its log. The process is killed when the handle is dropped; its log is
//! shown when the test fails. Reads the state of the daemon only through its ports and its log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::PATIENCE;

/// The options of a daemon.
#[derive(Debug, Clone, Default)]
pub struct Options {
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    config: Option<PathBuf>,
    descriptors: Option<usize>,
}

/// A running daemon.
pub struct Daemon {
    /// The gRPC address.
    pub grpc: SocketAddr,
    /// The HTTP address.
    pub http: SocketAddr,
    /// The address of AudioSocket, where it is on.
    pub audiosocket: Option<SocketAddr>,
    process: Child,
    log: Arc<Mutex<String>>,
    /// Copies the log, and ends behind its last line.
    follower: JoinHandle<()>,
}

impl Options {
    /// Free ports and no other settings.
    pub fn new() -> Options {
        Options::default().set("grpc.address", "127.0.0.1:0").set("http.address", "127.0.0.1:0")
    }

    /// Sets one key of the configuration.
    pub fn set(mut self, key: &str, value: &str) -> Options {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Options {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the configuration file.
    pub fn config(mut self, file: impl Into<PathBuf>) -> Options {
        self.config = Some(file.into());
        self
    }

    /// Limits the open descriptors of the process.
    pub fn descriptors(mut self, most: usize) -> Options {
        self.descriptors = Some(most);
        self
    }

    /// The command `affectd serve` with these options, isolated from the surrounding configuration.
    pub fn command(&self) -> Command {
        let mut command = match self.descriptors {
            None => affectd(),
            Some(most) => isolated("sh", &["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\""), BINARY]),
        };
        command.arg("serve").envs(self.environment.iter().cloned());
        if let Some(file) = &self.config {
            command.arg("--config").arg(file);
        }
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command
    }

    /// Starts it and waits until `/readyz` returns 200; panics with its log on failure.
    pub async fn start(&self) -> Daemon {
        let daemon = self.start_unready().await;
        daemon.wait_ready().await;
        daemon
    }

    /// Starts it and waits until it listens, not until it is ready.
    pub async fn start_unready(&self) -> Daemon {
        let mut process = self.command().stderr(Stdio::piped()).spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (found, addresses) = oneshot::channel();
        let stderr = process.stderr.take().expect("it is piped");
        let follower = tokio::spawn(follow(stderr, Arc::clone(&log), found));
        match timeout(PATIENCE, addresses).await {
            Ok(Ok(Addresses { grpc, http, audiosocket })) => {
                Daemon { grpc, http, audiosocket, process, log, follower }
            }
            Ok(Err(_)) => panic!("the daemon ended before it listened:\n{}", text(&log)),
            Err(_) => panic!("the daemon does not listen after {PATIENCE:?}:\n{}", text(&log)),
        }
    }
}

/// The binary under test, free of `AFFECTD*` variables, killed with its handle.
pub fn affectd() -> Command {
    isolated(BINARY, &[])
}

const BINARY: &str = env!("CARGO_BIN_EXE_affectd");

/// A program free of `AFFECTD*` variables, killed with its handle.
fn isolated(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AFFECTD")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Daemon {
    /// The gRPC address as a URL.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("it has not ended")
    }

    /// The most memory that it has used, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    /// Sends GET over HTTP; returns the status and the body.
    pub async fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = tokio::net::TcpStream::connect(self.http).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok((status, body.to_owned()))
    }

    /// Waits until `/readyz` returns 200.
    pub async fn wait_ready(&self) {
        let ready = async {
            let mut pause = Duration::from_millis(10);
            while !matches!(self.get("/readyz").await, Ok((200, _))) {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(250));
            }
        };
        assert!(timeout(PATIENCE, ready).await.is_ok(), "not ready after {PATIENCE:?}:\n{}", self.log());
    }

    /// Waits until `/readyz` returns `code` and a text that contains `part`.
    pub async fn wait_readyz(&self, code: u16, part: &str) {
        let answered = async {
            while !self.get("/readyz").await.is_ok_and(|(found, text)| found == code && text.contains(part)) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let answered = timeout(PATIENCE, answered).await;
        assert!(answered.is_ok(), "/readyz should be {code} with {part:?}:\n{}", self.log());
    }

    /// Sends SIGTERM, which starts the drain.
    pub fn terminate(&self) {
        let kill = std::process::Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        assert!(kill.expect("kill is there").success(), "SIGTERM reaches the daemon");
    }

    /// Sends SIGKILL and waits for the end of the process.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("SIGKILL reaches the daemon");
    }

    /// Its exit status, if it has ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("the daemon's status")
    }

    /// Waits for the end of the process, whose log is complete then.
    pub async fn ended(&mut self) -> ExitStatus {
        let Ok(status) = timeout(PATIENCE, self.process.wait()).await else {
            panic!("the daemon runs on after {PATIENCE:?}:\n{}", self.log());
        };
        if !self.follower.is_finished() {
            // Where it does not end, the log is what there is of it.
            _ = timeout(PATIENCE, &mut self.follower).await;
        }
        status.expect("the daemon's status")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}--- end of the log ---", self.log());
        }
    }
}

/// Copies the log until the daemon ends, and sends the addresses of its line `listening grpc=… http=…`.
async fn follow(stderr: ChildStderr, log: Arc<Mutex<String>>, found: oneshot::Sender<Addresses>) {
    let (mut lines, mut found) = (BufReader::new(stderr).lines(), Some(found));
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(addresses) = addresses(&line)
            && let Some(found) = found.take()
        {
            _ = found.send(addresses);
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line);
        log.push('\n');
    }
}

/// The addresses that a daemon listens on.
struct Addresses {
    grpc: SocketAddr,
    http: SocketAddr,
    audiosocket: Option<SocketAddr>,
}

fn addresses(line: &str) -> Option<Addresses> {
    let value = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok());
    line.contains("listening").then_some(())?;
    Some(Addresses { grpc: value("grpc=")?, http: value("http=")?, audiosocket: value("audiosocket=") })
}

fn text(log: &Mutex<String>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
