//! `affectd analyze`: the emotion timeline of recordings, computed in this process with the daemon's code.
//!
//! Input: recordings. Output: one line per window on stdout. Invariants: no network connection is opened.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prost::bytes::Bytes;

use super::channels::ChannelArgs;
use super::event_table::{EventTable, seconds, stdout_has_colour};
use super::recordings;
use super::streams::{EventFormat, first_of, print};
use crate::audio::{AudioFile, AudioFormat, Encoding};
use crate::batch;
use crate::client::ChannelRequest;
use crate::config::{Config, Engine};
use crate::model::{Model, ModelSource, Predictions, Session};
use crate::proto::EmotionEvent;
use crate::publish::EventFactory;
use crate::publish::event::WindowName;
use crate::publish::stages::Stages;
use crate::publish::stream_states::StreamStates;
use crate::stream::StreamInfo;
use crate::stream::{Chunk, Scratch, StreamFrontEnd, StreamSetup};
use crate::window::Window;

/// The length of the chunks that are passed to the front end.
const CHUNK: Duration = Duration::from_secs(1);

/// Arguments of `affectd analyze`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recordings, folders of recordings, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The format of the timeline
    #[arg(long, value_enum, default_value = "table")]
    pub format: TimelineFormat,
    /// ONNX file [default: the configured model, else the built-in one]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// The channel options.
    #[command(flatten)]
    pub channels: ChannelArgs,
}

/// The format of a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TimelineFormat {
    /// Aligned columns
    Table,
    /// proto3 JSON, one event per line
    Jsonl,
    /// One row per window, one column per label
    Csv,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let config = context.loaded.config;
    tokio::task::spawn_blocking(move || analyze(args, &config)).await.context("the analysis panicked")?
}

fn analyze(args: Args, config: &Config) -> anyhow::Result<()> {
    let mut analyzer = Analyzer::new(args.model, &args.channels.request(), config)?;
    let mut out = Timeline::new(args.format, &analyzer);
    let mut failures = Vec::new();
    for path in recordings::expand(&args.files)? {
        match recordings::open(&path) {
            Ok(file) => {
                out.begin(&path, &file)?;
                let info = analyzer.stream(&path);
                let mut states = StreamStates::default();
                let analyzed = analyzer.file(&info, &file, &mut states, &mut |_, _, event| out.event(event));
                failures.extend(of_recording(analyzed)?);
            }
            Err(error) => failures.push(error),
        }
    }
    out.finish()?;
    first_of(failures)
}

/// Returns the error of a recording, after which the others are still analysed.
///
/// # Errors
/// Where the output cannot be written.
pub(super) fn of_recording(analyzed: anyhow::Result<()>) -> anyhow::Result<Option<anyhow::Error>> {
    match analyzed {
        Err(error) if error.is::<io::Error>() => Err(error),
        analyzed => Ok(analyzed.err()),
    }
}

/// A model with its front end; it analyses recordings on one thread.
pub(super) struct Analyzer {
    model: Model,
    pub(super) setup: StreamSetup,
    scratch: Scratch,
    events: EventFactory,
    stages: Stages,
    batch_size: usize,
}

/// What happens with a window and its event.
pub(super) type Emit<'a> = &'a mut dyn FnMut(&mut StreamStates, Window, &EmotionEvent) -> anyhow::Result<()>;

