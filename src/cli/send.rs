//! `affectd send`: streams recordings to a daemon or to Kafka, one stream per file, concurrently.
//!
//! Input: recordings. Output: over gRPC the events as they arrive, over Kafka the acknowledged records. Invariants: the
//! failure of one stream does not end the others.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::UsageError;
use super::channels::ChannelArgs;
use super::connection::ConnectionArgs;
use super::recordings;
use super::streams::{EventFormat, NamedScript, first_of, recognize_all, script};
use crate::client::{
    self, Acknowledged, ChunkOptions, GrpcServer, Pace, RecordFormat, RecordProducer, Target,
};
use crate::proto::Encoding;

/// Arguments of `affectd send`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings, folders of recordings, or - for standard input, which is read to its end before it is sent
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// grpc://host:port, grpcs://host:port, or kafka://host:port/topic with brokers separated by commas; without a topic it is
    /// kafka.input_topic
    #[arg(long, value_name = "URL")]
    pub to: Target,
    /// TLS and authentication.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// real-time, max, or how many times as fast
    #[arg(long, value_name = "SPEED", default_value = "real-time")]
    pub speed: Pace,
    /// Length of one chunk, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub chunk_ms: u64,
    /// The output format
    #[arg(long, value_enum, default_value = "table")]
    pub format: EventFormat,
    /// Id of the stream; with several files, ID-1, ID-2 and so on [default: the file's name and a random part]
    #[arg(long, value_name = "ID")]
    pub stream_id: Option<String>,
    /// Encoding of the samples; file sends the bytes of the file
    #[arg(long, value_enum, default_value = "pcm_s16le")]
    pub encoding: EncodingName,
    /// Kafka: send only the audio as the record's value, described by headers
    #[arg(long)]
    pub raw: bool,
    /// The channel options.
    #[command(flatten)]
    pub channels: ChannelArgs,
    /// Name of the model that analyses the streams [default: the daemon's first model]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub model: String,
    /// Print no events, only the summary
    #[arg(long)]
    pub quiet: bool,
    /// Omit the index of each chunk's first sample, as most clients do
    #[arg(long)]
    pub no_first_sample: bool,
}

/// Encodings, by their names in ffmpeg and in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the protocol documents them")]
pub enum EncodingName {
    PcmS16le,
    PcmS24le,
    PcmS32le,
    PcmF32le,
    Mulaw,
    Alaw,
    File,
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::PcmS16le => Self::PcmS16le,
            EncodingName::PcmS24le => Self::PcmS24le,
            EncodingName::PcmS32le => Self::PcmS32le,
            EncodingName::PcmF32le => Self::PcmF32le,
            EncodingName::Mulaw => Self::Mulaw,
            EncodingName::Alaw => Self::Alaw,
            EncodingName::File => Self::File,
        }
    }
}

/// Runs the command. Cancelling it cancels the streams.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let files = recordings::expand(&args.files)?;
    check_raw(&args, &files)?;
    let scripts = scripts(&args, &files)?;
    match &args.to {
        Target::Grpc(server) => to_grpc(server, scripts, &args).await,
        Target::Kafka { brokers, topic } => {
            let mut kafka = context.loaded.kafka_at(brokers);
            args.connection.apply_to(&mut kafka)?;
            let topic = topic.clone().unwrap_or_else(|| kafka.input_topic.clone());
            let producer = RecordProducer::connect(brokers, &kafka.properties)?;
            to_kafka(&producer, &topic, scripts, &args).await
        }
    }
}

fn check_raw(args: &Args, files: &[PathBuf]) -> Result<(), UsageError> {
    let named = [EncodingName::PcmS16le, EncodingName::Mulaw, EncodingName::Alaw, EncodingName::File];
    let is_wav =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"));
    match args {
        Args { raw: false, .. } => Ok(()),
        Args { to: Target::Grpc(_), .. } => Err(UsageError("--raw is only allowed with kafka://".to_owned())),
        _ if !named.contains(&args.encoding) => {
            Err(UsageError("--raw: expected --encoding pcm_s16le, mulaw, alaw or file".to_owned()))
        }
        _ if args.encoding == EncodingName::File && !files.iter().all(is_wav) => {
            Err(UsageError("--raw --encoding file: expected .wav files".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Reads and cuts every file before anything is sent, so that an invalid file ends the command immediately.
fn scripts(args: &Args, files: &[PathBuf]) -> anyhow::Result<Vec<NamedScript>> {
    let named = |(index, path): (usize, &PathBuf)| {
        let stream_id = match &args.stream_id {
            Some(id) if files.len() == 1 => id.clone(),
            Some(id) => format!("{id}-{}", index + 1),
            None => format!("{}-{}", recordings::stem(path), &uuid::Uuid::new_v4().simple().to_string()[..8]),
        };
        let options = ChunkOptions {
            stream_id: stream_id.clone(),
            chunk: Duration::from_millis(args.chunk_ms),
            encoding: args.encoding.into(),
            first_sample: !args.no_first_sample,
            channels: args.channels.request(),
            model: args.model.clone(),
        };
        Ok(NamedScript { stream_id, script: script(path, &options)? })
    };
    files.iter().enumerate().map(named).collect()
}

async fn to_grpc(server: &GrpcServer, streams: Vec<NamedScript>, args: &Args) -> anyhow::Result<()> {
    let channel = client::connect(server, &args.connection.credentials(server)?).await?;
    let printed = (!args.quiet).then_some(args.format);
    let outcome = recognize_all(&channel, streams, args.speed, printed).await?;
    if args.format == EventFormat::Table && outcome.is_success() {
        writeln!(io::stdout(), "{}", outcome.summary())?;
    }
    first_of(outcome.failures)
}

async fn to_kafka(
    producer: &RecordProducer,
    topic: &str,
    streams: Vec<NamedScript>,
    args: &Args,
) -> anyhow::Result<()> {
    let record = if args.raw { RecordFormat::Raw } else { RecordFormat::Protobuf };
    let mut running: FuturesUnordered<_> = streams
        .into_iter()
        .map(async |NamedScript { stream_id, script }| {
            let audio = script.audio();
            let result = client::send_to_kafka(producer, topic, script, args.speed, record).await;
            (stream_id, audio, result)
        })
        .collect();
    let mut failures = Vec::new();
    while let Some((stream_id, audio, result)) = running.next().await {
        match result {
            Ok(acknowledged) => print_acknowledged(&stream_id, audio, acknowledged, args.format)?,
            Err(error) => failures.push(anyhow::Error::from(error).context(format!("stream {stream_id}"))),
        }
    }
    first_of(failures)
}

fn print_acknowledged(
    stream_id: &str,
    audio: Duration,
    acknowledged: Acknowledged,
    format: EventFormat,
) -> anyhow::Result<()> {
    let Acknowledged { chunks, bytes, partition, last_offset } = acknowledged;
    let seconds = audio.as_secs_f64();
    let line = match format {
        EventFormat::Table => format!(
            "{stream_id}: {chunks} chunks acknowledged, {seconds:.1} s of audio, {bytes} bytes, \
             partition {partition} up to offset {last_offset}"
        ),
        EventFormat::Jsonl => serde_json::json!({
            "streamId": stream_id, "chunks": chunks, "audioSeconds": seconds, "bytes": bytes,
            "partition": partition, "lastOffset": last_offset,
        })
        .to_string(),
    };
    Ok(writeln!(io::stdout(), "{line}")?)
}
