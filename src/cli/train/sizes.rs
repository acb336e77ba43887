//! The size flags of `affectd train`.
//!
//! Input: arguments. Output: [`Sizes`].

use crate::cli::UsageError;
use crate::train::architecture::{NetworkKind, Sizes};

/// The default number of hidden units of the head on an encoder.
const HEAD_UNITS: usize = 256;

/// The sizes of the network.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Size")]
pub(super) struct SizeArgs {
    /// dense and encoder: number of hidden units; 0 for no hidden layer of an encoder's head
    /// [default: 320 for dense, 256 for encoder]
    #[arg(long, value_name = "UNITS", value_parser = units)]
    hidden: Option<usize>,
    /// cnn: number of channels of each 2-D convolution [default: 16,32,48,64]
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = size)]
    channels: Option<Vec<usize>>,
    /// cnn: number of channels in the residual blocks [default: 128]
    #[arg(long, value_name = "CHANNELS", value_parser = size)]
    width: Option<usize>,
    /// cnn: number of residual blocks [default: 2]
    #[arg(long, value_name = "BLOCKS")]
    residuals: Option<u8>,
}

impl SizeArgs {
    /// Returns the sizes for an architecture.
    ///
    /// # Errors
    /// Returns a usage error for a dense net without hidden units.
    pub(super) fn sizes(&self, kind: NetworkKind) -> anyhow::Result<Sizes> {
        let base = Sizes::default();
        let hidden = if kind == NetworkKind::Encoder { HEAD_UNITS } else { base.hidden };
        if self.hidden == Some(0) && kind != NetworkKind::Encoder {
            return Err(UsageError("--hidden 0: must be 1 to 4096 without --encoder".to_owned()).into());
        }
        Ok(Sizes {
            hidden: self.hidden.unwrap_or(hidden),
            channels: self.channels.clone().unwrap_or(base.channels),
            width: self.width.unwrap_or(base.width),
            residuals: self.residuals.map_or(base.residuals, usize::from),
        })
    }

    /// Returns the first given flag that applies to the CNN only.
    pub(super) fn flag_of_cnn(&self) -> Option<&'static str> {
        let flags = [
            ("--channels", self.channels.is_some()),
            ("--width", self.width.is_some()),
            ("--residuals", self.residuals.is_some()),
        ];
        flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }
}

fn units(text: &str) -> Result<usize, String> {
    let units = text.parse().ok().filter(|it| (0..=4096).contains(it));
    units.ok_or_else(|| "expected a whole number from 0 to 4096".to_owned())
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|it| (1..=4096).contains(it));
    size.ok_or_else(|| "expected a whole number from 1 to 4096".to_owned())
}
