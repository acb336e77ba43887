//! Synthesised speech with silence between its parts, at 16 kHz.
//!
//! Input: the length of each part. Output: samples. Holds no assertion.

/// Samples of one second.
pub const SECOND: usize = 16_000;

/// One part of a talk, with its length in milliseconds.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    Speech(usize),
    Silence(usize),
}

/// The concatenated parts, with faint noise added to all of them.
pub fn talk(parts: &[Part]) -> Vec<f32> {
    let voice = affectd::audio::decode_bytes(&include_bytes!("../../deploy/samples/calm.wav")[..], None);
    let voice = voice.expect("a sample").channels.swap_remove(0);
    // Starts half a second in, so that each part of speech begins within a sentence.
    let mut words = voice.into_iter().skip(SECOND / 2).collect::<Vec<f32>>().into_iter().cycle();
    let mut state = 1_u64;
    let mut hiss = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 2e-4
    };
    let mut samples = Vec::new();
    for part in parts {
        match *part {
            Part::Speech(ms) => samples.extend(words.by_ref().take(ms * SECOND / 1_000).map(|s| s + hiss())),
            Part::Silence(ms) => samples.extend((0..ms * SECOND / 1_000).map(|_| hiss())),
        }
    }
    samples
}

/// As 16-bit bytes.
pub fn pcm16(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect()
}

/// A talk at 8 kHz.
pub fn telephone_talk(parts: &[Part]) -> Vec<f32> {
    talk(parts).chunks_exact(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect()
}

/// Samples of one byte of two channels in turn.
pub fn interleaved(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).flat_map(|(one, other)| [*one, *other]).collect()
}
