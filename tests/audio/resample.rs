//! The resampler: independence of chunking and of the start, and its error against the exact signal.

use std::f64::consts::TAU;
use std::sync::Arc;

use affectd::audio::{Resampler, ResamplerPlan, resample};
use proptest::prelude::*;

/// Pairs of rates: telephony, studio, the odd 24,414 Hz, downwards, and one without any common divisor.
const RATES_HZ: [(u32, u32); 9] = [
    (8_000, 16_000),
    (8_000, 24_000),
    (48_000, 16_000),
    (44_100, 16_000),
    (11_025, 16_000),
    (24_414, 16_000),
    (96_000, 16_000),
    (16_000, 8_000),
    (191_999, 16_000),
];

fn plan(rates_hz: (u32, u32)) -> Arc<ResamplerPlan> {
    Arc::new(ResamplerPlan::new(rates_hz.0, rates_hz.1))
}

fn tone(frequency_hz: f64, rate_hz: u32, samples: usize) -> Vec<f32> {
    let step = TAU * frequency_hz / f64::from(rate_hz);
    (0..samples).map(|n| (step * n as f64).sin() as f32).collect()
}

/// Level of `samples` in decibel, 0 being a full-scale sine.
fn level_db(samples: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = samples.len() as f64;
    let energy: f64 = samples.map(|sample| f64::from(sample).powi(2)).sum();
    10.0 * (2.0 * energy / count).log10()
}

/// The middle half: at the ends the filter reaches into the silence around the recording.
fn middle(samples: &[f32]) -> &[f32] {
    &samples[samples.len() / 4..samples.len() * 3 / 4]
}

#[test]
fn tones_in_the_passband_are_preserved() {
    for rates_hz in RATES_HZ {
        let nyquist_hz = f64::from(rates_hz.0.min(rates_hz.1)) / 2.0;
        let samples = (rates_hz.0 / 10) as usize;
        let highest = if rates_hz.0 < rates_hz.1 { 0.92 } else { 0.925 };
        for part in [0.001, 0.05, 0.3, 0.7, 0.9, highest] {
            let resampled = resample(&plan(rates_hz), &tone(part * nyquist_hz, rates_hz.0, samples));
            let exact = tone(part * nyquist_hz, rates_hz.1, resampled.len());
            let errors = middle(&resampled).iter().zip(middle(&exact)).map(|(a, b)| a - b);
            let error_db = level_db(errors);
            assert!(error_db < -80.0, "{rates_hz:?} at {part} of the band: error {error_db:.1} dB");
        }
    }
}

#[test]
fn tones_above_the_band_do_not_alias() {
    for rates_hz in RATES_HZ.into_iter().filter(|(source, target)| source > target) {
        let nyquist_hz = f64::from(rates_hz.1) / 2.0;
        let highest = f64::from(rates_hz.0) / f64::from(rates_hz.1);
        for part in [1.08, 1.2, 1.45, 0.98 * highest] {
            let output = resample(&plan(rates_hz), &tone(part * nyquist_hz, rates_hz.0, 9_600));
            let alias_db = level_db(middle(&output).iter().copied());
            assert!(alias_db < -80.0, "{rates_hz:?} at {part} of the band: alias {alias_db:.1} dB");
        }
    }
}

#[test]
fn upsampling_leaves_no_image_in_the_empty_band() {
    let (source, target) = (8_000, 16_000);
    for frequency_hz in [300.0, 1_700.0, 3_650.0, 3_990.0] {
        let output = resample(&plan((source, target)), &tone(frequency_hz, source, 8_000));
        // The image lies at 8 kHz minus the tone: its level is measured with a sine and a cosine.
        let mirror = TAU * (f64::from(source) - frequency_hz) / f64::from(target);
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, sample) in middle(&output).iter().enumerate() {
            sine += f64::from(*sample) * (mirror * n as f64).sin();
            cosine += f64::from(*sample) * (mirror * n as f64).cos();
        }
        let level_db = 20.0 * (2.0 * sine.hypot(cosine) / middle(&output).len() as f64).log10();
        assert!(level_db < -80.0, "the mirror of {frequency_hz} Hz: {level_db:.1} dB");
    }
}

#[test]
fn a_constant_signal_is_preserved() {
    for rates_hz in RATES_HZ {
        let resampled = resample(&plan(rates_hz), &vec![0.5; (rates_hz.0 / 10) as usize]);
        assert!(middle(&resampled).iter().all(|sample| (sample - 0.5).abs() < 1e-6), "{rates_hz:?}");
    }
}

#[test]
fn the_number_of_output_samples_matches_the_duration() {
    for (source, target) in RATES_HZ {
        for samples in [0, 1, 2, 999, 1_000] {
            let expected = (samples * target as usize).div_ceil(source as usize);
            let resampled = resample(&plan((source, target)), &vec![0.1; samples]);
            assert_eq!(resampled.len(), expected, "{samples} samples from {source} to {target} Hz");
        }
    }
}

#[test]
fn equal_rates_pass_samples_through() {
    let samples = tone(440.0, 16_000, 100);
    assert_eq!(resample(&plan((16_000, 16_000)), &samples), samples);
    let mut resampler = Resampler::new(plan((16_000, 16_000)), 7);
    let mut out = Vec::new();
    resampler.push(&samples, &mut out);
    resampler.finish(&mut out);
    assert_eq!((out.len(), resampler.next_output()), (100, 107));
}

#[test]
fn any_first_sample_that_a_client_can_send_is_handled() {
    for rates_hz in RATES_HZ {
        for origin in [1_u64 << 40, u64::MAX - 10, u64::MAX] {
            let mut resampler = Resampler::new(plan(rates_hz), origin);
            let mut out = Vec::new();
            resampler.push(&[0.1; 500], &mut out);
            resampler.finish(&mut out);
            assert!(out.iter().all(|sample| sample.is_finite()));
        }
    }
}

fn rates() -> impl Strategy<Value = (u32, u32)> {
    prop::sample::select(&RATES_HZ[..])
}

fn noise() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-1.0_f32..=1.0, 1..3_000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_bit_identical_output(
        rates_hz in rates(),
        samples in noise(),
        chunks in prop::collection::vec(1_usize..400, 1..20),
    ) {
        let plan = plan(rates_hz);
        let whole = resample(&plan, &samples);
        let mut resampler = Resampler::new(plan, 0);
        let (mut out, mut rest) = (Vec::new(), &samples[..]);
        for length in chunks.iter().cycle() {
            let (chunk, later) = rest.split_at((*length).min(rest.len()));
            resampler.push(chunk, &mut out);
            prop_assert_eq!(resampler.next_output(), out.len() as u64);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        resampler.finish(&mut out);
        resampler.finish(&mut out);
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn a_later_start_gives_bit_identical_output_beyond_the_filter_reach(
        rates_hz in rates(),
        samples in noise(),
        part in 0.0..1.0_f64,
    ) {
        let plan = plan(rates_hz);
        let whole = resample(&plan, &samples);
        let origin = (part * samples.len() as f64) as usize;
        let mut resampler = Resampler::new(Arc::clone(&plan), origin as u64);
        let first = resampler.next_output();
        prop_assert_eq!(first, plan.first_output(origin as u64));
        let mut out = Vec::new();
        resampler.push(&samples[origin..], &mut out);
        resampler.finish(&mut out);
        prop_assert_eq!(first as usize + out.len(), whole.len());
        for (n, sample) in (first..).zip(&out) {
            if plan.inputs_of(n).start >= origin as u64 {
                prop_assert_eq!(sample.to_bits(), whole[n as usize].to_bits(), "output {}", n);
            }
        }
    }
}
