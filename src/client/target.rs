//! The target URL of a client: `grpc://host:port` or `kafka://host:port[,host:port][/topic]`.

use std::fmt;
use std::str::FromStr;

/// The target of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A daemon's gRPC port.
    Grpc {
        /// `host:port`
        authority: String,
    },
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
        let (scheme, rest) =
            text.split_once("://").ok_or("expected grpc://host:port or kafka://host:port/topic")?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(wrong) = hosts.split(',').find(|host| !is_host_and_port(host)) {
            return Err(format!("{wrong:?} is not host:port"));
        }
        match (scheme, path) {
            ("grpc", "") if !hosts.contains(',') => Ok(Self::Grpc { authority: hosts.to_owned() }),
            ("grpc", _) => Err("expected grpc://host:port and nothing after it".to_owned()),
            ("kafka", "") => Ok(Self::Kafka { brokers: hosts.to_owned(), topic: None }),
            ("kafka", topic) => Ok(Self::Kafka { brokers: hosts.to_owned(), topic: Some(topic.to_owned()) }),
            (other, _) => Err(format!("{other}:// is neither grpc:// nor kafka://")),
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grpc { authority } => write!(out, "grpc://{authority}"),
            Self::Kafka { brokers, topic: None } => write!(out, "kafka://{brokers}"),
            Self::Kafka { brokers, topic: Some(topic) } => write!(out, "kafka://{brokers}/{topic}"),
        }
    }
}
