//! Reader of MPEG audio of layers I to III, which has no container: frames follow each other.
//!
//! Input: the bytes of a file, or of the data chunk of a WAV file.
//! Output: a [`Decoded`].
//! Invariants: every frame up to the end of the data is decoded, whatever a tag declares. The tag of LAME removes
//! the delay of the encoder at the start, and the padding at the end only where its counts agree with the file.

use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::mpeg_header::{FrameFormat, FrameHeader};
use super::mpeg_tag::Tag;
use super::packets::Packets;
use super::recorder::{Recorder, format_change};
use super::{Decoded, malformed, tags, unsupported};

/// Samples that every decoder of layer III delays its output by.
const DECODER_DELAY: usize = 529;
/// Frames in a row that identify MPEG audio behind other bytes.
const RUN: usize = 3;
/// Frames at the start of a run that may refer to bytes before it (the bit reservoir has 511 bytes).
const RESERVOIR_FRAMES: usize = 24;

/// The bytes that show whether a run of frames begins: more than [`RUN`] frames, and the header of a tag behind them.
const REACH: usize = 1 << 14;
/// Bytes of a frame's header.
const HEADER: usize = 4;

/// Returns whether `bytes` begin with frames.
pub(super) fn begins(bytes: &[u8]) -> bool {
    FrameHeader::read(bytes).is_some_and(|header| {
        if header.bytes == 0 { is_free_run(bytes, header.format) } else { is_run(bytes, header.format, 2) }
    })
}

/// Returns whether `bytes` begin with two frames of a free bit rate: those of one recording have one length, give or take a slot of padding.
fn is_free_run(bytes: &[u8], format: FrameFormat) -> bool {
    let is_frame = |at: usize| {
        let header = bytes.get(at..).and_then(FrameHeader::read);
        header.is_some_and(|header| header.bytes == 0 && header.format == format)
    };
    let longest = bytes.len() / 2;
    (4..longest).any(|length| is_frame(length) && (2 * length - 4..=2 * length + 4).any(is_frame))
}

/// Returns whether frames occur in `bytes`.
pub(super) fn occurs(bytes: &FileBytes) -> bool {
    find(bytes, None).is_some()
}

/// Decodes frames into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let mut start = 0;
    while let length @ 1.. = tags::tag_of(&bytes.behind(start)) {
        start += length;
    }
    let rest = bytes.behind(start);
    let Some(first) = find(&rest, None) else {
        let header = FrameHeader::read(&rest.head(HEADER));
        if header.is_some_and(|header| header.bytes == 0 && begins(&rest.head(REACH))) {
            return Err(unsupported("MPEG audio with a free bit rate"));
        }
        return Err(malformed("it holds no MPEG audio frames"));
    };
    let start = start + first;
    let header = FrameHeader::read(&bytes.behind(start).head(HEADER));
    let format = header.ok_or_else(|| malformed("it holds no MPEG audio frames"))?.format;
    let mut frames = Frames::new(format, start, recorder)?;
    frames.read(bytes).await?;
    frames.finish(bytes)
}

/// Returns the position of the first frames, of the given format or of any.
fn find(bytes: &FileBytes, format: Option<FrameFormat>) -> Option<usize> {
    bytes.position(REACH, |bytes| {
        let header = FrameHeader::read(bytes);
        header.is_some_and(|header| {
            format.is_none_or(|format| format == header.format) && is_run(bytes, header.format, RUN)
        })
    })
}

/// Returns whether `bytes` begin with at least `count` frames of one format, or with fewer up to their end or up
/// to a tag.
fn is_run(bytes: &[u8], format: FrameFormat, count: usize) -> bool {
    let mut rest = bytes;
    for index in 0..count {
        if index > 0 && (rest.is_empty() || tags::tag(rest) > 0) {
            return true;
        }
        let header = FrameHeader::read(rest).filter(|header| header.format == format && header.bytes > 4);
        let Some(behind) = header.and_then(|header| rest.get(header.bytes..)) else { return false };
        rest = behind;
    }
    true
}

