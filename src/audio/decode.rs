//! From the bytes of a chunk to one buffer of samples a channel.
//!
//! In: bytes in a checked format. Out: f32 samples at full scale ±1. Never keeps a remainder: the bytes of a chunk
//! are whole sample frames. Never decodes files (see `files`).

use dasp_sample::{I24, Sample};

use super::g711::{A_LAW, MU_LAW};
use super::{AudioFormat, BadAudio, Encoding};

/// Samples this far beyond full scale are refused: their energy would overflow.
const LARGEST: f32 = 65_536.0;

/// Whether a float can be a sample at all.
pub(super) fn is_sample(value: f32) -> bool {
    value.abs() <= LARGEST
}

/// Samples of several channels, one buffer each, all of the same length. Reused from chunk to chunk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planar {
    channels: Vec<Vec<f32>>,
}

impl Planar {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// One buffer a channel.
    pub fn channels(&self) -> &[Vec<f32>] {
        &self.channels
    }

    /// The buffers themselves.
    pub fn into_channels(self) -> Vec<Vec<f32>> {
        self.channels
    }

    /// Samples of one channel.
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Buffers of equal length, as they are.
    pub fn from_channels(channels: Vec<Vec<f32>>) -> Self {
        debug_assert!(channels.iter().all(|channel| channel.len() == channels[0].len()));
        Self { channels }
    }

    /// Leaves the first channel alone.
    pub(super) fn keep_first(&mut self) {
        self.channels.truncate(1);
    }

    /// Leaves the mean of all channels.
    pub(super) fn mix(&mut self) {
        let [first, others @ ..] = self.channels.as_mut_slice() else { return };
        for other in &*others {
            first.iter_mut().zip(other).for_each(|(sum, sample)| *sum += sample);
        }
        let share = 1.0 / (1 + others.len()) as f32;
        first.iter_mut().for_each(|sum| *sum *= share);
        self.keep_first();
    }

    fn reset(&mut self, channels: usize, frames: usize) {
        self.channels.resize_with(channels, Vec::new);
        for channel in &mut self.channels {
            channel.clear();
            channel.reserve(frames);
        }
    }
}

/// Decodes `bytes` into `out`, which then holds these samples alone.
///
/// # Errors
/// [`BadAudio::OddByteCount`] where the bytes are not whole sample frames, [`BadAudio::NotASample`] where a float is
/// NaN, infinite or past anything a microphone gives. `out` is empty then.
///
/// # Panics
/// When `format` is a file.
pub fn decode(format: AudioFormat, bytes: &[u8], out: &mut Planar) -> Result<(), BadAudio> {
    match format.encoding() {
        Encoding::PcmS16Le => samples(format, bytes, out, |b| i16::from_le_bytes(b).to_sample()),
        Encoding::PcmS16Be => samples(format, bytes, out, |b| i16::from_be_bytes(b).to_sample()),
        Encoding::PcmS24Le => samples(format, bytes, out, signed_24),
        Encoding::PcmS32Le => samples(format, bytes, out, |b| i32::from_le_bytes(b).to_sample()),
        Encoding::PcmF32Le => {
            samples(format, bytes, out, f32::from_le_bytes)?;
            refuse_what_is_no_sample(out)
        }
        Encoding::MuLaw => {
            let table = &*MU_LAW;
            samples(format, bytes, out, |[byte]| table[usize::from(byte)])
        }
        Encoding::ALaw => {
            let table = &*A_LAW;
            samples(format, bytes, out, |[byte]| table[usize::from(byte)])
        }
        Encoding::File => unreachable!("files go through decode_bytes"),
    }
}

/// Takes the samples of `N` bytes apart by channel.
fn samples<const N: usize>(
    format: AudioFormat,
    bytes: &[u8],
    out: &mut Planar,
    sample: impl Fn([u8; N]) -> f32,
) -> Result<(), BadAudio> {
    let channels = usize::from(format.channels());
    let frame_bytes = N * channels;
    out.reset(channels, bytes.len() / frame_bytes);
    if !bytes.len().is_multiple_of(frame_bytes) {
        return Err(BadAudio::OddByteCount { bytes: bytes.len(), frame_bytes });
    }
    let (encoded, _) = bytes.as_chunks::<N>();
    if let [channel] = out.channels.as_mut_slice() {
        // Without a stride the compiler takes many samples at once.
        channel.extend(encoded.iter().map(|bytes| sample(*bytes)));
        return Ok(());
    }
    for (index, channel) in out.channels.iter_mut().enumerate() {
        channel.extend(encoded.iter().skip(index).step_by(channels).map(|bytes| sample(*bytes)));
    }
    Ok(())
}

