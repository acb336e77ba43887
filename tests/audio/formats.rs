//! Every encoding, sample rate and number of channels reaches the model as the sound that was sent, each channel separately.

use std::f64::consts::TAU;

use affectd::audio::encode;
use affectd::audio::{Encoding, SAMPLE_RATES_HZ};
use affectd::proto;
use prost::bytes::Bytes;

use crate::support::stream_fixture::{format, waveform_setup, windows_of};

/// Each encoding with the largest error of a sample.
const ENCODINGS: [(Encoding, proto::Encoding, f32); 7] = [
    (Encoding::PcmS16Le, proto::Encoding::PcmS16le, 2e-4),
    (Encoding::PcmS16Be, proto::Encoding::PcmS16le, 2e-4),
    (Encoding::PcmS24Le, proto::Encoding::PcmS24le, 1e-4),
    (Encoding::PcmS32Le, proto::Encoding::PcmS32le, 1e-4),
    (Encoding::PcmF32Le, proto::Encoding::PcmF32le, 1e-4),
    (Encoding::MuLaw, proto::Encoding::Mulaw, 0.03),
    (Encoding::ALaw, proto::Encoding::Alaw, 0.03),
];

/// The tone of a channel, `seconds` from the start.
fn tone(channel: usize, seconds: f64) -> f32 {
    (0.7 * (TAU * (300.0 + 170.0 * channel as f64) * seconds).sin()) as f32
}

/// 0.25 s of all channels.
fn audio(rate: u32, channels: usize, (encoding, wire): (Encoding, proto::Encoding)) -> Bytes {
    let length = rate / 4;
    let channel =
        |channel| (0..length).map(|n| tone(channel, f64::from(n) / f64::from(rate))).collect::<Vec<f32>>();
    let bytes = encode(&(0..channels).map(channel).collect::<Vec<_>>(), wire);
    match encoding {
        Encoding::PcmS16Be => bytes.as_chunks::<2>().0.iter().flat_map(|[low, high]| [*high, *low]).collect(),
        _ => bytes,
    }
}

#[test]
fn every_encoding_rate_and_channel_reaches_the_model() {
    let setup = waveform_setup(4_000, 4_000, 0.2);
    let rates = [8_000, 11_025, 16_000, 22_050, 24_414, 32_000, 44_100, 48_000, 96_000, 192_000];
    assert_eq!((rates[0], rates[9]), (*SAMPLE_RATES_HZ.start(), *SAMPLE_RATES_HZ.end()));
    for (encoding, wire, tolerance) in ENCODINGS {
        for (at, rate) in rates.into_iter().enumerate() {
            // Cycles through one to eight channels.
            for channels in [1, 2 + at % 7] {
                let sent = audio(rate, channels, (encoding, wire));
                let windows = windows_of(&setup, format(encoding, rate, channels as u32), &sent);
                let name = format!("{encoding}, {rate} Hz, {channels} channels");
                assert_eq!(windows.len(), channels, "{name}");
                for window in windows {
                    // At the ends the filter reaches into the surrounding silence.
                    let inner = window.features.iter().enumerate().skip(400).take(3_000);
                    let off = |(n, found): (usize, &f32)| {
                        (found - tone(window.channel as usize, n as f64 / 16_000.0)).abs()
                    };
                    let worst = inner.map(off).fold(0.0, f32::max);
                    assert!(worst < tolerance, "{name}, channel {}: {worst}", window.channel);
                }
            }
        }
    }
}
