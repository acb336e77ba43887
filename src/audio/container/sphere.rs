//! Reader of NIST SPHERE with uncompressed samples.
//!
//! Input: the bytes of a file: a header of text, then samples.
//! Output: a [`Decoded`].
//! Invariants: an encoding that is not supported is refused by its name.

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::pcm::{Layout, Numbers};
use super::recorder::Recorder;
use super::{Decoded, malformed, tags, unsupported};

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let length =
        bytes.head(16).get(8..).map(|length| String::from_utf8_lossy(length).trim().parse::<usize>());
    let Some(Ok(length)) = length else { return Err(malformed("its header declares no length")) };
    if length > bytes.len() {
        return Err(malformed("the file ends within its header"));
    }
    let (header, audio) = (bytes.head(length.min(1 << 16)), bytes.behind(length));
    let header = String::from_utf8_lossy(&header);
    let coding = text(&header, "sample_coding").unwrap_or("pcm");
    let numbers = match coding {
        "pcm" => Numbers::Signed,
        "ulaw" | "mu-law" => Numbers::MuLaw,
        "alaw" => Numbers::ALaw,
        other => return Err(unsupported(format!("NIST SPHERE with the encoding \"{other}\""))),
    };
    let width = number(&header, "sample_n_bytes").unwrap_or(if coding == "pcm" { 2 } else { 1 });
    let layout = Layout {
        numbers,
        bytes: width.clamp(1, 8),
        big_endian: text(&header, "sample_byte_format")
            .is_some_and(|order| order.starts_with('1') && width > 1),
        shift: 0,
        rate_hz: number(&header, "sample_rate").and_then(|rate| rate.try_into().ok()).unwrap_or(0),
        channels: number(&header, "channel_count").unwrap_or(1),
    };
    let frames = number(&header, "sample_count").unwrap_or(0);
    let promised = frames.saturating_mul(layout.bytes).saturating_mul(layout.channels);
    if promised > audio.len() && promised < 1 << 30 {
        let (declared, present) = (promised as u64, audio.len() as u64);
        return Err(FileProblem::Truncated { declared, present, unit: "bytes" });
    }
    let is_promised = (1..=audio.len()).contains(&promised) && tags::only_tags(&audio.behind(promised));
    layout.decode(&if is_promised { audio.first(promised) } else { audio }, recorder).await
}

/// Returns the value of a field, which stands behind its name and its type.
fn text<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header
        .lines()
        .map(|line| line.split_whitespace())
        .find_map(|mut words| if words.next() == Some(name) { words.nth(1) } else { None })
}

fn number(header: &str, name: &str) -> Option<usize> {
    text(header, name)?.parse().ok()
}
