//! Parser of the header `content-type` of audio without an `AudioChunk` message.
//!
//! Input: a media type: RFC 2586 (`audio/L16`), RFC 4856 (`audio/PCMU`, `audio/PCMA`), RFC 2046
//! (`audio/basic`), or the media type of a file format.
//! Output: an [`AudioFormat`], or [`BadAudio::ContentType`] with the reason and the allowed values.

use mime::Mime;

use super::{AudioFormat, BadAudio, Encoding};
use crate::telemetry::excerpt;

const ALLOWED: &str = "allowed are audio/L16, audio/PCMU, audio/PCMA, audio/basic, audio/wav, audio/flac, audio/mpeg, audio/ogg, audio/webm, audio/mp4, audio/aac, audio/aiff, audio/x-caf, audio/x-au";

/// The subtypes of files, in lower case. The contents of a file decide how it is decoded.
const FILES: [&str; 41] = [
    "wav",
    "wave",
    "x-wav",
    "x-pn-wav",
    "vnd.wave",
    "rf64",
    "x-w64",
    "flac",
    "x-flac",
    "mpeg",
    "mp3",
    "x-mp3",
    "mpeg3",
    "x-mpeg",
    "mpa",
    "mp2",
    "ogg",
    "x-ogg",
    "opus",
    "vorbis",
    "webm",
    "matroska",
    "x-matroska",
    "mp4",
    "m4a",
    "x-m4a",
    "mp4a-latm",
    "aac",
    "x-aac",
    "aacp",
    "x-hx-aac-adts",
    "aiff",
    "x-aiff",
    "aifc",
    "x-aifc",
    "au",
    "x-au",
    "x-caf",
    "caf",
    "sph",
    "x-nist",
];

/// Parses the value of a `content-type` header. See [`AudioFormat::from_content_type`] for what is allowed.
pub(super) fn parse(header: &str) -> Result<AudioFormat, BadAudio> {
    read(header).map_err(|reason| BadAudio::ContentType { value: header.to_owned(), reason })
}

fn read(header: &str) -> Result<AudioFormat, String> {
    let media: Mime = header.trim().parse().map_err(|error| format!("{error}; {ALLOWED}"))?;
    // Browsers and servers declare some containers without regard to what is in them.
    if matches!(media.essence_str(), "video/webm" | "video/mp4" | "application/ogg") {
        return Ok(AudioFormat::FILE);
    }
    if media.type_() != mime::AUDIO {
        return Err(format!("not audio, {ALLOWED}"));
    }
    // Media types are case-insensitive (RFC 2045); RFC 2586 itself writes `L16` in capitals.
    let (encoding, default_rate_hz) = match media.subtype().as_str().to_ascii_lowercase().as_str() {
        "l16" => (linear_16(&media)?, None),
        // RFC 2046: µ-law at 8,000 Hz, one channel.
        "pcmu" | "basic" | "x-mulaw" | "mulaw" | "x-ulaw" => (Encoding::MuLaw, Some(8_000)),
        "pcma" | "x-alaw" | "alaw" => (Encoding::ALaw, Some(8_000)),
        subtype if FILES.contains(&subtype) => return Ok(AudioFormat::FILE),
        _ => return Err(format!("unknown, {ALLOWED}")),
    };
    let rate_hz = number(&media, "rate")?.or(default_rate_hz);
    let rate_hz = rate_hz.ok_or("rate is missing, as in audio/L16;rate=16000")?;
    let channels = number(&media, "channels")?.unwrap_or(1);
    AudioFormat::new(encoding, rate_hz, channels).map_err(|error| error.to_string())
}

/// Returns the encoding of `audio/L16`. RFC 2586 defines network byte order; the parameter `endianness` is an
/// extension for producers that send the byte order of their CPU.
fn linear_16(media: &Mime) -> Result<Encoding, String> {
    match media.get_param("endianness").map(|value| value.as_str().to_ascii_lowercase()).as_deref() {
        None | Some("big-endian") => Ok(Encoding::PcmS16Be),
        Some("little-endian") => Ok(Encoding::PcmS16Le),
        Some(other) => {
            Err(format!("endianness = {}: allowed is big-endian or little-endian", excerpt(other)))
        }
    }
}

/// Returns a parameter of the media type as a whole number; `None` where it is missing.
fn number(media: &Mime, key: &str) -> Result<Option<u32>, String> {
    let Some(value) = media.get_param(key) else { return Ok(None) };
    value
        .as_str()
        .parse()
        .map(Some)
        .map_err(|_| format!("{key} = {}: allowed is a whole number", excerpt(value.as_str())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn supported_headers() {
        let of = |encoding, rate, channels| AudioFormat::new(encoding, rate, channels);
        for (header, expected) in [
            ("audio/L16;rate=16000;channels=1", of(Encoding::PcmS16Be, 16_000, 1)),
            ("audio/l16; rate=44100; channels=2", of(Encoding::PcmS16Be, 44_100, 2)),
            ("audio/L16;rate=16000;endianness=little-endian", of(Encoding::PcmS16Le, 16_000, 1)),
            ("Audio/L16;RATE=\"16000\";endianness=big-endian", of(Encoding::PcmS16Be, 16_000, 1)),
            ("audio/PCMU", of(Encoding::MuLaw, 8_000, 1)),
            ("audio/pcma;rate=16000;channels=2", of(Encoding::ALaw, 16_000, 2)),
            ("audio/basic", of(Encoding::MuLaw, 8_000, 1)),
            ("audio/x-mulaw;rate=16000", of(Encoding::MuLaw, 16_000, 1)),
            ("audio/x-alaw", of(Encoding::ALaw, 8_000, 1)),
            ("audio/wav", Ok(AudioFormat::FILE)),
            ("audio/x-wav", Ok(AudioFormat::FILE)),
            ("audio/mpeg", Ok(AudioFormat::FILE)),
            ("audio/ogg; codecs=opus", Ok(AudioFormat::FILE)),
            ("audio/webm;codecs=opus", Ok(AudioFormat::FILE)),
            ("audio/opus", Ok(AudioFormat::FILE)),
            ("application/ogg", Ok(AudioFormat::FILE)),
            ("video/webm", Ok(AudioFormat::FILE)),
            ("Audio/X-M4A", Ok(AudioFormat::FILE)),
            ("audio/aac", Ok(AudioFormat::FILE)),
            ("audio/x-aiff", Ok(AudioFormat::FILE)),
            ("audio/x-caf", Ok(AudioFormat::FILE)),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    #[test]
    fn refused_headers_give_the_reason() {
        for (header, part) in [
            ("", "allowed are audio/L16"),
            ("audio", "allowed are audio/L16"),
            ("text/plain", "not audio"),
            ("audio/amr", "unknown"),
            ("audio/L16", "rate is missing"),
            ("audio/L16;rate=fast", "rate = fast"),
            ("audio/L16;rate=4000", "sample_rate_hz = 4000"),
            ("audio/L16;rate=16000;channels=9", "channels = 9"),
            ("audio/L16;rate=16000;endianness=middle", "endianness = middle"),
        ] {
            let message = parse(header).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(header), "{header}: {message}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "\\PC{0,40}", parameters in "(;[a-z]{1,8}=\\PC{0,8}){0,3}") {
            let _ = parse(&header);
            if let Ok(format) = parse(&format!("audio/L16{parameters}")) {
                prop_assert!(super::super::SAMPLE_RATES_HZ.contains(&format.sample_rate_hz()));
            }
        }
    }
}