/// The state of one decoding.
struct Frames {
    packets: Packets,
    recorder: Recorder,
    format: FrameFormat,
    /// The position of the next frame.
    at: usize,
    /// The position of the first frame.
    first: usize,
    /// The end of the last frame.
    end: usize,
    /// Frames that hold audio.
    count: usize,
    /// Frames since the last interruption.
    since_gap: usize,
    /// The tag in the first frame.
    tag: Option<Tag>,
}

impl Frames {
    fn new(format: FrameFormat, first: usize, recorder: Recorder) -> Result<Self, FileProblem> {
        let codec = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3][usize::from(format.layer) - 1];
        let packets = Packets::new(codec, (format.rate_hz, if format.is_mono { 1 } else { 2 }), &[])?;
        Ok(Self {
            packets,
            recorder,
            format,
            at: first,
            first,
            end: first,
            count: 0,
            since_gap: 0,
            tag: None,
        })
    }

    /// Reads frames up to the end of the data.
    async fn read(&mut self, bytes: &FileBytes) -> Result<(), FileProblem> {
        while self.at < bytes.len() {
            let rest = bytes.behind(self.at);
            match FrameHeader::read(&rest.head(HEADER)).filter(|header| header.bytes > 4) {
                Some(header)
                    if header.format != self.format && is_run(&rest.head(REACH), header.format, RUN) =>
                {
                    return Err(format_change());
                }
                Some(header) if header.format == self.format && rest.len() >= header.bytes => {
                    self.frame(&header, &rest.head(header.bytes)).await?;
                }
                _ => self.skip(&rest)?,
            }
        }
        Ok(())
    }

    async fn frame(&mut self, header: &FrameHeader, frame: &[u8]) -> Result<(), FileProblem> {
        let position = self.at;
        self.at += frame.len();
        self.end = self.at;
        if let Some(tag) = Tag::read(header, frame) {
            // Joined files have a tag in the middle too, which is as little audio as the first one.
            if position == self.first {
                self.tag = Some(tag);
            }
            self.since_gap = 0;
            return Ok(());
        }
        self.count += 1;
        self.since_gap += 1;
        match self.packets.decode(frame) {
            Ok(block) => self.recorder.append(block.rate_hz, block.channels).await,
            // The data of a frame may begin in frames before it, which a cut has removed. Such frames become
            // silence, so that the rest keeps its position.
            Err(_) if self.since_gap <= RESERVOIR_FRAMES => self.lost().await,
            Err(FileProblem::Malformed { reason }) => {
                Err(malformed(&format!("{reason}, in the frame at byte {position}")))
            }
            Err(problem) => Err(problem),
        }
    }

    /// Appends the silence of one frame.
    async fn lost(&mut self) -> Result<(), FileProblem> {
        if self.recorder.frames() > 0 {
            return self.recorder.append_silence(self.format.samples()).await;
        }
        let silence = vec![vec![0.0; self.format.samples()]; if self.format.is_mono { 1 } else { 2 }];
        self.recorder.append(self.format.rate_hz, &silence).await
    }

    /// Skips bytes that are no frame: tags and padding, and what is left of a frame where files were joined.
    fn skip(&mut self, rest: &FileBytes) -> Result<(), FileProblem> {
        let tag = tags::tag_of(rest);
        if tag > 0 {
            self.at += tag;
            return Ok(());
        }
        let Some(next) = find(rest, Some(self.format)) else {
            self.at += rest.len();
            return self.check_end(rest);
        };
        let is_text = |byte: u8| byte == 0 || byte.is_ascii_whitespace() || byte.is_ascii_graphic();
        let is_text = rest.first(next).position(1, |bytes| !is_text(bytes[0])).is_none();
        if !is_text && !self.is_start(rest, next) {
            return Err(malformed(&format!(
                "the {next} bytes at byte {} are no MPEG audio frame, and frames follow them",
                self.at
            )));
        }
        self.at += next;
        self.since_gap = 0;
        Ok(())
    }

    /// Returns whether a file begins at `next`: with the frame of a tag, or behind a tag.
    fn is_start(&self, rest: &FileBytes, next: usize) -> bool {
        let skipped = rest.first(next);
        let mut at = 0;
        let mut tagged = false;
        while let Some(found) = skipped.behind(at).position(10, |bytes| tags::id3v2(bytes) > 0) {
            at += found;
            tagged |= at + tags::id3v2(&skipped.behind(at).head(10)) <= next;
            at += 1;
        }
        let frame = rest.behind(next).head(REACH);
        let header = FrameHeader::read(&frame).filter(|header| header.bytes <= frame.len());
        tagged || header.is_some_and(|header| Tag::read(&header, &frame[..header.bytes]).is_some())
    }

    /// Refuses a frame that the end of the file cuts. Other bytes behind the last frame are no audio.
    fn check_end(&mut self, rest: &FileBytes) -> Result<(), FileProblem> {
        // The bytes behind all earlier positions are more than those of a frame.
        let last = rest.behind(rest.len().saturating_sub(REACH)).head(REACH);
        let cut = (0..last.len()).find_map(|at| {
            let header = FrameHeader::read(&last[at..])?;
            let present = last.len() - at;
            (header.format == self.format && header.bytes > present).then_some((header, present))
        });
        // A header that is incomplete itself has at least its first byte.
        let is_part = rest.len() < HEADER && last.first() == Some(&0xff);
        let Some((header, present)) = cut else {
            return if is_part { Err(malformed("it ends within a frame header")) } else { Ok(()) };
        };
        if let Some(declared) = self.declared() {
            let present = self.trimmed(true) as u64;
            return Err(FileProblem::Truncated { declared: declared as u64, present, unit: "samples" });
        }
        Err(FileProblem::Truncated {
            declared: header.bytes as u64,
            present: present as u64,
            unit: "bytes in its last frame",
        })
    }

    /// Returns the samples per channel that the tag declares, without delay and padding.
    fn declared(&self) -> Option<usize> {
        let tag = self.tag?;
        let (delay, padding) = tag.padding.unwrap_or((0, 0));
        let frames = tag.frames.filter(|frames| *frames as usize > self.count)?;
        (frames as usize * self.format.samples()).checked_sub(delay + padding)
    }

    /// Returns the samples per channel that were decoded, without the delay.
    fn trimmed(&self, has_delay: bool) -> usize {
        let delay = self.tag.and_then(|tag| tag.padding).filter(|_| has_delay).map_or(0, |(delay, _)| delay);
        self.recorder.frames().saturating_sub(delay + DECODER_DELAY)
    }

    /// Removes what the tag proves to be no audio.
    fn finish(mut self, bytes: &FileBytes) -> Result<Decoded, FileProblem> {
        let Some(tag) = self.tag else { return self.recorder.finish() };
        // The bytes of a tag that was completed end with the last frame.
        let span = (self.end - self.first) as u64;
        let promised = tag.bytes.map(u64::from);
        let frames = tag.frames.map(|frames| frames as usize);
        let is_short = promised.is_none_or(|promised| promised > (bytes.len() - self.first) as u64);
        if let Some(declared) = self.declared().filter(|_| is_short) {
            let present = self.trimmed(true) as u64;
            return Err(FileProblem::Truncated { declared: declared as u64, present, unit: "samples" });
        }
        if let Some((delay, padding)) = tag.padding {
            // A count of zero contradicts every file that holds audio.
            let agrees = frames == Some(self.count) || (promised == Some(span) && frames != Some(0));
            let end = if agrees { padding.saturating_sub(DECODER_DELAY) } else { 0 };
            self.recorder.trim(delay + DECODER_DELAY, end);
        }
        self.recorder.finish()
    }
}
