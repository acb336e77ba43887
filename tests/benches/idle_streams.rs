//! Memory of 10,000 idle streams, as Linux sees it: `cargo bench --bench idle_streams`.
//!
//! Each has received 4 s in chunks of 100 ms. Out: bytes a stream by format. One process measures one format, so that none
//! lives in what another has freed.

mod front_end_fixture;

use std::process::Command;

use affectd::audio::Encoding;
use front_end_fixture::{format, held_stream, noise, setup};

const STREAMS: usize = 10_000;
const FORMATS: [(&str, Encoding, u32); 3] = [
    ("8 kHz mu-law", Encoding::MuLaw, 8_000),
    ("16 kHz 16 bits", Encoding::PcmS16Le, 16_000),
    ("48 kHz float", Encoding::PcmF32Le, 48_000),
];

fn main() {
    match std::env::args().skip(1).find_map(|argument| argument.parse::<usize>().ok()) {
        Some(number) => measure(FORMATS[number]),
        None => {
            let this = std::env::current_exe().expect("this program's path");
            for number in 0..FORMATS.len() {
                let done = Command::new(&this).arg(number.to_string()).status().expect("this program again");
                assert!(done.success(), "format {number}");
            }
        }
    }
}

fn measure((name, encoding, rate_hz): (&str, Encoding, u32)) {
    let (setup, format) = (setup(), format(encoding, rate_hz, 1));
    let mut scratch = setup.scratch();
    let sample_bytes = encoding.sample_bytes().expect("samples");
    let audio = noise(format, 4 * rate_hz as usize, 1);
    let size = rate_hz as usize / 10 * sample_bytes;
    let chunks: Vec<_> = (0..audio.len()).step_by(size).map(|from| audio.slice(from..from + size)).collect();
    let mut streams = Vec::with_capacity(STREAMS);
    streams.push(held_stream(&setup, &mut scratch, format, &chunks, &mut 0));
    let before = resident_bytes();
    while streams.len() < STREAMS {
        streams.push(held_stream(&setup, &mut scratch, format, &chunks, &mut 0));
    }
    let bytes = (resident_bytes() - before) / (STREAMS - 1);
    println!("{name}: {bytes} bytes a stream, {STREAMS} streams");
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of its processes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
    let kilobytes = line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kB");
    kilobytes * 1024
}
