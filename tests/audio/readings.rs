//! What independent decoders read from the files of the grid: `tests/golden/readings.txt`, which
//! `tests/golden/make_encoded.py` writes.

use affectd::audio::Recording;

/// The largest difference between samples of two decoders.
const TOLERANCE: f32 = 1e-4;

/// The reading of one file.
pub struct Reading {
    pub name: &'static str,
    rate_hz: u32,
    channels: usize,
    pub frames: usize,
    /// The hash of all samples; `None` for lossy formats.
    hash: Option<u64>,
    /// The samples of evenly spaced frames, all channels of a frame together.
    points: Vec<f32>,
}

/// Returns all readings.
pub fn readings() -> Vec<Reading> {
    include_str!("../golden/readings.txt").lines().map(parse).collect()
}

fn parse(line: &'static str) -> Reading {
    let words: Vec<&str> = line.split(' ').collect();
    Reading {
        name: words[0],
        rate_hz: words[1].parse().unwrap(),
        channels: words[2].parse().unwrap(),
        frames: words[3].parse().unwrap(),
        hash: Some(words[4]).filter(|hash| *hash != "-").map(|hash| u64::from_str_radix(hash, 16).unwrap()),
        points: words[5..].iter().map(|point| point.parse().unwrap()).collect(),
    }
}

impl Reading {
    /// Compares a recording with the reading and returns what differs.
    pub fn difference(&self, recording: &Recording) -> Option<String> {
        let channels = &recording.channels;
        let found = (recording.sample_rate_hz, channels.len(), channels[0].len());
        let expected = (self.rate_hz, self.channels, self.frames);
        if found != expected {
            return Some(format!("rate, channels and frames are {found:?}, expected are {expected:?}"));
        }
        if let Some(hash) = self.hash {
            let found = fnv(recording);
            return (found != hash).then(|| format!("the hash is {found:016x}, expected is {hash:016x}"));
        }
        let count = self.points.len() / self.channels;
        let picked = (0..count)
            .flat_map(|index| channels.iter().map(move |channel| channel[index * self.frames / count]));
        let worst =
            picked.zip(&self.points).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
        (worst > TOLERANCE).then(|| format!("samples differ by {worst}"))
    }
}

/// Returns the 64-bit FNV-1a hash of the interleaved samples.
fn fnv(recording: &Recording) -> u64 {
    let frames = 0..recording.channels[0].len();
    let samples = frames.flat_map(|index| recording.channels.iter().map(move |channel| channel[index]));
    samples.flat_map(f32::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
