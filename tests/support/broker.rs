//! A Kafka broker that runs as long as its handle.
//!
//! Input: `AFFECTD_TEST_KAFKA`. Output: an address and created topics. A broker does not outlive the test process: the real one ends
//! when the pipe to it closes, and the mock runs in the process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};

use rdkafka::mocking::MockCluster;
use tempfile::TempDir;

/// Exit code of `tests/kafka-broker` if no broker is possible on this machine.
const UNAVAILABLE: i32 = 3;

/// Brokers that run at once at most: each is a JVM of several hundred megabytes, and a large machine runs many tests at once.
const BROKERS_AT_ONCE: usize = 3;

/// Which of the slots a running broker holds, and the signal that one of them has ended.
static RUNNING: (Mutex<[bool; BROKERS_AT_ONCE]>, Condvar) =
    (Mutex::new([false; BROKERS_AT_ONCE]), Condvar::new());

/// The permit to run one broker; dropping it returns it. A test must not wait for a second one while it holds one.
struct Permit {
    slot: usize,
}

impl Permit {
    /// Waits until fewer than [`BROKERS_AT_ONCE`] brokers run.
    fn acquire() -> Permit {
        let (running, ended) = &RUNNING;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(slot) = running.iter().position(|taken| !taken) {
                running[slot] = true;
                return Permit { slot };
            }
            running = ended.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The first of the 4,000 ports that only the broker of this permit uses: a stopped broker finds its port free again.
    fn first_port(&self) -> usize {
        20_000 + 4_000 * self.slot
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (running, ended) = &RUNNING;
        running.lock().unwrap_or_else(PoisonError::into_inner)[self.slot] = false;
        ended.notify_one();
    }
}

/// An Apache Kafka broker in a JVM.
pub struct Real {
    pub address: String,
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    _folder: TempDir,
    _permit: Permit,
}

impl Real {
    /// Starts one, as soon as few enough run. `None` without Java 17, Maven or access to the jars.
    pub fn start() -> Option<Real> {
        let permit = Permit::acquire();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka-broker"))
            .arg("run")
            .arg(folder.path().join("broker"))
            .env("KAFKA_FIRST_PORT", permit.first_port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tests/kafka-broker can be run");
        let stdin = process.stdin.take();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        stdout.read_line(&mut line).expect("a line of text");
        if let Some(address) = line.trim().strip_prefix("ready ") {
            return Some(Real {
                address: address.to_owned(),
                process,
                stdin,
                stdout,
                _folder: folder,
                _permit: permit,
            });
        }
        let mut reason = String::new();
        process.stderr.take().expect("it is piped").read_to_string(&mut reason).expect("text");
        let status = process.wait().expect("the script ends");
        assert_eq!(status.code(), Some(UNAVAILABLE), "no broker: {reason}");
        eprintln!("{}", reason.trim());
        None
    }
}

impl Real {
    /// Lets the script carry out `pause`, `resume`, `stop`, `kill` or `start`, and waits until it has.
    pub fn control(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("it is open until the drop");
        writeln!(stdin, "{command}").expect("the script reads commands");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line of text");
        if line.trim() != format!("done {command}") {
            let mut reason = String::new();
            let stderr = self.process.stderr.take();
            stderr.map(|mut stderr| stderr.read_to_string(&mut reason).expect("text"));
            panic!("the broker does not {command}: {line}{reason}");
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.process.wait().expect("the script ends with its input");
    }
}

/// The mock cluster of librdkafka. It is not thread-safe, so one thread owns it.
pub struct Mock {
    pub address: String,
    topics: mpsc::SyncSender<NewTopic>,
}

struct NewTopic {
    name: String,
    partitions: i32,
    done: mpsc::SyncSender<()>,
}

impl Mock {
    /// Starts one with a single broker.
    pub fn start() -> Mock {
        let (started, address) = mpsc::sync_channel(1);
        let (topics, wanted) = mpsc::sync_channel::<NewTopic>(1);
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).expect("a mock cluster");
            started.send(cluster.bootstrap_servers()).expect("the test waits");
            for topic in wanted {
                cluster.create_topic(&topic.name, topic.partitions, 1).expect("a new topic");
                topic.done.send(()).expect("the test waits");
            }
        });
        Mock { address: address.recv().expect("the mock cluster starts"), topics }
    }

    /// Creates a topic; the mock has no topic settings.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let (done, created) = mpsc::sync_channel(1);
        let topic = NewTopic { name: name.to_owned(), partitions, done };
        self.topics.send(topic).expect("the mock cluster runs");
        created.recv().expect("the topic is created");
    }
}
