//! A stream without a daemon: noise that differs in every sample, and a front end that collects its windows.
//!
//! Input: formats, samples, chunks. Output: windows. Holds no assertion.

use affectd::audio::{AudioFile, AudioFormat, DecodeLimit, Encoding};
use affectd::config::{self, Config};
use affectd::model::Contract;
use affectd::stream::{
    BadChunk, Chunk, ChunkOutcome, Resume, Scratch, StreamFrontEnd, StreamPosition, StreamSetup,
};
use affectd::window::Window;
use prost::bytes::Bytes;

/// The usual model: 16 kHz, 3 s every 1 s, 25 ms every 10 ms, 40 coefficients.
pub fn contract() -> Contract {
    let json = serde_json::json!({
        "schema": 1, "name": "usual", "version": "1.0.0", "labels": ["anger", "neutral"],
        "input": "mfcc", "layout": "NTC", "output": "probabilities", "sample_rate_hz": 16_000,
        "window": {"length_samples": 48_000, "hop_samples": 16_000}, "frames": 297,
        "mfcc": {"win_length": 400, "hop_length": 160, "n_fft": 512, "window": "hann", "n_mels": 40,
                 "f_min_hz": 20.0, "f_max_hz": 7400.0, "mel_scale": "slaney", "mel_norm": "slaney",
                 "power": 2.0, "log": "ln", "log_floor": 1e-10, "n_mfcc": 40, "dct_norm": "ortho", "deltas": 0}
    });
    Contract::parse(&json.to_string()).expect("the contract is right")
}

/// The usual model under the default configuration.
pub fn setup() -> StreamSetup {
    setup_with(&Config::default().window)
}

/// A model that takes samples: 16 kHz, windows of `length_samples` every `hop_samples`.
pub fn waveform_setup(length_samples: usize, hop_samples: usize, min_length: f64) -> StreamSetup {
    let json = serde_json::json!({
        "schema": 1, "name": "waveform", "version": "1.0.0", "labels": ["anger", "neutral"],
        "input": "waveform", "layout": "NS", "output": "logits", "sample_rate_hz": 16_000,
        "window": {"length_samples": length_samples, "hop_samples": hop_samples}
    });
    let contract = Contract::parse(&json.to_string()).expect("the contract is right");
    let min_length = std::time::Duration::from_secs_f64(min_length);
    let window = config::Window { hop: None, min_length };
    StreamSetup::new(&contract, &window, &Config::default().audio).expect("the windows fit")
}

/// The usual model with other windows.
pub fn setup_with(window: &config::Window) -> StreamSetup {
    StreamSetup::new(&contract(), window, &Config::default().audio).expect("the windows fit")
}

/// A format of samples.
pub fn format(encoding: Encoding, sample_rate_hz: u32, channels: u32) -> AudioFormat {
    AudioFormat::new(encoding, sample_rate_hz, channels).expect("within the limits")
}

/// 16 kHz, one channel, floats: samples reach the windower as they are.
pub fn plain() -> AudioFormat {
    format(Encoding::PcmF32Le, 16_000, 1)
}

/// Bytes of `frames` sample frames: noise within ±1, different in every sample and channel.
pub fn noise(format: AudioFormat, frames: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let samples = frames * usize::from(format.channels());
    match format.encoding() {
        Encoding::PcmF32Le => (0..samples)
            .flat_map(|_| ((next() >> 40) as f32 / (1 << 23) as f32 - 1.0).to_le_bytes())
            .collect(),
        other => {
            let bytes = samples * other.sample_bytes().expect("samples");
            (0..bytes).map(|_| next() as u8).collect()
        }
    }
}

/// Bytes of one sample of every channel.
pub fn frame_bytes(format: AudioFormat) -> usize {
    format.encoding().sample_bytes().expect("samples") * usize::from(format.channels())
}

/// One stream and its windows.
pub struct Feed {
    pub scratch: Scratch,
    pub windows: Vec<Window>,
    setup: StreamSetup,
    format: AudioFormat,
    stream: Option<StreamFrontEnd>,
}

impl Feed {
    /// A stream that has not begun.
    pub fn new(setup: &StreamSetup, format: AudioFormat) -> Feed {
        let (scratch, setup) = (setup.scratch(), setup.clone());
        Feed { scratch, windows: Vec::new(), setup, format, stream: None }
    }

    /// A stream that continues one of another reader; `chunk` is its next chunk.
    pub fn resume(setup: &StreamSetup, format: AudioFormat, resume: Resume, chunk: &Chunk) -> Feed {
        let mut feed = Feed::new(setup, format);
        let stream = StreamFrontEnd::resume(setup, &mut feed.scratch, resume, chunk);
        feed.stream = Some(stream.expect("the stream goes on"));
        feed
    }

    /// Accepts audio with a format only.
    pub fn audio(&mut self, audio: Bytes) -> ChunkOutcome {
        self.chunk(Chunk { audio, ..Chunk::default() }).expect("good audio")
    }

    /// Accepts a chunk; the last one ends the stream.
    pub fn chunk(&mut self, mut chunk: Chunk) -> Result<ChunkOutcome, BadChunk> {
        chunk.format = chunk.format.or(Some(self.format));
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(StreamFrontEnd::begin(&self.setup, &chunk)?),
        };
        let windows = &mut self.windows;
        let outcome = stream.accept(&mut self.scratch, &chunk, &mut |window| windows.push(window))?;
        if outcome.completes_file {
            accept_file(stream, &mut self.scratch, &mut |window| windows.push(window))?;
        }
        if chunk.last && !outcome.duplicate {
            stream.end(&mut self.scratch, &mut |window| windows.push(window));
        }
        Ok(outcome)
    }

    /// Ends the segment.
    pub fn end(&mut self) {
        let windows = &mut self.windows;
        if let Some(stream) = &mut self.stream {
            stream.end(&mut self.scratch, &mut |window| windows.push(window));
        }
    }

    /// The position of the stream; `None` before its first chunk.
    pub fn position(&self) -> Option<StreamPosition> {
        self.stream.as_ref().map(StreamFrontEnd::position)
    }
}

/// Decodes the complete file of a stream in pieces of a thousand samples or more, and passes them to the stream.
fn accept_file(
    stream: &mut StreamFrontEnd,
    scratch: &mut Scratch,
    emit: &mut dyn FnMut(Window),
) -> Result<(), BadChunk> {
    let bytes = stream.take_file();
    let opened = AudioFile::new(bytes.clone(), "file", &DecodeLimit::NONE).map_err(BadChunk::from);
    let begun = opened.and_then(|file| {
        stream.begin_file(scratch, (file.sample_rate_hz(), file.channels()), emit)?;
        Ok(file)
    });
    let file = begun.inspect_err(|_| stream.refuse_file(bytes))?;
    let mut blocks = file.blocks();
    while let Some(block) = blocks.next(1_000)? {
        stream.accept_block(scratch, &block, emit);
    }
    Ok(())
}

/// The windows of one segment that arrives in one chunk.
pub fn windows_of(setup: &StreamSetup, format: AudioFormat, audio: &Bytes) -> Vec<Window> {
    let mut feed = Feed::new(setup, format);
    feed.audio(audio.clone());
    feed.end();
    feed.windows
}

/// The same windows in a segment that begins with window `first`, at one window per second.
pub fn of_segment(first: u64, windows: &[Window]) -> Vec<Window> {
    let segment = std::time::Duration::from_secs(first);
    windows.iter().cloned().map(|window| Window { segment, ..window }).collect()
}
