//! The decoder of AAC, which symphonia has for AAC-LC of one and two channels.
//!
//! Input: the configuration of a track (AudioSpecificConfig, ISO/IEC 14496-3, section 1.6.2.1).
//! Output: a decoder, or the name of what it does not read.
//! Invariants: what the decoder refuses is named with its object type and number of channels.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;

use super::super::FileProblem;
use super::packets::{Packets, discrete};
use super::unsupported;

/// Creates the decoder of a track in a container of the given name.
///
/// # Errors
/// [`FileProblem::UnsupportedFormat`].
pub(super) fn decoder(
    rate_hz: u32,
    channels: usize,
    config: &[u8],
    container: &str,
) -> Result<Packets, FileProblem> {
    let mut parameters = AudioCodecParameters::new();
    parameters.for_codec(CODEC_ID_AAC).with_sample_rate(rate_hz).with_channels(discrete(channels));
    if !config.is_empty() {
        parameters.with_extra_data(config.into());
    }
    Packets::with_parameters(&parameters).map_err(|problem| match problem {
        FileProblem::Malformed { reason } => {
            unsupported(format!("{} in {container} ({reason})", name(config).unwrap_or("AAC".to_owned())))
        }
        other => other,
    })
}

/// Returns the name of the codec in a configuration; `None` where it is too short.
fn name(config: &[u8]) -> Option<String> {
    let bits = config.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = 8 * config.len().min(8);
    let mut read = |count: usize| {
        left = left.checked_sub(count)?;
        Some(bits >> left & ((1 << count) - 1))
    };
    let mut object = read(5)?;
    if object == 31 {
        object = 32 + read(6)?;
    }
    if read(4)? == 15 {
        read(24)?;
    }
    let codec = match object {
        1 => "AAC Main",
        2 => "AAC-LC",
        3 => "AAC SSR",
        4 => "AAC LTP",
        5 => "HE-AAC",
        23 => "AAC-LD",
        29 => "HE-AAC v2",
        39 => "AAC-ELD",
        42 => "xHE-AAC",
        other => return Some(format!("AAC of the object type {other}")),
    };
    Some(match read(4)? {
        0 => format!("{codec} with a channel layout of its own"),
        1 => format!("{codec} of 1 channel"),
        7 => format!("{codec} of 8 channels"),
        channels => format!("{codec} of {channels} channels"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_is_not_decoded_is_named() {
        for (config, expected) in [
            (&[0x11, 0xb0][..], "AAC-LC of 6 channels"),
            (&[0x11, 0x80], "AAC-LC with a channel layout of its own"),
            (&[0x0a, 0x10], "AAC Main of 2 channels"),
            (&[0xf9, 0x46, 0x40], "xHE-AAC of 2 channels"),
        ] {
            let Err(problem) = decoder(48_000, 2, config, "MP4") else { panic!("{expected}") };
            assert!(problem.to_string().starts_with(&format!("is {expected} in MP4 (")), "{problem}");
        }
        assert_eq!(name(&[0x11]), None);
        assert_eq!(name(&[]), None);
    }
}