impl Analyzer {
    pub(super) fn new(
        model: Option<PathBuf>,
        channels: &ChannelRequest,
        config: &Config,
    ) -> anyhow::Result<Self> {
        let source = model.map_or_else(
            || ModelSource::configured(config.default_model().path.as_deref()),
            ModelSource::File,
        );
        let engine = Engine { sessions: 1, ..config.engine.clone() };
        let model = Model::load(source, &engine)?;
        let setup = StreamSetup::new(&model.contract, &config.window, &config.audio)?;
        let mut setup = setup.gated(&model.contract, &config.vad)?;
        // The chunk limit protects the daemon from its clients; these chunks come from this process.
        setup.max_chunk_bytes = usize::MAX;
        setup.channels.policy = channels.policy.unwrap_or(setup.channels.policy);
        setup.channels.names = channels.names.clone();
        let (scratch, events) = (setup.scratch(), EventFactory::new(&model.contract, &config.publish));
        let max_windows_per_run = model.sessions.first().map_or(usize::MAX, Session::max_windows_per_run);
        Ok(Self {
            model,
            setup,
            scratch,
            events,
            stages: Stages::new(&config.publish),
            batch_size: config.batch.max_size.unwrap_or(batch::DEFAULT_SIZE).min(max_windows_per_run),
        })
    }

    /// Returns the stream of a recording.
    pub(super) fn stream(&self, path: &Path) -> Arc<StreamInfo> {
        let stream_id = recordings::name(path).into();
        let channel_names = self.setup.channels.names.clone();
        Arc::new(StreamInfo { stream_id, channel_names, ..StreamInfo::default() })
    }

    /// Analyses one recording in batches of windows, while it is decoded.
    pub(super) fn file(
        &mut self,
        info: &Arc<StreamInfo>,
        file: &AudioFile,
        states: &mut StreamStates,
        emit: Emit<'_>,
    ) -> anyhow::Result<()> {
        let format = AudioFormat::new(Encoding::PcmF32Le, file.sample_rate_hz(), file.channels() as u32)?;
        let mut chunk = Chunk { format: Some(format), ..Chunk::default() };
        let begun = StreamFrontEnd::begin(&self.setup, &chunk);
        let mut stream = begun.with_context(|| info.stream_id.to_string())?;
        let (mut windows, mut count) = (Vec::new(), 0);
        chunks(file, |audio, is_last| {
            chunk.audio = audio;
            stream.accept(&mut self.scratch, &chunk, &mut |window| windows.push(window))?;
            if is_last {
                stream.end(&mut self.scratch, &mut |window| windows.push(window));
            }
            while windows.len() >= self.batch_size || (is_last && !windows.is_empty()) {
                let rest = windows.split_off(windows.len().min(self.batch_size));
                count += windows.len();
                let batch = std::mem::replace(&mut windows, rest);
                self.batch(info, batch, states, emit)?;
            }
            Ok(())
        })?;
        if count == 0 {
            tracing::warn!("{}: shorter than the shortest window (window.min_length)", info.stream_id);
        }
        Ok(())
    }

    fn batch(
        &mut self,
        info: &Arc<StreamInfo>,
        windows: Vec<Window>,
        states: &mut StreamStates,
        emit: Emit<'_>,
    ) -> anyhow::Result<()> {
        let spoken: Vec<&Window> = windows.iter().filter(|window| !window.silent).collect();
        let features: Vec<f32> = spoken.iter().flat_map(|window| &window.features).copied().collect();
        let mut predictions = Predictions::default();
        if !spoken.is_empty() {
            let session = self.model.sessions.first_mut().context("a loaded model has a session")?;
            session.predict(&features, spoken.len(), &mut predictions)?;
        }
        let mut rows = predictions.rows(spoken.len());
        for window in windows {
            let Window { channel, index, partial, .. } = window;
            let row = if window.silent { None } else { Some(rows.next().context("a row for each window")?) };
            let prediction = row.unwrap_or_default();
            let name = WindowName { owner: &info.owner, stream_id: &info.stream_id, channel, index, partial };
            let state = states.of(info, channel);
            let labelled = (self.events.labels(), prediction.scores.as_slice());
            let staged = self.stages.run(state, window.segment, labelled);
            let scores = staged.scores(&prediction);
            let channel_name = info.channel_name(channel).to_owned();
            let scored = self.events.scored(name, window.start..window.end, scores);
            emit(states, window, &EmotionEvent { channel_name, ..scored })?;
        }
        Ok(())
    }
}

