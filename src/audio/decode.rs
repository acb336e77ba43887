//! Decoder of raw samples: from the bytes of a chunk to one buffer of samples per channel.
//!
//! Input: bytes in a checked [`AudioFormat`], channels interleaved.
//! Output: f32 samples, full scale ±1, one buffer per channel.
//! Invariants: no remainder is kept between chunks, because the bytes of a chunk are whole sample frames.
//! Files are decoded elsewhere (see [`super::decode_bytes`]).

use dasp_sample::{I24, Sample};

use super::g711::{A_LAW, MU_LAW};
use super::{AudioFormat, BadAudio, Encoding};

/// The largest absolute value of a float sample. Larger values are refused: the power of their spectrum would
/// overflow an f32.
const LARGEST_SAMPLE: f32 = 65_536.0;

/// Returns whether a float is a valid sample: not NaN, not infinite and at most [`LARGEST_SAMPLE`].
pub(super) fn is_valid_sample(value: f32) -> bool {
    value.abs() <= LARGEST_SAMPLE
}

/// Samples of several channels, one buffer per channel, all of the same length.
///
/// The buffers are reused from chunk to chunk, so that decoding does not allocate once they have grown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planar {
    channels: Vec<Vec<f32>>,
}

impl Planar {
    /// Creates a `Planar` without channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the samples as one slice per channel.
    pub fn channels(&self) -> &[Vec<f32>] {
        &self.channels
    }

    /// Returns the buffers and consumes the `Planar`.
    pub fn into_channels(self) -> Vec<Vec<f32>> {
        self.channels
    }

    /// Returns the number of samples of one channel.
    pub fn frames(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    /// Wraps one buffer per channel. All of them must have the same length.
    pub fn from_channels(channels: Vec<Vec<f32>>) -> Self {
        debug_assert!(channels.iter().all(|channel| channel.len() == channels[0].len()));
        Self { channels }
    }

    /// Replaces the samples by a copy of `channels`, which have the same length.
    pub fn copy_from(&mut self, channels: &[Vec<f32>]) {
        self.reset(channels.len(), channels.first().map_or(0, Vec::len));
        for (copy, channel) in self.channels.iter_mut().zip(channels) {
            copy.extend_from_slice(channel);
        }
    }

    /// Drops all channels but the first.
    pub(super) fn keep_first(&mut self) {
        self.channels.truncate(1);
    }

    /// Replaces all channels by their mean.
    pub(super) fn mix(&mut self) {
        let [first, others @ ..] = self.channels.as_mut_slice() else { return };
        for other in &*others {
            first.iter_mut().zip(other).for_each(|(sum, sample)| *sum += sample);
        }
        let share = 1.0 / (1 + others.len()) as f32;
        first.iter_mut().for_each(|sum| *sum *= share);
        self.keep_first();
    }

    /// Empties the buffers of `channels` channels and reserves room for `frames` samples in each.
    fn reset(&mut self, channels: usize, frames: usize) {
        self.channels.resize_with(channels, Vec::new);
        for channel in &mut self.channels {
            channel.clear();
            channel.reserve(frames);
        }
    }
}

/// Decodes `bytes` into `out` and replaces its previous contents.
///
/// `bytes` holds interleaved sample frames in `format`. Integer samples are divided by the magnitude of their
/// smallest value (32,768 for 16 bits), so that full scale is ±1.
///
/// # Errors
/// [`BadAudio::OddByteCount`] where the bytes are not whole sample frames; [`BadAudio::NotASample`] where a
/// float is NaN, infinite or beyond 65,536. `out` is empty after an error.
///
/// # Panics
/// Where `format` is a file.
pub fn decode(format: AudioFormat, bytes: &[u8], out: &mut Planar) -> Result<(), BadAudio> {
    match format.encoding() {
        Encoding::PcmS16Le => samples(format, bytes, out, |b| i16::from_le_bytes(b).to_sample()),
        Encoding::PcmS16Be => samples(format, bytes, out, |b| i16::from_be_bytes(b).to_sample()),
        Encoding::PcmS24Le => samples(format, bytes, out, signed_24),
        Encoding::PcmS32Le => samples(format, bytes, out, |b| i32::from_le_bytes(b).to_sample()),
        Encoding::PcmF32Le => {
            samples(format, bytes, out, f32::from_le_bytes)?;
            check_samples(out)
        }
        Encoding::MuLaw => {
            let table = &*MU_LAW;
            samples(format, bytes, out, |[byte]| table[usize::from(byte)])
        }
        Encoding::ALaw => {
            let table = &*A_LAW;
            samples(format, bytes, out, |[byte]| table[usize::from(byte)])
        }
        Encoding::File => unreachable!("files are decoded by decode_bytes"),
    }
}

/// Deinterleaves the samples of `N` bytes each and converts each one with `sample`.
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
        // Mono has a path of its own: without a stride between samples the compiler vectorises the
        // conversion.
        channel.extend(encoded.iter().map(|bytes| sample(*bytes)));
        return Ok(());
    }
    for (index, channel) in out.channels.iter_mut().enumerate() {
        channel.extend(encoded.iter().skip(index).step_by(channels).map(|bytes| sample(*bytes)));
    }
    Ok(())
}

/// Converts a signed little-endian sample of 24 bits.
fn signed_24([low, middle, high]: [u8; 3]) -> f32 {
    // The three bytes become the upper ones of an i32, so that the arithmetic shift extends the sign.
    I24::new_unchecked(i32::from_le_bytes([0, low, middle, high]) >> 8).to_sample()
}

/// Refuses float samples that are not valid, and empties `out`.
fn check_samples(out: &mut Planar) -> Result<(), BadAudio> {
    for (channel, samples) in out.channels.iter().enumerate() {
        if let Some(index) = samples.iter().position(|value| !is_valid_sample(*value)) {
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
    fn bytes_that_are_not_whole_sample_frames_are_refused() {
        let error = decoded(Encoding::PcmS16Le, 2, &[0; 6]).unwrap_err();
        assert_eq!(error, BadAudio::OddByteCount { bytes: 6, frame_bytes: 4 });
        assert!(error.to_string().starts_with("odd byte count"));
        assert_eq!(decoded(Encoding::PcmS24Le, 1, &[]).unwrap(), [Vec::<f32>::new()]);
    }

    #[test]
    fn the_error_names_the_index_and_channel_of_an_invalid_float() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
            let bytes: Vec<u8> = [0.5, 0.5, 0.5, value].iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
            match decoded(Encoding::PcmF32Le, 2, &bytes).unwrap_err() {
                BadAudio::NotASample { index: 1, channel: 1, .. } => {}
                other => panic!("{other}"),
            }
        }
        assert!(
            decoded(Encoding::PcmF32Le, 1, &1.5_f32.to_le_bytes()).is_ok(),
            "values above full scale are allowed"
        );
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