fn signed_24([low, middle, high]: [u8; 3]) -> f32 {
    // Through the upper bytes, so that the sign comes along.
    I24::new_unchecked(i32::from_le_bytes([0, low, middle, high]) >> 8).to_sample()
}

fn refuse_what_is_no_sample(out: &mut Planar) -> Result<(), BadAudio> {
    for (channel, samples) in out.channels.iter().enumerate() {
        if let Some(index) = samples.iter().position(|value| !is_sample(*value)) {
            let value = samples[index];
            out.reset(0, 0);
            return Err(BadAudio::NotASample { index, channel, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoding: Encoding, channels: u32, bytes: &[u8]) -> Result<Vec<Vec<f32>>, BadAudio> {
        let mut out = Planar::new();
        decode(AudioFormat::new(encoding, 8_000, channels).unwrap(), bytes, &mut out)?;
        Ok(out.channels)
    }

    #[test]
    fn full_scale_of_every_encoding() {
        for (encoding, bytes, expected) in [
            (Encoding::PcmS16Le, &[0x00, 0x80, 0xff, 0x7f][..], [-1.0, 32_767.0 / 32_768.0]),
            (Encoding::PcmS16Be, &[0x80, 0x00, 0x00, 0x01], [-1.0, 1.0 / 32_768.0]),
            (Encoding::PcmS24Le, &[0x00, 0x00, 0x80, 0xff, 0xff, 0xff], [-1.0, -1.0 / 8_388_608.0]),
            (Encoding::PcmS32Le, &[0, 0, 0, 0x80, 0, 0, 0, 0x40], [-1.0, 0.5]),
            (Encoding::PcmF32Le, &[0, 0, 0x80, 0xbf, 0, 0, 0, 0x3f], [-1.0, 0.5]),
            (Encoding::MuLaw, &[0x00, 0xff], [-32_124.0 / 32_768.0, 0.0]),
            (Encoding::ALaw, &[0x2a, 0xd5], [-32_256.0 / 32_768.0, 8.0 / 32_768.0]),
        ] {
            assert_eq!(decoded(encoding, 1, bytes).unwrap(), [expected.to_vec()], "{encoding:?}");
            let apart = expected.map(|sample| vec![sample]);
            assert_eq!(decoded(encoding, 2, bytes).unwrap(), apart, "{encoding:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_whole_sample_frames() {
        let error = decoded(Encoding::PcmS16Le, 2, &[0; 6]).unwrap_err();
        assert_eq!(error, BadAudio::OddByteCount { bytes: 6, frame_bytes: 4 });
        assert!(error.to_string().starts_with("odd byte count"));
        assert_eq!(decoded(Encoding::PcmS24Le, 1, &[]).unwrap(), [Vec::<f32>::new()]);
    }

    #[test]
    fn floats_that_are_no_samples_are_named() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            let bytes: Vec<u8> = [0.5, 0.5, 0.5, value].iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
            match decoded(Encoding::PcmF32Le, 2, &bytes).unwrap_err() {
                BadAudio::NotASample { index: 1, channel: 1, .. } => {}
                other => panic!("{other}"),
            }
        }
        assert!(decoded(Encoding::PcmF32Le, 1, &1.5_f32.to_le_bytes()).is_ok(), "overdriven is still audio");
    }

    proptest! {
        #[test]
        fn any_bytes_give_finite_samples_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            number in 1..7_i32,
            channels in 1..=8_u32,
        ) {
            let encoding = Encoding::try_from(number).unwrap();
            let frame_bytes = channels as usize * encoding.sample_bytes().unwrap();
            match decoded(encoding, channels, &bytes) {
                Ok(planar) => {
                    prop_assert_eq!(planar.len(), channels as usize);
                    for channel in planar {
                        prop_assert_eq!(channel.len(), bytes.len() / frame_bytes);
                        prop_assert!(channel.iter().all(|sample| sample.is_finite()));
                    }
                }
                Err(BadAudio::OddByteCount { .. }) => prop_assert!(bytes.len() % frame_bytes != 0),
                Err(error) => prop_assert!(matches!(error, BadAudio::NotASample { .. }), "{}", error),
            }
        }
    }
}
