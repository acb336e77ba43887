//! Decoder of whole audio files: WAV, FLAC, MP3, Ogg Vorbis and Ogg Opus.
//!
//! Input: a path, or the bytes of a file.
//! Output: the samples of each channel, without the encoder's delay and padding where the file declares them.
//! Invariants: the format is recognised by the contents, never by the name; no input bytes cause a panic.

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

use super::decode::{decode, is_valid_sample};
use super::format::{check_channels, check_sample_rate};
use super::opus::Opus;
use super::{AudioFormat, BadAudio, FileError, FileProblem, Planar, wav_header};

/// The most samples, summed over all channels, that a file from a client may decode to: 4.6 hours at 16 kHz,
/// 1 GiB.
///
/// A limit on the file's size would not be enough: a few kilobytes of FLAC can hold hours of silence.
pub const MAX_CLIENT_SAMPLES: usize = 1 << 28;

/// The decoders of symphonia and the Opus decoder, which symphonia does not have.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<Opus>();
    codecs
});

/// The decoded samples of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Samples per second of one channel, within [`super::SAMPLE_RATES_HZ`].
    pub sample_rate_hz: u32,
    /// One buffer per channel, all of the same length and with at least one sample; full scale ±1.
    pub channels: Vec<Vec<f32>>,
}

/// Decodes the file at `path`, whatever its extension is.
///
/// # Errors
/// [`FileError`] with the reason; its message begins with the path.
pub fn decode_file(path: impl AsRef<Path>) -> Result<Recording, FileError> {
    let path = path.as_ref();
    let decoded = match std::fs::read(path) {
        Ok(bytes) => decode_limited(&bytes, usize::MAX),
        Err(error) => Err(FileProblem::Unreadable { reason: error.to_string() }),
    };
    decoded.map_err(|problem| FileError { file: path.display().to_string(), problem })
}

/// Decodes the bytes of a file that a client sent; `name` stands for the file in messages.
///
/// # Errors
/// [`FileError`] with the reason, among them [`FileProblem::TooLong`] above [`MAX_CLIENT_SAMPLES`].
pub fn decode_bytes(bytes: impl AsRef<[u8]>, name: Option<&str>) -> Result<Recording, FileError> {
    decode_limited(bytes.as_ref(), MAX_CLIENT_SAMPLES)
        .map_err(|problem| FileError { file: name.unwrap_or("file").to_owned(), problem })
}

/// Decodes the bytes of a file into at most `limit` samples, summed over all channels.
///
/// WAV files of the common encodings are read here; all others go through symphonia.
fn decode_limited(bytes: &[u8], limit: usize) -> Result<Recording, FileProblem> {
    if bytes.is_empty() {
        return Err(FileProblem::Empty);
    }
    if wav_header::is_wav(bytes) {
        let wav = wav_header::read(bytes)?;
        if let Some(format) = wav.format {
            return decode_samples(format, wav.audio, limit);
        }
    } else if !is_symphonia_format(bytes) {
        if let Some(format) = unsupported_format(bytes) {
            return Err(FileProblem::UnsupportedFormat { format });
        }
        let beginning = bytes[..bytes.len().min(12)].escape_ascii().to_string();
        return Err(FileProblem::NotAudio { beginning });
    }
    // The decoders are third-party code that runs on untrusted bytes. A panic in one of them is an error of
    // this file and must not end the thread, on which other streams are open.
    let recording = catch_unwind(AssertUnwindSafe(|| Decoding::open(bytes, limit)?.run()))
        .unwrap_or_else(|_| Err(malformed("the decoder panicked")))?;
    check_samples(&recording)?;
    Ok(recording)
}

