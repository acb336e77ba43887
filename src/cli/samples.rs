//! The sample speech that is compiled into the binary, made by `deploy/samples/make.sh`.
//!
//! Output: recordings. Invariants: all samples with one channel have a rate of 16 kHz, which a test checks.

use crate::audio::{FileError, Recording, decode_bytes};

macro_rules! samples {
    ($($name:literal = $file:literal),+) => {
        [$(($name, include_bytes!(concat!("../../deploy/samples/", $file)))),+]
    };
}

/// The samples: name and bytes of a WAV file. The names describe the voice, because a synthesiser has no emotion that a label
/// could be compared with.
const SAMPLES: [(&str, &[u8]); 5] = samples![
    "slow-flat" = "calm.wav",
    "fast-loud" = "angry.wav",
    "high-lively" = "cheerful.wav",
    "low-quiet" = "sad.wav",
    "call-stereo-mulaw" = "call-stereo-mulaw.wav"
];

/// The seconds of digital silence before the speech of [`muted`].
const MUTED_SECONDS: usize = 4;

/// Returns the first sample behind digital silence, as a call that begins muted, and its name.
pub(super) fn muted() -> Result<(&'static str, Recording), FileError> {
    let (name, bytes) = SAMPLES[0];
    let mut recording = decode_bytes(bytes, Some(name))?;
    let silence = MUTED_SECONDS * recording.sample_rate_hz as usize;
    for channel in &mut recording.channels {
        channel.splice(..0, std::iter::repeat_n(0.0, silence));
    }
    Ok(("muted-then-speech", recording))
}

/// Decodes all samples, in order.
pub(super) fn recordings() -> Result<Vec<(&'static str, Recording)>, FileError> {
    SAMPLES.iter().map(|(name, bytes)| Ok((*name, decode_bytes(*bytes, Some(name))?))).collect()
}

/// Concatenates all samples that have one channel.
pub(super) fn one_voice() -> Result<Recording, FileError> {
    let mut joined = Recording { sample_rate_hz: 0, channels: vec![Vec::new()] };
    for (_, Recording { sample_rate_hz, channels }) in recordings()? {
        let [channel] = channels.as_slice() else { continue };
        joined.sample_rate_hz = sample_rate_hz;
        joined.channels[0].extend_from_slice(channel);
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_with_one_channel_have_one_rate() {
        let mono = |(_, recording): &(&str, Recording)| recording.channels.len() == 1;
        let recordings: Vec<_> = recordings().unwrap().into_iter().filter(mono).collect();
        assert!(recordings.len() > 1);
        assert!(recordings.iter().all(|(_, recording)| recording.sample_rate_hz == 16_000));
        let lengths = recordings.iter().map(|(_, recording)| recording.channels[0].len());
        assert_eq!(one_voice().unwrap().channels[0].len(), lengths.sum::<usize>());
    }
}
