//! Reader of the Core Audio Format.
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`].
//! Invariants: an encoding that is not supported is refused by its name.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::caf_packets::{self, Chunks, Description};
use super::pcm::{Layout, Numbers};
use super::recorder::Recorder;
use super::{Decoded, malformed, tags, unsupported};

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let mut rest = bytes.behind(8);
    let mut declared_format = None;
    loop {
        let Some((id, declared)) = chunk(&rest) else {
            return Err(malformed("the file ends before its data chunk"));
        };
        let behind = rest.behind(12);
        let length = usize::try_from(declared).unwrap_or(usize::MAX);
        match &id {
            b"desc" => declared_format = Some(description(&behind.head(32))?),
            b"data" => {
                let description =
                    declared_format.ok_or_else(|| malformed("its data chunk comes before its desc chunk"))?;
                // A length of -1 means up to the end of the file; zero is what a recorder writes in advance.
                let is_placeholder = declared <= 0 || declared >= 1 << 30;
                let is_whole = declared > 0 && length <= behind.len();
                if !is_whole && !is_placeholder {
                    let present = behind.len() as u64;
                    return Err(FileProblem::Truncated { declared: length as u64, present, unit: "bytes" });
                }
                let audio = if is_whole { behind.first(length) } else { behind.clone() };
                let behind = behind.behind(audio.len());
                if !are_chunks(&behind) {
                    return Err(malformed(&format!(
                        "its header declares {} bytes of audio, and {} bytes that are no chunk follow them",
                        audio.len().saturating_sub(4),
                        behind.len()
                    )));
                }
                // A number of edits of four bytes precedes the samples.
                let audio = audio.behind(4);
                if !caf_packets::is_supported(description.code) {
                    return layout(&description)?.decode(&audio, recorder).await;
                }
                let chunks =
                    Chunks { configuration: contents(bytes, b"kuki"), table: contents(bytes, b"pakt") };
                return caf_packets::decode(&description, &chunks, &audio, recorder).await;
            }
            _ => {}
        }
        rest = behind.behind(length);
    }
}

/// Returns the contents of the first chunk of a kind; no bytes where there is none.
fn contents(bytes: &FileBytes, kind: &[u8; 4]) -> FileBytes {
    let mut rest = bytes.behind(8);
    while let Some((id, declared)) = chunk(&rest) {
        let (behind, length) = (rest.behind(12), usize::try_from(declared).unwrap_or(usize::MAX));
        if id == *kind {
            return behind.first(length);
        }
        rest = behind.behind(length);
    }
    bytes.first(0)
}

/// Returns whether `bytes` are empty or hold chunks, tags or zeros up to their end, and no second recording.
fn are_chunks(bytes: &FileBytes) -> bool {
    let mut rest = bytes.clone();
    while !tags::only_tags(&rest) {
        let Some((id, declared)) = chunk(&rest) else { return false };
        let behind = rest.behind(12);
        let is_text = id.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        let length = usize::try_from(declared).ok().filter(|length| *length <= behind.len());
        let (true, Some(length)) = (is_text, length) else { return false };
        if [b"data", b"caff", b"desc"].contains(&&id) {
            return false;
        }
        rest = behind.behind(length);
    }
    true
}

/// Returns the identifier and the declared length of the chunk at the beginning of `bytes`; `None` where less than a header is left.
fn chunk(bytes: &FileBytes) -> Option<([u8; 4], i64)> {
    let head = bytes.head(12);
    Some((*head.first_chunk()?, i64::from_be_bytes(*head.last_chunk().filter(|_| head.len() == 12)?)))
}

/// Reads a desc chunk.
fn description(body: &[u8]) -> Result<Description, FileProblem> {
    let body = body.first_chunk::<32>().ok_or_else(|| malformed("its desc chunk is too short"))?;
    let (words, _) = body.as_chunks::<4>();
    let word = |index: usize| u32::from_be_bytes(words[index]);
    Ok(Description {
        rate_hz: body.first_chunk().map_or(0.0, |rate| f64::from_be_bytes(*rate)).round() as u32,
        code: words[2],
        flags: word(3),
        packet_bytes: word(4),
        packet_frames: word(5),
        channels: word(6),
        bits: word(7),
    })
}

/// Returns the layout of samples that are not compressed.
fn layout(description: &Description) -> Result<Layout, FileProblem> {
    let Description { rate_hz, code, flags, channels, bits, .. } = *description;
    let bytes = bits.div_ceil(8) as usize;
    let (numbers, bytes) = match &code {
        b"lpcm" if flags & 1 != 0 => (Numbers::Float, bytes),
        b"lpcm" => (Numbers::Signed, bytes),
        b"ulaw" => (Numbers::MuLaw, 1),
        b"alaw" => (Numbers::ALaw, 1),
        other => return Err(unsupported(format!("CAF with the encoding \"{}\"", other.escape_ascii()))),
    };
    if bytes == 0 {
        return Err(malformed("its desc chunk declares samples of 0 bits"));
    }
    // Bytes of a packet that exceed those of its samples are padding of a kind that is not known here.
    let packet = description.packet_bytes as usize;
    if packet != bytes.saturating_mul(channels as usize) {
        return Err(unsupported(format!("CAF with {packet} bytes for {channels} samples of {bits} bits")));
    }
    let big_endian = flags & 2 == 0;
    Ok(Layout { numbers, bytes, big_endian, shift: 0, rate_hz, channels: channels as usize })
}
