//! Every key of the configuration in one table: its default, what is allowed, what it does.
//!
//! In: nothing. Out: [`KEYS`], which validation, `affectd config print` and the documentation share. Never reads a value.

use crate::audio::ChannelPolicy;

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A length of time, such as `30s`.
    Duration {
        /// Whether 0 is refused.
        positive: bool,
    },
    /// A whole number, both ends included.
    Integer {
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A whole number, both ends included, or `auto`.
    IntegerOrAuto {
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A number from 0 to 1.
    Share,
    /// `true` or `false`.
    Boolean,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// A path, which need not exist yet.
    Path,
    /// Text that is not empty.
    Text,
    /// `host:port` pairs, separated by commas.
    Brokers,
    /// A name that Kafka takes for a topic.
    Topic,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`
    pub name: &'static str,
    /// What is allowed.
    pub kind: Kind,
    /// The default in the form in which a file would hold it; `None` means not set.
    pub default: Option<&'static str>,
    /// One sentence for people.
    pub help: &'static str,
}

/// The keys of one model of several: each `[[model]]` has them, as `model.0.path` and so on in variables and flags.
#[rustfmt::skip]
pub const MODEL_KEYS: &[Key] = &[
    optional("path", Kind::Path, "ONNX file of the model; the built-in one where it is not set"),
    key("shadow", Kind::Boolean, "false", "sees the windows of the default model, and never answers a stream"),
    optional("topic", Kind::Topic, "where a shadow's events go; nowhere where it is not set"),
];

/// Section and key under which librdkafka's own properties stand.
pub const KAFKA_PROPERTIES: &str = "kafka.properties.";

const fn key(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
    Key { name, kind, default: Some(default), help }
}

const fn optional(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, default: None, help }
}

const POSITIVE: Kind = Kind::Duration { positive: true };
const DURATION: Kind = Kind::Duration { positive: false };
const GIBIBYTE: u64 = 1 << 30;

const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

/// Every key but those under [`KAFKA_PROPERTIES`], section by section.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    optional("model.path", Kind::Path, "ONNX file of the model; the built-in one where it is not set"),

    key("audio.idle_timeout", POSITIVE, "30s", "a stream without chunks for so long ends"),
    key("audio.max_gap", DURATION, "1s", "the longest jump of first_sample that becomes silence"),
    key("audio.channels", Kind::Choice(ChannelPolicy::NAMES), "split", "what a stream that does not say has done with its channels: each on its own, their mean, or the first alone"),
    key("audio.max_chunk_bytes", integer(1, GIBIBYTE), "1048576", "the largest chunk of raw samples"),
    key("audio.max_file_bytes", integer(1, GIBIBYTE), "67108864", "the largest file, whole or spread over chunks"),

    optional("window.hop", POSITIVE, "from one window to the next; the model's own hop where it is not set"),
    key("window.min_length", POSITIVE, "1s", "the shortest partial window that is published"),

    key("vad.mode", Kind::Choice(&["off", "gate"]), "off", "gate leaves out windows with too little speech; for models at 16 kHz"),
    key("vad.min_speech", Kind::Share, "0.1", "a window with a smaller share of speech is silent"),
    key("vad.publish_silence", Kind::Boolean, "false", "silent windows give an event of their own, \"silence\""),

    key("batch.max_size", Kind::IntegerOrAuto { min: 1, max: 65_536 }, "32", "windows that go to the model together, at most; auto tries sizes for 2 s when a model is loaded"),
    key("batch.max_delay", DURATION, "0s", "how long a batch that is not full may wait for more windows"),
    key("batch.queue_size", integer(1, 1_000_000), "256", "windows that may wait before the front end waits"),
    optional("batch.max_age", POSITIVE, "windows of gRPC streams that wait longer are dropped, never those of Kafka; none where it is not set"),

    optional("engine.library", Kind::Path, "ONNX Runtime's shared library; final where it is set"),
    key("engine.device", Kind::Choice(&["auto", "cpu", "cuda", "tensorrt"]), "auto", "where the model runs; auto takes a usable GPU, else the CPU"),
    key("engine.sessions", integer(0, 1024), "0", "models side by side; 0 means one a core, or one on a GPU"),
    key("engine.threads", integer(1, 1024), "1", "threads inside one session"),
    key("engine.spinning", Kind::Boolean, "false", "whether those threads keep their core busy between runs"),
    key("engine.cpu_arena", Kind::Boolean, "true", "keep the memory of a run on the CPU for the next one"),
    optional("engine.gpu_memory_limit_bytes", integer(1 << 20, 1 << 44), "what each session may take of a GPU's memory; all of it where it is not set"),

    key("grpc.address", Kind::Address, "127.0.0.1:50051", "where gRPC listens"),
    key("http.address", Kind::Address, "127.0.0.1:8080", "where metrics, health and the page are served"),

    optional("kafka.brokers", Kind::Brokers, "brokers to begin with; Kafka is on where it is set"),
    key("kafka.group_id", Kind::Text, "affectd", "the consumer group"),
    key("kafka.input_topic", Kind::Topic, "affectd.audio", "where audio comes from"),
    key("kafka.output_topic", Kind::Topic, "affectd.emotions", "where events go"),
    key("kafka.dead_letter_topic", Kind::Topic, "affectd.dead-letters", "where bad records go, with the reason"),
    key("kafka.progress_topic", Kind::Topic, "affectd.progress", "where the position of each open stream is kept; compacted"),
    key("kafka.value_format", Kind::Choice(&["protobuf", "json"]), "protobuf", "how events are written"),
    key("kafka.commit_interval", POSITIVE, "1s", "how often settled offsets are committed"),
    key("kafka.on_lost_progress", Kind::Choice(&["fail", "restart"]), "fail", "what to do where no progress fits the committed offset"),
    key("kafka.create_topics", Kind::Boolean, "true", "create missing topics at start"),

    key("publish.kafka_for_grpc", Kind::Boolean, "true", "with Kafka on, events of gRPC streams go to the topic too"),
    key("publish.uncertain_below", Kind::Share, "0", "a window whose best probability is lower is published as uncertain; its scores stay"),
    key("publish.smoothing", Kind::Choice(&["off", "exponential", "median"]), "off", "how emotion and confidence are smoothed over the last windows of a channel; its scores stay"),
    key("publish.smoothing_windows", integer(2, 100), "5", "the windows that smoothing looks at, the newest one included"),

    key("limits.max_streams", integer(1, 10_000_000), "10000", "streams open over gRPC at once"),
    key("limits.max_utilization_percent", integer(1, 1_000_000), "80", "the share of the models' time that open streams may take at the pace of speech; a stream beyond it is refused"),
    key("limits.shards", integer(0, 1024), "0", "threads of the front end; 0 means one a core"),
    key("limits.shard_queue", integer(1, 1_000_000), "64", "chunks that may wait for a shard"),
    key("limits.grace_period", DURATION, "25s", "how long a drain may take"),
    key("limits.scheduling", Kind::Choice(&["batch", "normal"]), "batch", "on Linux, batch lets a thread finish its turn where normal has others take its core as they wake: more windows a second"),
];

/// Properties of librdkafka that are set elsewhere or must stay as they are, and what to use instead.
pub const RESERVED_PROPERTIES: &[(&str, &str)] = &[
    ("bootstrap.servers", "nothing here: set kafka.brokers"),
    ("metadata.broker.list", "nothing here: set kafka.brokers"),
    ("group.id", "nothing here: set kafka.group_id"),
    ("enable.auto.commit", "nothing here: offsets are committed once their events are delivered"),
    ("enable.auto.offset.store", "nothing here: offsets are committed once their events are delivered"),
];

/// Whether the value of a key is masked wherever it would be shown.
pub fn is_secret(name: &str) -> bool {
    const MARKS: [&str; 6] = ["password", "secret", "token", ".pem", "jaas", "oauthbearer.config"];
    name.starts_with(KAFKA_PROPERTIES) && MARKS.iter().any(|mark| name.contains(mark))
}

/// The known key that is written most like `name`, if one is close.
pub fn nearest(name: &str) -> Option<&'static str> {
    let (score, key) = KEYS
        .iter()
        .map(|key| (strsim::normalized_damerau_levenshtein(name, key.name), key.name))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= 0.7).then_some(key)
}
