//! The names that services and clients give to encodings of samples.
//!
//! Input: a name. Output: the encoding. Pure.

use crate::audio::Encoding;

/// Returns the encoding with this name, in any case and also as a media type; `None` where it is not supported.
pub(super) fn encoding(name: &str) -> Option<Encoding> {
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_prefix("audio/").unwrap_or(&name);
    match name.strip_prefix("x-").unwrap_or(name) {
        "linear16" | "l16" | "slin" | "pcm" | "lpcm" => Some(Encoding::PcmS16Le),
        "mulaw" | "mu-law" | "ulaw" | "pcmu" | "basic" => Some(Encoding::MuLaw),
        "alaw" | "a-law" | "pcma" => Some(Encoding::ALaw),
        _ => None,
    }
}