/// Decodes a file and passes it to `take` as chunks of 32-bit floats, so that no precision is lost, and whether each chunk
/// is the last one. An error of `take` ends the decoding.
fn chunks(file: &AudioFile, mut take: impl FnMut(Bytes, bool) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let step = CHUNK.as_secs() as usize * file.sample_rate_hz() as usize * file.channels() * size_of::<f32>();
    let (mut audio, mut outcome) = (Vec::with_capacity(step), Ok(()));
    let decoded = file.decode(&mut |block| {
        let frames = block.first().map_or(0, Vec::len);
        for sample in (0..frames).flat_map(|at| block.iter().map(move |channel| channel[at])) {
            audio.extend_from_slice(&sample.to_le_bytes());
        }
        if audio.len() >= step {
            outcome = take(std::mem::replace(&mut audio, Vec::with_capacity(step)).into(), false);
        }
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    decoded?;
    outcome?;
    take(audio.into(), true)
}

/// The writer of a timeline, in one of the formats.
struct Timeline {
    format: TimelineFormat,
    table: EventTable,
    /// Whether silent windows are published as events. The table shows them in any case.
    publish_silence: bool,
    labels: Vec<String>,
    csv: csv::Writer<io::Stdout>,
    csv_begun: bool,
}

impl Timeline {
    fn new(format: TimelineFormat, of: &Analyzer) -> Self {
        Self {
            format,
            table: EventTable::new(false, stdout_has_colour()),
            publish_silence: of.setup.publishes_silence(),
            labels: of.model.contract.labels.clone(),
            csv: csv::Writer::from_writer(io::stdout()),
            csv_begun: false,
        }
    }

    fn begin(&mut self, path: &Path, file: &AudioFile) -> io::Result<()> {
        self.table.begin();
        if self.format != TimelineFormat::Table {
            return Ok(());
        }
        let (rate_hz, channels) = (file.sample_rate_hz(), file.channels());
        let length = file.frames() as f64 / f64::from(rate_hz);
        let plural = if channels == 1 { "" } else { "s" };
        let name = recordings::name(path);
        writeln!(io::stdout(), "{name}: {length:.1} s, {rate_hz} Hz, {channels} channel{plural}")
    }

    fn event(&mut self, event: &EmotionEvent) -> anyhow::Result<()> {
        let unpublished = event.scores.is_empty() && !self.publish_silence;
        match self.format {
            TimelineFormat::Table => print(&mut io::stdout(), event, EventFormat::Table, &mut self.table),
            TimelineFormat::Csv | TimelineFormat::Jsonl if unpublished => Ok(()),
            TimelineFormat::Csv => self.row(event),
            TimelineFormat::Jsonl => print(&mut io::stdout(), event, EventFormat::Jsonl, &mut self.table),
        }
    }

    fn row(&mut self, event: &EmotionEvent) -> anyhow::Result<()> {
        if !self.csv_begun {
            let columns = [
                "stream_id",
                "channel",
                "channel_name",
                "window_index",
                "start_seconds",
                "end_seconds",
                "partial",
            ];
            let labels = self.labels.iter().map(String::as_str);
            self.csv.write_record(columns.into_iter().chain(["emotion", "confidence"]).chain(labels))?;
            self.csv_begun = true;
        }
        let fixed = [
            event.stream_id.clone(),
            event.channel.to_string(),
            event.channel_name.clone(),
            event.window_index.to_string(),
            seconds(event.start).to_string(),
            seconds(event.end).to_string(),
            event.partial.to_string(),
            event.emotion.clone(),
            event.confidence.to_string(),
        ];
        // A silent window has no scores.
        let score = |at: usize| event.scores.get(at).map_or_else(String::new, |s| s.probability.to_string());
        let scores = (0..self.labels.len()).map(score);
        Ok(self.csv.write_record(fixed.into_iter().chain(scores))?)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.csv.flush()
    }
}
