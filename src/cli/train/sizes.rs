//! The size flags of `affectd train`.
//!
//! Input: arguments. Output: [`Sizes`].

use crate::train::architecture::Sizes;

/// The sizes of the network.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Size")]
pub(super) struct SizeArgs {
    /// dense: number of hidden units [default: 320]
    #[arg(long, value_name = "UNITS", value_parser = size)]
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
    pub(super) fn sizes(&self) -> Sizes {
        let base = Sizes::default();
        Sizes {
            hidden: self.hidden.unwrap_or(base.hidden),
            channels: self.channels.clone().unwrap_or(base.channels),
            width: self.width.unwrap_or(base.width),
            residuals: self.residuals.map_or(base.residuals, usize::from),
        }
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|it| (1..=4096).contains(it));
    size.ok_or_else(|| "expected a whole number from 1 to 4096".to_owned())
}
