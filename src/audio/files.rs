//! Whole audio files: WAV, FLAC, MP3, Ogg Vorbis and Ogg Opus.
//!
//! In: a path, or a file's bytes. Out: the samples of each channel, encoder delay and padding cut off where the file
//! tells them. Never trusts the file's name; never panics on bytes.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::LazyLock;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::decode::{decode, is_sample};
use super::format::{check_channels, check_sample_rate};
use super::opus::Opus;
use super::{AudioFormat, BadAudio, FileError, FileProblem, Planar, wav_header};

/// Samples of all channels that bytes from a client may decode to: 4.6 hours at 16 kHz, 1 GiB. A few kilobytes of
/// FLAC can hold hours of silence.
pub const MAX_CLIENT_SAMPLES: usize = 1 << 28;

/// symphonia's decoders, and the one that it lacks.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<Opus>();
    codecs
});

/// A decoded file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Samples a second of one channel, within [`super::SAMPLE_RATES_HZ`].
    pub sample_rate_hz: u32,
    /// One buffer a channel, all of the same length, at least one sample; full scale ±1.
    pub channels: Vec<Vec<f32>>,
}

/// Decodes the file at `path`, whatever its name says it is.
///
/// # Errors
/// What is wrong with the file; the message begins with its path.
pub fn decode_file(path: impl AsRef<Path>) -> Result<Recording, FileError> {
    let path = path.as_ref();
    let decoded = match std::fs::read(path) {
        Ok(bytes) => decode_limited(&bytes, usize::MAX),
        Err(error) => Err(FileProblem::Unreadable { reason: error.to_string() }),
    };
    decoded.map_err(|problem| FileError { file: path.display().to_string(), problem })
}

/// Decodes a file that a client sent, called `name` in messages. It may hold [`MAX_CLIENT_SAMPLES`].
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_bytes(bytes: impl AsRef<[u8]>, name: Option<&str>) -> Result<Recording, FileError> {
    decode_limited(bytes.as_ref(), MAX_CLIENT_SAMPLES)
        .map_err(|problem| FileError { file: name.unwrap_or("file").to_owned(), problem })
}

fn decode_limited(bytes: &[u8], limit: usize) -> Result<Recording, FileProblem> {
    if bytes.is_empty() {
        return Err(FileProblem::Empty);
    }
    if wav_header::is_wav(bytes) {
        let wav = wav_header::read(bytes)?;
        if let Some(format) = wav.format {
            return decode_samples(format, wav.audio, limit);
        }
    } else if !is_other_audio(bytes) {
        if let Some(format) = known_elsewhere(bytes) {
            return Err(FileProblem::OtherFormat { format });
        }
        let beginning = bytes[..bytes.len().min(12)].escape_ascii().to_string();
        return Err(FileProblem::NotAudio { beginning });
    }
    // The decoders are other people's, and the bytes are anybody's: a panic in there is this file's error alone.
    let recording = catch_unwind(AssertUnwindSafe(|| Decoding::open(bytes, limit)?.run()))
        .unwrap_or_else(|_| Err(malformed("the decoder gave up on it")))?;
    refuse_what_is_no_sample(&recording)?;
    Ok(recording)
}

/// The samples of a WAV file are what a client would send raw. Half a sample frame at the end is left out.
fn decode_samples(format: AudioFormat, audio: &[u8], limit: usize) -> Result<Recording, FileProblem> {
    let sample_bytes = format.encoding().sample_bytes().expect("a WAV file's samples are no file");
    let audio = &audio[..audio.len() - audio.len() % (sample_bytes * usize::from(format.channels()))];
    if audio.is_empty() {
        return Err(FileProblem::NoSamples);
    }
    if audio.len() / sample_bytes > limit {
        return Err(FileProblem::TooLong { limit });
    }
    let mut planar = Planar::new();
    match decode(format, audio, &mut planar) {
        Ok(()) => Ok(Recording { sample_rate_hz: format.sample_rate_hz(), channels: planar.into_channels() }),
        Err(BadAudio::NotASample { index, channel, value }) => {
            Err(FileProblem::NotASample { index, channel, value })
        }
        Err(error) => Err(malformed(&error.to_string())),
    }
}

/// FLAC, Ogg, an ID3 tag, or the eleven set bits that begin an MPEG frame.
fn is_other_audio(bytes: &[u8]) -> bool {
    let marked = [b"fLaC".as_slice(), b"OggS", b"ID3"].iter().any(|mark| bytes.starts_with(mark));
    marked || matches!(bytes, [0xff, second, ..] if second & 0xe0 == 0xe0)
}