/// Decodes the samples of a WAV file like a chunk of raw samples.
///
/// An incomplete sample frame at the end is dropped: programs that are interrupted while they record leave
/// one.
fn decode_samples(format: AudioFormat, audio: &[u8], limit: usize) -> Result<Recording, FileProblem> {
    let sample_bytes =
        format.encoding().sample_bytes().expect("the data chunk of a WAV file holds raw samples");
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

/// Returns whether the bytes begin as a format that symphonia decodes here: FLAC, Ogg, an ID3 tag, or the
/// eleven set bits of an MPEG frame header.
fn is_symphonia_format(bytes: &[u8]) -> bool {
    let marked = [b"fLaC".as_slice(), b"OggS", b"ID3"].iter().any(|mark| bytes.starts_with(mark));
    marked || matches!(bytes, [0xff, second, ..] if second & 0xe0 == 0xe0)
}

/// Returns the name of a common audio format that is recognised and not supported.
fn unsupported_format(bytes: &[u8]) -> Option<&'static str> {
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

/// The state of one decoding with symphonia.
struct Decoding<'a> {
    container: Box<dyn FormatReader + 'a>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    /// Samples of one channel that the container declares, see [`declared_samples`].
    declared: Option<u64>,
    /// The largest number of samples, summed over all channels.
    limit: usize,
    /// The samples of the last packet, one buffer per channel.
    block: Vec<Vec<f32>>,
    recording: Recording,
}

impl<'a> Decoding<'a> {
    fn open(bytes: &'a [u8], limit: usize) -> Result<Self, FileProblem> {
        let source = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
        let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
        let container =
            symphonia::default::get_probe().probe(&Hint::new(), source, format, metadata).map_err(failure)?;
        let track =
            container.default_track(TrackType::Audio).ok_or_else(|| malformed("it has no audio track"))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| malformed("its codec is unknown"))?;
        // Gapless decoding drops the delay and the padding of the encoder, which are not part of the
        // recording.
        let options = AudioDecoderOptions::default().gapless(true);
        let decoder = CODECS.make_audio_decoder(parameters, &options).map_err(failure)?;
        let (track_id, declared) = (track.id, declared_samples(bytes, track));
        let recording = Recording { sample_rate_hz: 0, channels: Vec::new() };
        Ok(Self { container, decoder, track_id, declared, limit, block: Vec::new(), recording })
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
        match self.declared {
            Some(declared) if declared > present => {
                Err(FileProblem::Truncated { declared, present, unit: "samples" })
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
            return Err(malformed("its sample rate or number of channels changes within the file"));
        }
        for (channel, block) in recording.channels.iter_mut().zip(&self.block) {
            channel.extend_from_slice(block);
        }
        let samples = channels * recording.channels[0].len();
        if samples > self.limit { Err(FileProblem::TooLong { limit: self.limit }) } else { Ok(()) }
    }
}

/// Returns the number of samples that the container declares: FLAC in its header, MP3 in its gapless
/// information.
///
/// Other containers return `None`. In Ogg the number comes from the last page that is present, so it cannot
/// reveal a missing end; WAV files have been checked before, by their own header.
fn declared_samples(bytes: &[u8], track: &Track) -> Option<u64> {
    let known = bytes.starts_with(b"fLaC") || (track.delay.is_some() && !bytes.starts_with(b"OggS"));
    track.num_frames.filter(|_| known)
}

/// Refuses samples that are not valid.
fn check_samples(recording: &Recording) -> Result<(), FileProblem> {
    for (channel, samples) in recording.channels.iter().enumerate() {
        if let Some(index) = samples.iter().position(|value| !is_valid_sample(*value)) {
            return Err(FileProblem::NotASample { index, channel, value: samples[index] });
        }
    }
    Ok(())
}

/// Converts an error of symphonia.
fn failure(error: Error) -> FileProblem {
    match error {
        Error::ResetRequired => malformed("several recordings in one file are not supported"),
        error => malformed(&error.to_string()),
    }
}

fn malformed(reason: &str) -> FileProblem {
    FileProblem::Malformed { reason: reason.to_owned() }
}
