//! Any chunking of the audio gives bit-identical windows.

use affectd::audio::{AudioFormat, Encoding};
use affectd::stream::Chunk;
use affectd::window::Window;
use proptest::prelude::*;
use prost::bytes::Bytes;

use crate::support::stream_fixture::{Feed, format, frame_bytes, noise, setup};

/// The windows of `audio` in chunks of the given numbers of samples, repeatedly; the rest in one chunk.
fn windows(format: AudioFormat, audio: &Bytes, sizes: &[usize], measured: bool) -> Vec<Window> {
    let mut feed = Feed::new(&setup(), format);
    let (mut rest, mut position) = (audio.clone(), 0);
    for (sequence, size) in sizes.iter().cycle().enumerate() {
        let audio = rest.split_to((size * frame_bytes(format)).min(rest.len()));
        let samples = (audio.len() / frame_bytes(format)) as u64;
        let chunk = Chunk {
            sequence: measured.then_some(sequence as u64),
            first_sample: measured.then_some(position),
            last: rest.is_empty(),
            audio,
            ..Chunk::default()
        };
        position += samples;
        feed.chunk(chunk).expect("good audio");
        if rest.is_empty() {
            break;
        }
    }
    feed.windows
}

fn formats() -> impl Strategy<Value = AudioFormat> {
    prop::sample::select(vec![
        format(Encoding::PcmF32Le, 16_000, 1),
        format(Encoding::PcmS16Le, 16_000, 3),
        format(Encoding::MuLaw, 8_000, 2),
        format(Encoding::ALaw, 11_025, 1),
        format(Encoding::PcmS24Le, 22_050, 1),
        format(Encoding::PcmS16Le, 44_100, 1),
        format(Encoding::PcmS32Le, 48_000, 1),
        format(Encoding::PcmS16Le, 24_414, 1),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same_windows(
        format in formats(),
        length_ms in 900..5_000_usize,
        seed in any::<u64>(),
        cuts in prop::collection::vec(1..9_000_usize, 1..12),
        measured in any::<bool>(),
    ) {
        let per_second = format.sample_rate_hz() as usize;
        let audio = noise(format, length_ms * per_second / 1_000, seed);
        let at_once = windows(format, &audio, &[usize::MAX >> 8], false);
        prop_assert_eq!(at_once.is_empty(), length_ms < 1_000);
        for sizes in [vec![per_second * 7 / 1_000], vec![per_second / 50], vec![per_second], cuts] {
            let cut = windows(format, &audio, &sizes, measured);
            let names = |windows: &[Window]| -> Vec<_> {
                windows.iter().map(|w| (w.index, w.channel, w.partial, w.end)).collect()
            };
            let (mut cut, mut whole) = (cut, at_once.clone());
            // Channels take turns at every chunk, so only the order within each is the same.
            cut.sort_by_key(|window| (window.channel, window.index));
            whole.sort_by_key(|window| (window.channel, window.index));
            prop_assert_eq!(names(&cut), names(&whole));
            prop_assert!(cut == whole, "features differ in chunks of {:?} samples", sizes);
        }
    }
}
