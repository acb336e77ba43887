//! The windows of one clip without a label, in the form that the cache stores.
//!
//! Input: features and samples of each window. Output: bytes and back, or [`LabelledWindow`]s. Invariants: the stored form
//! does not depend on the label, so that a label map does not invalidate the cache.

use super::cache::Entry;
use super::corpus::LabelledWindow;

/// All windows of a clip, in order; at least one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CutClip(pub Vec<CutWindow>);

/// One window of a clip.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CutWindow {
    /// The features, `[frames * coefficients]`, without padding.
    pub features: Vec<f32>,
    /// The samples as 16-bit integers; empty unless they are kept.
    pub samples: Vec<i16>,
}

impl CutClip {
    /// Adds the index of the label and the index of the clip to each window.
    pub fn windows(self, label: usize, clip: usize) -> Vec<LabelledWindow> {
        let window = |CutWindow { features, samples }| LabelledWindow { features, label, clip, samples };
        self.0.into_iter().map(window).collect()
    }
}

/// The stored form: for each window the numbers of features and samples, then both, all little-endian.
impl Entry for CutClip {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for CutWindow { features, samples } in &self.0 {
            bytes.extend((features.len() as u64).to_le_bytes());
            bytes.extend((samples.len() as u64).to_le_bytes());
            bytes.extend(features.iter().flat_map(|value| value.to_le_bytes()));
            bytes.extend(samples.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut windows = Vec::new();
        while !bytes.is_empty() {
            let (features, samples) = (count(&mut bytes)?, count(&mut bytes)?);
            windows.push(CutWindow {
                features: take(&mut bytes, features.checked_mul(4)?)?
                    .chunks_exact(4)
                    .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
                    .collect(),
                samples: take(&mut bytes, samples.checked_mul(2)?)?
                    .chunks_exact(2)
                    .map(|it| i16::from_le_bytes([it[0], it[1]]))
                    .collect(),
            });
        }
        (!windows.is_empty()).then_some(Self(windows))
    }
}

fn count(bytes: &mut &[u8]) -> Option<usize> {
    let head = take(bytes, 8)?;
    usize::try_from(u64::from_le_bytes(head.try_into().ok()?)).ok()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}