/// Formats that people do send, by their names.
fn known_elsewhere(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("WebM or Matroska"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("MP4 or M4A"),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', ..] => Some("AIFF"),
        [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..] => Some("RF64"),
        [b'#', b'!', b'A', b'M', b'R', ..] => Some("AMR"),
        [b'.', b's', b'n', b'd', ..] => Some("AU"),
        _ => None,
    }
}

/// A file on its way to a [`Recording`].
struct Decoding<'a> {
    container: Box<dyn FormatReader + 'a>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    /// Samples of one channel, where the container knows for certain.
    promised: Option<u64>,
    limit: usize,
    /// What the last packet held.
    block: Vec<Vec<f32>>,
    recording: Recording,
}

impl<'a> Decoding<'a> {
    fn open(bytes: &'a [u8], limit: usize) -> Result<Self, FileProblem> {
        let source = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
        let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
        let container =
            symphonia::default::get_probe().probe(&Hint::new(), source, format, metadata).map_err(failure)?;
        let track = container.default_track(TrackType::Audio).ok_or_else(|| malformed("it has no audio"))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| malformed("its codec is unknown"))?;
        // Gapless: the encoder's delay and padding are no part of the recording.
        let options = AudioDecoderOptions::default().gapless(true);
        let decoder = CODECS.make_audio_decoder(parameters, &options).map_err(failure)?;
        let (track_id, promised) = (track.id, promised_samples(bytes, track));
        let recording = Recording { sample_rate_hz: 0, channels: Vec::new() };
        Ok(Self { container, decoder, track_id, promised, limit, block: Vec::new(), recording })
    }

    fn run(mut self) -> Result<Recording, FileProblem> {
        while let Some(packet) = self.container.next_packet().map_err(failure)? {
            if packet.track_id != self.track_id {
                continue;
            }
            let decoded = self.decoder.decode(&packet).map_err(failure)?;
            let (rate_hz, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
            decoded.copy_to_vecs_planar(&mut self.block);
            self.append(rate_hz, channels)?;
        }
        let present = self.recording.channels.first().map_or(0, Vec::len) as u64;
        match self.promised {
            Some(promised) if promised > present => {
                Err(FileProblem::Truncated { promised, present, unit: "samples" })
            }
            _ if present == 0 => Err(FileProblem::NoSamples),
            _ => Ok(self.recording),
        }
    }

    fn append(&mut self, rate_hz: u32, channels: usize) -> Result<(), FileProblem> {
        let recording = &mut self.recording;
        if recording.channels.is_empty() {
            let count = u32::try_from(channels).unwrap_or(u32::MAX);
            check_channels(count).map_err(|_| FileProblem::Channels { value: count })?;
            check_sample_rate(rate_hz).map_err(|_| FileProblem::SampleRate { value: rate_hz })?;
            *recording = Recording { sample_rate_hz: rate_hz, channels: vec![Vec::new(); channels] };
        }
        if (recording.sample_rate_hz, recording.channels.len()) != (rate_hz, channels) {
            return Err(malformed("its sample rate or its channels change on the way"));
        }
        for (channel, block) in recording.channels.iter_mut().zip(&self.block) {
            channel.extend_from_slice(block);
        }
        let samples = channels * recording.channels[0].len();
        if samples > self.limit { Err(FileProblem::TooLong { limit: self.limit }) } else { Ok(()) }
    }
}

/// The number of samples where the container knows it: FLAC in its header, MP3 in the gapless information. Elsewhere
/// it is guessed from the file's length (Ogg: from the last page that is there), or checked already (WAV).
fn promised_samples(bytes: &[u8], track: &Track) -> Option<u64> {
    let known = bytes.starts_with(b"fLaC") || (track.delay.is_some() && !bytes.starts_with(b"OggS"));
    track.num_frames.filter(|_| known)
}

fn refuse_what_is_no_sample(recording: &Recording) -> Result<(), FileProblem> {
    for (channel, samples) in recording.channels.iter().enumerate() {
        if let Some(index) = samples.iter().position(|value| !is_sample(*value)) {
            return Err(FileProblem::NotASample { index, channel, value: samples[index] });
        }
    }
    Ok(())
}

fn failure(error: Error) -> FileProblem {
    match error {
        Error::ResetRequired => malformed("several recordings in one file are not taken"),
        error => malformed(&error.to_string()),
    }
}

fn malformed(reason: &str) -> FileProblem {
    FileProblem::Malformed { reason: reason.to_owned() }
}
