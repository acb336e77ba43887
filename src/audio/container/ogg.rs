//! Reader of Ogg with Vorbis, Opus or FLAC, also of several recordings in a row (chained streams).
//!
//! Input: the bytes of a file.
//! Output: a [`Decoded`]; recordings in a row that have one format are joined.
//! Invariants: every packet up to the end of the data is decoded. A flag for the end of the stream is not
//! needed. Padding at the end is removed only where that flag and the positions of the pages prove it.

use std::borrow::Cow;

use super::super::FileProblem;
use super::super::file_bytes::FileBytes;
use super::granules::Granules;
use super::ogg_page::{LONGEST, NoPage, Page};
use super::packets::Packets;
use super::recorder::{Recorder, check_format};
use super::{Decoded, flac, malformed, unsupported};

use symphonia::core::codecs::audio::well_known::CODEC_ID_VORBIS;

/// Decodes a file into `recorder`.
///
/// # Errors
/// The problem of the file.
pub(super) async fn decode(bytes: &FileBytes, recorder: Recorder) -> Result<Decoded, FileProblem> {
    let mut file = File { recorder, stream: None, others: Vec::new(), is_headless: false };
    let mut at = 0;
    let mut is_gap = false;
    while at < bytes.len() {
        let rest = bytes.behind(at);
        match Page::read(&rest.head(LONGEST)) {
            Ok(page) => {
                file.page(&page, is_gap).await?;
                at += page.bytes;
                is_gap = false;
            }
            Err(NoPage::Damaged) => {
                return Err(malformed(&format!("the checksum of the Ogg page at byte {at} is wrong")));
            }
            Err(NoPage::Cut) => {
                return Err(malformed(&format!("the file ends within the Ogg page at byte {at}")));
            }
            Err(NoPage::Other) => {
                // The bytes may begin with the mark of a page and belong to none, so the search begins behind them.
                let next = rest.behind(1).position(4, |bytes| bytes.starts_with(b"OggS"));
                at = next.map_or(bytes.len(), |next| at + 1 + next);
                is_gap = true;
            }
        }
    }
    file.end_stream()?;
    if let (0, Some(name)) = (file.recorder.frames(), file.others.first()) {
        return Err(unsupported(format!("{name} in Ogg")));
    }
    if file.is_headless {
        return Err(malformed(
            "it has Ogg pages without the header of their stream: its beginning is missing",
        ));
    }
    file.recorder.finish()
}

/// The state of the file.
struct File {
    recorder: Recorder,
    /// The stream that is being decoded.
    stream: Option<Stream>,
    /// The names of streams that are not decoded: pictures, indexes and codecs that are not supported.
    others: Vec<Cow<'static, str>>,
    /// Whether pages precede the first header.
    is_headless: bool,
}

impl File {
    /// Reads one page. `is_gap` states whether bytes that are no page precede it.
    async fn page(&mut self, page: &Page<'_>, is_gap: bool) -> Result<(), FileProblem> {
        if page.is_first {
            return self.begin_stream(page).await;
        }
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.serial == page.serial) else {
            self.is_headless |= self.stream.is_none() && self.others.is_empty();
            return Ok(());
        };
        stream.check_sequence(page, is_gap)?;
        stream.read(page, &mut self.recorder).await
    }

    /// Begins a stream with its first page. A stream that was decoded so far ends.
    async fn begin_stream(&mut self, page: &Page<'_>) -> Result<(), FileProblem> {
        let head = page.packets().next().map_or(&[][..], |(packet, _)| packet);
        let Some(stream) = Stream::begin(page, head)? else {
            self.others.push(name(head));
            return Ok(());
        };
        if self.stream.as_ref().is_some_and(|stream| !stream.has_audio) {
            return Err(malformed("several recordings side by side in one file are not supported"));
        }
        self.end_stream()?;
        self.stream.insert(stream).read(page, &mut self.recorder).await
    }

    fn end_stream(&mut self) -> Result<(), FileProblem> {
        let Some(stream) = self.stream.take() else { return Ok(()) };
        if !stream.part.is_empty() {
            return Err(malformed("an Ogg stream ends within a packet"));
        }
        self.recorder.trim(0, stream.padding);
        Ok(())
    }
}

/// What the packets of a stream hold.
#[derive(Clone, Copy, PartialEq)]
enum Codec {
    Vorbis,
    Opus,
    Flac,
}

/// One logical stream.
struct Stream {
    codec: Codec,
    serial: u32,
    sequence: u32,
    /// The header packets that are still to come.
    headers: usize,
    /// The identification header, with the setup header of Vorbis behind it.
    header: Vec<u8>,
    /// The decoder, once the headers are complete.
    packets: Option<Packets>,
    /// The beginning of a packet that the next page continues.
    part: Vec<u8>,
    /// Samples per channel at the start that the codec drops, which positions count.
    skipped: usize,
    /// Samples per channel of the file when the stream began.
    start: usize,
    granules: Granules,
    /// Samples at the end that are padding.
    padding: usize,
    has_audio: bool,
}

impl Stream {
    /// Creates the state of a stream; `None` where its codec is not supported.
    fn begin(page: &Page<'_>, head: &[u8]) -> Result<Option<Self>, FileProblem> {
        let (codec, headers, header) = match head {
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => (Codec::Vorbis, 3, head),
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => (Codec::Opus, 2, head),
            _ if let Some((headers, info)) = flac_header(head) => (Codec::Flac, headers, info),
            _ => return Ok(None),
        };
        if codec == Codec::Vorbis {
            check_vorbis_header(head)?;
        }
        let skip =
            head.get(10..12).and_then(|skip| skip.first_chunk()).map_or(0, |skip| u16::from_le_bytes(*skip));
        Ok(Some(Self {
            codec,
            serial: page.serial,
            sequence: page.sequence,
            headers,
            header: header.to_vec(),
            packets: None,
            part: Vec::new(),
            skipped: if codec == Codec::Opus { usize::from(skip) } else { 0 },
            start: 0,
            granules: Granules::default(),
            padding: 0,
            has_audio: false,
        }))
    }

