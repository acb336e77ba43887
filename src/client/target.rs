//! The target URL of a client: `grpc://host:port`, `grpcs://host:port` (TLS) or `kafka://host:port[,host:port][/topic]`.

use std::fmt;
use std::str::FromStr;

use super::GrpcServer;

/// The target of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A daemon's gRPC port.
    Grpc(GrpcServer),
    /// A Kafka cluster.
    Kafka {
        /// `host:port` pairs, separated by commas.
        brokers: String,
        /// The topic; `None` uses the configured topic.
        topic: Option<String>,
    },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("expected grpc://host:port, grpcs://host:port or kafka://host:port/topic")?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(wrong) = hosts.split(',').find(|host| !is_host_and_port(host)) {
            return Err(format!("{wrong:?} is not host:port"));
        }
        match (scheme, path) {
            ("grpc" | "grpcs", "") if !hosts.contains(',') => {
                Ok(Self::Grpc(GrpcServer { authority: hosts.to_owned(), tls: scheme == "grpcs" }))
            }
            ("grpc" | "grpcs", _) => Err(format!("expected {scheme}://host:port and nothing after it")),
            ("kafka", "") => Ok(Self::Kafka { brokers: hosts.to_owned(), topic: None }),
            ("kafka", topic) => Ok(Self::Kafka { brokers: hosts.to_owned(), topic: Some(topic.to_owned()) }),
            (other, _) => Err(format!("{other}:// is none of grpc://, grpcs:// and kafka://")),
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc(server) => server.fmt(out),
            Self::Kafka { brokers, topic: None } => write!(out, "kafka://{brokers}"),
            Self::Kafka { brokers, topic: Some(topic) } => write!(out, "kafka://{brokers}/{topic}"),
        }
    }
}
