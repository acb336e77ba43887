//! Errors of the daemon: a stage that failed, or a start that did not complete.

use std::time::Duration;

use crate::kafka::KafkaFault;
use crate::kafka::event_sink::EventSinkFault;
use crate::security::SecurityError;
use crate::serving::ReloadError;

/// Why the daemon stopped without a request to stop, or why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A model cannot be used.
    #[error(transparent)]
    Model(#[from] ReloadError),
    /// A file of `[tls]` or `[auth]` cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// Kafka cannot be used.
    #[error(transparent)]
    Kafka(#[from] KafkaFault),
    /// Events cannot be written to Kafka.
    #[error(transparent)]
    EventSink(#[from] EventSinkFault),
    /// A server failed.
    #[error("serve gRPC: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// The operating system refused a thread or a socket.
    #[error("start the daemon: {0}")]
    System(#[from] std::io::Error),
    /// A stage panicked.
    #[error("keep the {0} running: it stopped by itself")]
    Stage(&'static str),
    /// The drain ran out of time.
    #[error("drain within {grace:?} (limits.grace_period): left behind {left}")]
    OutOfTime {
        /// The grace period.
        grace: Duration,
        /// The work that was not complete.
        left: String,
    },
}
