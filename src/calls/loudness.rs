//! The loudness of a channel: gated over the whole call, and the loudest three seconds (ITU-R BS.1770-4, EBU Tech 3341).
//!
//! Input: the K-weighted energy of each 100 ms. Output: totals, and from them loudness in LUFS. Pure. The blocks are counted by tenths of an LU, as
//! the crate `ebur128` counts them in its histogram, because the totals are part of the stream's progress: every energy would not fit there.

use crate::stream::LoudnessTotals;

/// Parts of 100 ms in a block of 400 ms.
const BLOCK: usize = 4;
/// Parts of 100 ms in 3 s.
const SHORT_TERM: usize = 30;
/// The absolute gate in LUFS.
const LOWEST: f64 = -70.0;
/// Steps of the histogram in one LU.
const STEPS: f64 = 10.0;
/// The relative gate in LU below the mean.
const RELATIVE_GATE: f64 = 10.0;

fn lufs(energy: f64) -> f64 {
    -0.691 + 10.0 * energy.log10()
}

fn energy(lufs: f64) -> f64 {
    10_f64.powf((lufs + 0.691) / 10.0)
}

/// Adds the energies of the next periods of 100 ms.
pub fn add(totals: &mut LoudnessTotals, energies: &[f32]) {
    for next in energies {
        totals.recent.push(*next);
        let mean = |parts: usize| {
            let from = totals.recent.len().checked_sub(parts)?;
            Some(totals.recent[from..].iter().map(|part| f64::from(*part)).sum::<f64>() / parts as f64)
        };
        let (block, short_term) = (mean(BLOCK), mean(SHORT_TERM));
        if let Some(loudness) = block.map(lufs).filter(|loudness| *loudness >= LOWEST) {
            *totals.blocks.entry(((loudness - LOWEST) * STEPS) as u16).or_default() += 1;
        }
        totals.short_term = totals.short_term.max(short_term.unwrap_or(0.0) as f32);
        let kept = totals.recent.len().min(SHORT_TERM - 1);
        totals.recent.drain(..totals.recent.len() - kept);
    }
}

/// Adds the blocks of another stream of the same channel.
pub fn join(totals: &mut LoudnessTotals, other: &LoudnessTotals) {
    for (loudness, count) in &other.blocks {
        *totals.blocks.entry(*loudness).or_default() += count;
    }
    totals.short_term = totals.short_term.max(other.short_term);
}

/// Returns the integrated loudness in LUFS; `None` where no block is louder than −70 LUFS.
#[must_use]
pub fn integrated(totals: &LoudnessTotals) -> Option<f64> {
    let gate = lufs(mean_from(totals, LOWEST)?) - RELATIVE_GATE;
    mean_from(totals, gate).map(lufs)
}

/// Returns the mean energy of the blocks that are at least as loud as `gate`.
fn mean_from(totals: &LoudnessTotals, gate: f64) -> Option<f64> {
    let loudness = |step: u16| LOWEST + (f64::from(step) + 0.5) / STEPS;
    let blocks = totals.blocks.iter().map(|(step, count)| (loudness(*step), *count as f64));
    let (sum, count) = blocks
        .filter(|(loudness, _)| *loudness >= gate)
        .fold((0.0, 0.0), |(sum, all), (loudness, count)| (sum + energy(loudness) * count, all + count));
    (count > 0.0).then(|| sum / count)
}

/// Returns the loudness of the loudest 3 s in LUFS.
#[must_use]
pub fn max_short_term(totals: &LoudnessTotals) -> Option<f64> {
    Some(lufs(f64::from(totals.short_term))).filter(|loudness| *loudness >= LOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gated_loudness_ignores_pauses_and_the_short_term_finds_the_loudest_part() {
        // 20 s at −36, 60 s at −23, 20 s at −36 LUFS give −23 LUFS with gates (EBU Tech 3341, test case 3).
        let part = |loudness: f64, seconds: usize| vec![energy(loudness) as f32; seconds * 10];
        let mut totals = LoudnessTotals::default();
        for energies in [part(-36.0, 20), part(-23.0, 60), part(-36.0, 20)] {
            add(&mut totals, &energies);
        }
        assert!((integrated(&totals).unwrap() + 23.0).abs() < 0.1, "{:?}", integrated(&totals));
        assert!((max_short_term(&totals).unwrap() + 23.0).abs() < 0.01);
    }

    #[test]
    fn silence_has_no_loudness() {
        let mut totals = LoudnessTotals::default();
        add(&mut totals, &[0.0; 100]);
        assert_eq!((integrated(&totals), max_short_term(&totals)), (None, None));
    }
}
