//! `affectd features`: the feature matrix of an audio file, as a model receives it.
//!
//! Input: an audio file, and the front end of a model or options from a file. Output: one row per frame on stdout, as CSV
//! or NumPy. Invariants: the matrix covers the whole file; it is not cut into windows, padded or normalised.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use npyz::WriterBuilder;
use serde_json::Value;

use super::UsageError;
use crate::audio::{Recording, ResamplerPlan, decode_file, resample};
use crate::features::{FrameKind, FrontEnd, MfccOptions, features_with_deltas};
use crate::model::{Input, ModelSource};

/// Arguments of `affectd features`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An audio file, such as WAV, FLAC, MP3, Ogg or MP4
    pub file: PathBuf,
    /// csv: one row per frame, no header; npy: float32 [frames, coefficients]
    #[arg(long, value_enum, default_value = "csv")]
    pub format: MatrixFormat,
    /// JSON with "sample_rate_hz" and "mfcc" as in a model's contract; "input": "log_mel" omits the DCT
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub options: Option<PathBuf>,
    /// ONNX file whose front end is used [default: the configured model, else the built-in one]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Channel of the file, from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub channel: usize,
}

/// The format of a feature matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MatrixFormat {
    /// Comma-separated values, one row per frame.
    Csv,
    /// NumPy's format.
    Npy,
}

/// Runs the command.
pub async fn run(args: Args, context: super::Context) -> anyhow::Result<()> {
    let options = match &args.options {
        Some(path) => FeatureOptions::from_file(path)?,
        None => FeatureOptions::from_model(&args.model.map_or_else(
            || ModelSource::configured(context.loaded.config.default_model().path.as_deref()),
            ModelSource::File,
        ))?,
    };
    let front_end = FrontEnd::new(&options.mfcc, options.sample_rate_hz, options.kind)?;
    let samples = channel_at(decode_file(&args.file)?, args.channel, options.sample_rate_hz)?;
    let frames = front_end.frames(samples.len());
    let (file, n_fft) = (args.file.display(), front_end.n_fft());
    anyhow::ensure!(frames > 0, "{file}: {} samples are shorter than one frame ({n_fft})", samples.len());
    let matrix = features_with_deltas(&front_end, &samples);
    let mut out = BufWriter::new(io::stdout().lock());
    match args.format {
        MatrixFormat::Csv => write_csv(&mut out, &matrix, front_end.coefficients())?,
        MatrixFormat::Npy => write_npy(&mut out, &matrix, front_end.coefficients())?,
    }
    Ok(out.flush()?)
}

/// The options of the feature computation.
struct FeatureOptions {
    sample_rate_hz: u32,
    kind: FrameKind,
    mfcc: MfccOptions,
}

impl FeatureOptions {
    fn from_model(model: &ModelSource) -> anyhow::Result<Self> {
        let contract = model.contract()?;
        let kind = kind_of(contract.input)?;
        let mfcc = contract.mfcc.with_context(|| format!("{model}: its contract has no mfcc entry"))?;
        Ok(Self { sample_rate_hz: contract.sample_rate_hz, kind, mfcc })
    }

    fn from_file(path: &Path) -> anyhow::Result<Self> {
        let read = || -> anyhow::Result<Self> {
            let text = std::fs::read_to_string(path)?;
            Self::from_json(serde_json::from_str(&text)?)
        };
        read().with_context(|| path.display().to_string())
    }

    /// Accepts a whole contract, and also the entries of its `mfcc` object on the same level as `sample_rate_hz`.
    fn from_json(mut entries: serde_json::Map<String, Value>) -> anyhow::Result<Self> {
        let sample_rate_hz = entries.remove("sample_rate_hz").context("sample_rate_hz is missing")?;
        let sample_rate_hz = serde_json::from_value(sample_rate_hz).context("sample_rate_hz")?;
        let kind = match entries.remove("input") {
            Some(input) => kind_of(serde_json::from_value(input).context("input")?)?,
            None => FrameKind::Mfcc,
        };
        let mfcc = entries.remove("mfcc").unwrap_or(Value::Object(entries));
        Ok(Self { sample_rate_hz, kind, mfcc: serde_json::from_value(mfcc)? })
    }
}

fn kind_of(input: Input) -> anyhow::Result<FrameKind> {
    match input {
        Input::Mfcc => Ok(FrameKind::Mfcc),
        Input::LogMel => Ok(FrameKind::LogMel),
        Input::Waveform => anyhow::bail!("the model's input is a waveform: it has no features"),
    }
}

/// Returns one channel of a recording, resampled to `rate_hz`.
fn channel_at(mut recording: Recording, channel: usize, rate_hz: u32) -> anyhow::Result<Vec<f32>> {
    let last = recording.channels.len() - 1;
    if channel > last {
        return Err(UsageError(format!("--channel {channel}: the file's channels are 0 to {last}")).into());
    }
    let samples = recording.channels.swap_remove(channel);
    Ok(resample(&Arc::new(ResamplerPlan::new(recording.sample_rate_hz, rate_hz)), &samples))
}

fn write_csv(out: &mut impl Write, matrix: &[f32], coefficients: usize) -> anyhow::Result<()> {
    let mut rows = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    for row in matrix.chunks_exact(coefficients) {
        rows.serialize(row)?;
    }
    Ok(rows.flush()?)
}

fn write_npy(out: &mut impl Write, matrix: &[f32], coefficients: usize) -> io::Result<()> {
    let shape = [(matrix.len() / coefficients) as u64, coefficients as u64];
    let mut array = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out).begin_nd()?;
    array.extend(matrix.iter().copied())?;
    array.finish()
}
