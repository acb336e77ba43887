//! The encoder flags of `affectd train`.
//!
//! Input: arguments. Output: [`EncoderOptions`], or an error for a flag that does not apply to an encoder.

use std::path::PathBuf;

use super::Args;
use crate::cli::{UsageError, one_line};
use crate::config::Engine;
use crate::model::Input;
use crate::train::encoder::{Encoder, EncoderOptions, Pooling};

/// The number of hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// A frozen encoder in place of an architecture.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Encoder")]
pub(super) struct EncoderArgs {
    /// Train a head on the frames of this frozen ONNX encoder, whose front end is in its metadata or its sidecar
    #[arg(long, value_name = "FILE")]
    pub(super) encoder: Option<PathBuf>,
    /// The tensor or node that holds the frames [default: the first output with the shape batch, frames, width]
    #[arg(long, value_name = "NAME", requires = "encoder")]
    layer: Option<String>,
    /// The pooling of the frames of a window [default: mean-deviation]
    #[arg(long, value_enum, requires = "encoder")]
    pooling: Option<Pooling>,
    /// Number of augmented copies of each training clip, 0 to 100 [default: 1]
    #[arg(long, value_name = "NUMBER", requires = "encoder", value_parser = clap::value_parser!(u8).range(0..=100))]
    copies: Option<u8>,
    /// The SHA-256 that the encoder's file must have
    #[arg(long, value_name = "DIGITS", requires = "encoder", value_parser = sha256)]
    encoder_sha256: Option<String>,
}

impl Args {
    /// Opens the encoder, if one is given.
    ///
    /// # Errors
    /// Returns a usage error where the file does not fit, and where a flag does not apply to an encoder.
    pub(super) fn open_encoder(&self, engine: &Engine) -> anyhow::Result<Option<Encoder>> {
        let EncoderArgs { encoder, layer, pooling, copies, encoder_sha256 } = &self.encoder;
        let Some(path) = encoder else { return Ok(None) };
        if let Some(flag) = self.flag_of_networks() {
            let text =
                format!("{flag}: does not apply to --encoder, whose front end and layers are in its file");
            return Err(UsageError(text).into());
        }
        let options = EncoderOptions {
            path: path.clone(),
            layer: layer.clone(),
            sha256: encoder_sha256.clone(),
            pooling: pooling.unwrap_or(Pooling::MeanDeviation),
            copies: copies.map_or(1, usize::from),
        };
        let refused = |error| UsageError(format!("--encoder {}: {}", path.display(), one_line(&error)));
        let encoder = Encoder::open(options, engine).map_err(refused)?;
        if encoder.contract.input == Input::Waveform && self.augmentation.shifts_pitch() {
            let text =
                "--pitch: does not apply to an encoder of samples: the tempo would change too; use --speed";
            return Err(UsageError(text.to_owned()).into());
        }
        Ok(Some(encoder))
    }

    /// Returns the first given flag that applies to networks on features only.
    fn flag_of_networks(&self) -> Option<&'static str> {
        let flags = [
            ("--architecture", self.architecture.is_some()),
            ("--join", !self.join.is_empty()),
            ("--trained", self.trained.is_some()),
            ("--quantize", self.quantize.is_some()),
            ("--input", self.input.is_some()),
            ("--deltas", self.deltas.is_some()),
            ("--options", self.options.is_some()),
        ];
        let own = flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
        own.or_else(|| self.sizes.flag_of_cnn()).or_else(|| self.augmentation.flag_of_features())
    }
}

/// Parses a SHA-256 in hexadecimal digits.
fn sha256(text: &str) -> Result<String, String> {
    let fits = text.len() == SHA256_DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if fits { Ok(text.to_ascii_lowercase()) } else { Err("expected 64 hexadecimal digits".to_owned()) }
}