    /// Refuses a page whose number shows that pages before it are missing.
    fn check_sequence(&mut self, page: &Page<'_>, is_gap: bool) -> Result<(), FileProblem> {
        let expected = self.sequence.wrapping_add(1);
        self.sequence = page.sequence;
        // Servers send the headers to every listener, and then the pages of the present.
        if self.headers == 0 && !self.has_audio {
            return Ok(());
        }
        // Some programs number all pages alike, and a number that goes back shows nothing.
        if page.sequence > expected || (is_gap && page.sequence != expected) {
            return Err(malformed(&format!(
                "Ogg pages are missing: page {expected} is followed by page {}",
                page.sequence
            )));
        }
        Ok(())
    }

    /// Decodes the packets of a page.
    async fn read(&mut self, page: &Page<'_>, recorder: &mut Recorder) -> Result<(), FileProblem> {
        let before = recorder.frames();
        if !page.is_continued && !self.part.is_empty() {
            return Err(malformed("an Ogg packet has no end"));
        }
        // A recording that was cut at its start may begin with the end of a packet.
        let is_rest = page.is_continued && self.part.is_empty();
        for (index, (packet, is_whole)) in page.packets().enumerate() {
            if is_rest && index == 0 {
                continue;
            }
            if is_whole && self.part.is_empty() {
                self.packet(packet, recorder).await?;
                continue;
            }
            self.part.extend_from_slice(packet);
            if is_whole {
                let packet = std::mem::take(&mut self.part);
                self.packet(&packet, recorder).await?;
            }
        }
        self.position(page, recorder.frames(), recorder.frames() - before);
        Ok(())
    }

    /// Records the position of a page behind which `frames` samples per channel are decoded, `on_page` of them
    /// from the page.
    fn position(&mut self, page: &Page<'_>, frames: usize, on_page: usize) {
        let Some(granule) = page.granule.filter(|_| self.has_audio) else { return };
        let decoded = frames - self.start;
        let position = granule.saturating_sub(self.skipped as i64);
        if page.is_last {
            self.padding = self.granules.padding(position, decoded, on_page);
        } else {
            self.granules.record(position, decoded);
        }
    }

    async fn packet(&mut self, packet: &[u8], recorder: &mut Recorder) -> Result<(), FileProblem> {
        if self.headers > 0 {
            self.headers -= 1;
            if self.codec == Codec::Vorbis && self.headers == 0 {
                self.header.extend_from_slice(packet);
            }
            return Ok(());
        }
        // Empty packets are allowed, and FLAC may announce fewer headers than it has.
        if packet.is_empty() || (self.codec == Codec::Flac && packet[0] != 0xff) {
            return Ok(());
        }
        if self.packets.is_none() {
            self.packets = Some(match self.codec {
                Codec::Vorbis => Packets::new(CODEC_ID_VORBIS, (48_000, 1), &self.header)?,
                Codec::Opus => Packets::opus(&self.header)?,
                Codec::Flac => flac::decoder(&self.header)?,
            });
            self.start = recorder.frames();
            self.has_audio = true;
        }
        let Some(packets) = &mut self.packets else { return Ok(()) };
        let block = packets.decode(packet)?;
        recorder.append(block.rate_hz, block.channels).await
    }
}

/// Returns the number of headers of a FLAC stream and the first of them: a mark and two numbers for the version precede the number of the further
/// ones, which is zero where it is unknown.
fn flac_header(head: &[u8]) -> Option<(usize, &[u8])> {
    let (further, rest) = head.strip_prefix(b"\x7fFLAC")?.get(2..)?.split_first_chunk()?;
    let info = rest.strip_prefix(b"fLaC")?.get(4..)?;
    Some((1 + usize::from(u16::from_be_bytes(*further)), info))
}

/// Checks the rate and the channels in the first header of a Vorbis stream.
fn check_vorbis_header(head: &[u8]) -> Result<(), FileProblem> {
    let channels = head.get(11).map_or(0, |channels| usize::from(*channels));
    let rate = head.get(12..16).and_then(|rate| rate.first_chunk());
    check_format(rate.map_or(0, |rate| u32::from_le_bytes(*rate)), channels)?;
    check_vorbis_channels(channels)
}

/// Refuses Vorbis of more than two channels: symphonia 0.6.1 undoes the coupling steps of a mapping in ascending
/// order, and the specification (section 4.3.5) prescribes the descending one. The order matters from three
/// channels on, where a channel may be coupled twice.
///
/// # Errors
/// [`FileProblem::UnsupportedFormat`].
pub(super) fn check_vorbis_channels(channels: usize) -> Result<(), FileProblem> {
    if channels > 2 { Err(unsupported(format!("Vorbis of {channels} channels"))) } else { Ok(()) }
}

/// Returns the name of a codec that is not supported.
fn name(head: &[u8]) -> Cow<'static, str> {
    Cow::Borrowed(match head {
        [b'S', b'p', b'e', b'e', b'x', b' ', ..] => "Speex",
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => "Theora video",
        [b'C', b'E', b'L', b'T', ..] => "CELT",
        [b'P', b'C', b'M', b' ', ..] => "PCM",
        [b'f', b'i', b's', b'h', b'e', b'a', b'd', ..] => "an index (Skeleton)",
        [b'B', b'B', b'C', b'D', ..] => "Dirac video",
        _ => return Cow::Owned(format!("the codec \"{}\"", head[..head.len().min(8)].escape_ascii())),
    })
}
