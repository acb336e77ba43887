//! The input of one connection: from text messages to the audio of a stream.
//!
//! Input: messages as they arrive, and the time. Output: what opens the stream, then its audio, and what was dropped. Invariants: nothing is returned
//! before the start message and the tracks are known; the end of the stream comes behind all its audio. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::TrackNames;
use super::message::{Media, Message, Numbered, Track};
use super::order::{Accepted, Order};
use super::start::{Start, Unsupported};
use super::tracks::{Counts, Piece, Tracks};

/// The state of a connection's input.
#[derive(Debug)]
pub(super) struct Feed {
    names: TrackNames,
    /// A hole at the start of the stream that is no longer than this becomes silence.
    longest_lead: Duration,
    order: Order<Message>,
    phase: Phase,
    opening: Option<Opening>,
    /// The id of the stream, where its start message has one.
    stream_id: Option<String>,
    /// Whether the start message declares the tracks.
    are_declared: bool,
    has_ended: bool,
    /// Whether a stop message ended it.
    is_stopped: bool,
    dropped: Dropped,
}

#[derive(Debug)]
enum Phase {
    /// Before the start message.
    Waiting,
    /// Before the tracks are known, which the first audio decides where the start message declares none.
    Deciding(Box<Start>),
    Open(Box<Tracks>),
}

/// What opens a stream.
#[derive(Debug)]
pub(super) struct Opening {
    pub start: Start,
    /// In the order of the channels.
    pub channel_names: Vec<String>,
}

/// Messages that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// They are no messages of this protocol or of this stream.
    pub malformed: u64,
    /// Their number came before.
    pub repeated: u64,
    /// They came too late.
    pub late: u64,
}

impl Feed {
    pub fn new(names: TrackNames, longest_lead: Duration) -> Self {
        Self {
            names,
            longest_lead,
            order: Order::new(),
            phase: Phase::Waiting,
            opening: None,
            stream_id: None,
            are_declared: false,
            has_ended: false,
            is_stopped: false,
            dropped: Dropped::default(),
        }
    }

    /// Accepts the text of a message, as bytes.
    ///
    /// # Errors
    /// The format of the stream is not supported.
    pub fn accept(&mut self, text: &[u8], now: Instant) -> Result<(), Unsupported> {
        let Some(Numbered { sequence, message, .. }) = Numbered::read(text).ok().filter(|it| self.is_own(it))
        else {
            self.dropped.malformed += 1;
            return Ok(());
        };
        let mut ready = Vec::new();
        match (message, sequence) {
            (Message::Start(start), sequence) if matches!(self.phase, Phase::Waiting) => {
                let start = (*start)?;
                self.stream_id.clone_from(&start.stream_id);
                let are_declared = !start.tracks.is_empty();
                self.phase = Phase::Deciding(Box::new(start));
                self.order.begin(sequence, &mut ready);
                if are_declared {
                    self.open(&[]);
                }
            }
            (message, Some(sequence)) => {
                let bytes = if let Message::Media(media) = &message { media.payload.len() } else { 0 };
                match self.order.accept(sequence, (message, bytes), now, &mut ready) {
                    Accepted::New => {}
                    Accepted::Repeated => self.dropped.repeated += 1,
                    Accepted::Late => self.dropped.late += 1,
                }
            }
            (message, None) => {
                if message == Message::Stop {
                    self.order.flush(&mut ready);
                }
                ready.push(message);
            }
        }
        ready.into_iter().for_each(|message| self.handle(message));
        Ok(())
    }

    /// Returns when [`Self::expire`] is due; `None` where nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.order.deadline()
    }

    /// Waits no longer for messages that are missing before those that have waited long enough.
    pub fn expire(&mut self, now: Instant) {
        let mut ready = Vec::new();
        self.order.expire(now, &mut ready);
        ready.into_iter().for_each(|message| self.handle(message));
    }

    /// Ends the stream behind everything that waits, because the connection has ended.
    pub fn close(&mut self) {
        let mut ready = Vec::new();
        self.order.flush(&mut ready);
        ready.into_iter().for_each(|message| self.handle(message));
        self.end();
    }

    /// Returns whether the stream has ended.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns whether its sender has ended the stream.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Returns what opens the stream, once it is known.
    pub fn take_opening(&mut self) -> Option<Opening> {
        self.opening.take()
    }

    /// Returns the next part of the stream's audio.
    pub fn take(&mut self) -> Option<Piece> {
        if let Phase::Open(tracks) = &mut self.phase { tracks.take() } else { None }
    }

    /// Returns what was dropped, and what is missing, since the last call.
    pub fn take_counts(&mut self) -> (Dropped, Counts) {
        let counts =
            if let Phase::Open(tracks) = &mut self.phase { tracks.take_counts() } else { Counts::default() };
        (std::mem::take(&mut self.dropped), counts)
    }

    /// Returns the channels of tracks that the start message does not declare and that have had no audio: the stream may have only the other track.
    pub fn absent_channels(&self) -> Vec<u32> {
        match &self.phase {
            Phase::Open(tracks) if !self.are_declared => tracks.without_audio().collect(),
            _ => Vec::new(),
        }
    }

    /// Returns whether a message belongs to the stream.
    fn is_own(&self, message: &Numbered) -> bool {
        self.stream_id.as_ref().zip(message.stream_id.as_ref()).is_none_or(|(own, other)| own == other)
    }

    /// Handles a message in its place.
    fn handle(&mut self, message: Message) {
        match (message, &mut self.phase) {
            (Message::Media(_), _) if self.has_ended => self.dropped.late += 1,
            (Message::Media(media), Phase::Open(tracks)) => tracks.add(&media),
            (Message::Media(media), Phase::Deciding(_)) => {
                self.open(tracks_of(&media));
                self.handle(Message::Media(media));
            }
            (Message::Media(_), Phase::Waiting) => self.dropped.malformed += 1,
            (Message::Start(_), _) => self.dropped.repeated += 1,
            (Message::Stop, _) => {
                self.is_stopped = true;
                self.end();
            }
            (Message::Other, _) => {}
        }
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.open(&[Track::Inbound]);
        if let Phase::Open(tracks) = &mut self.phase {
            tracks.finish();
        }
    }

    /// Opens the stream with the tracks that its start message declares; with `tracks` where it declares none.
    fn open(&mut self, tracks: &[Track]) {
        let Phase::Deciding(start) = &self.phase else { return };
        self.are_declared = !start.tracks.is_empty();
        let tracks = if self.are_declared { &start.tracks } else { tracks };
        let channels = start.channels(tracks, &self.names);
        let order: Vec<Track> = channels.iter().map(|(track, _)| *track).collect();
        let tracks = Tracks::new(start.format, &order, self.longest_lead);
        let channel_names = channels.into_iter().map(|(_, name)| name).collect();
        self.opening = Some(Opening { start: (**start).clone(), channel_names });
        self.phase = Phase::Open(Box::new(tracks));
    }
}

/// Returns the tracks of a stream that declares none and begins with this audio: both where it names its track, because the other one may begin
/// at any time.
fn tracks_of(media: &Media) -> &'static [Track] {
    if media.is_named { &[Track::Inbound, Track::Outbound] } else { &[Track::Inbound] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const START: &str =
        r#"{"event":"start","sequenceNumber":"1","streamSid":"s","start":{"tracks":["inbound","outbound"]}}"#;
    const STOP: &str = r#"{"event":"stop","sequenceNumber":"42","streamSid":"s"}"#;

    fn feed() -> Feed {
        let names = TrackNames { inbound: "customer".to_owned(), outbound: "agent".to_owned() };
        Feed::new(names, Duration::from_secs(1))
    }

    /// A message with four samples, the number of which is their timestamp.
    fn media(number: u64, track: &str) -> String {
        let media = json!({"track": track, "timestamp": number, "payload": "AQIDBA=="});
        json!({"event": "media", "sequenceNumber": number.to_string(), "streamSid": "s", "media": media})
            .to_string()
    }

    /// A stream of two tracks and its end.
    fn messages() -> Vec<String> {
        let track = |number| if number % 2 == 0 { "inbound" } else { "outbound" };
        let media = (2..42).map(|number| media(number, track(number)));
        [START.to_owned()].into_iter().chain(media).chain([STOP.to_owned()]).collect()
    }

    fn audio(feed: &mut Feed) -> Vec<u8> {
        let piece = |piece| if let Piece::Audio(audio) = piece { audio } else { panic!("a hole") };
        std::iter::from_fn(|| feed.take()).flat_map(piece).collect()
    }

    fn fed(messages: &[String]) -> (Feed, Vec<u8>) {
        let (mut feed, now) = (feed(), Instant::now());
        messages.iter().for_each(|text| feed.accept(text.as_bytes(), now).unwrap());
        let audio = audio(&mut feed);
        (feed, audio)
    }

    proptest! {
        #[test]
        fn shuffled_repeated_and_cut_messages_give_the_same_stream(
            shuffled in Just([messages(), messages()].concat()).prop_shuffle(),
            cuts in prop::collection::vec((0_usize..84, 1_usize..50), 10),
        ) {
            let mut shuffled = shuffled;
            for (at, length) in cuts {
                let cut = messages()[at % 42][..length].to_owned();
                shuffled.insert(at, cut);
            }
            let (mut feed, found) = fed(&shuffled);
            prop_assert!(feed.is_stopped() && feed.take_opening().is_some());
            prop_assert_eq!(found, [1, 1, 2, 2, 3, 3, 4, 4].repeat(20));
            let (dropped, missing) = feed.take_counts();
            prop_assert_eq!((dropped.malformed, dropped.late, missing), (10, 0, Counts::default()));
        }
    }

    #[test]
    fn any_message_may_be_missing() {
        for missing in 1..42 {
            let (mut feed, now) = (feed(), Instant::now());
            let kept = messages().into_iter().enumerate().filter(|(index, _)| *index != missing);
            kept.for_each(|(_, text)| feed.accept(text.as_bytes(), now).unwrap());
            feed.expire(now + Duration::from_millis(200));
            assert_eq!((feed.has_ended(), feed.is_stopped()), (missing != 41, missing != 41));
            feed.close();
            let lost = if missing < 41 { 4 } else { 0 };
            let silent = audio(&mut feed).into_iter().filter(|sample| *sample == 0xff).count();
            assert_eq!(silent, lost, "without message {missing}");
        }
    }

    #[test]
    fn where_no_tracks_are_declared_both_are_open_and_one_without_audio_is_absent() {
        let start = START.replace(r#""tracks":["inbound","outbound"]"#, r#""callSid":"c""#);
        let with = |messages: &[String]| {
            let (mut feed, _) = fed(&[&[start.clone()][..], messages].concat());
            let opening = feed.take_opening().unwrap();
            (opening.channel_names, feed.absent_channels())
        };
        let both = || ["customer".to_owned(), "agent".to_owned()].to_vec();
        assert_eq!(with(&[media(2, "inbound")]), (both(), vec![1]));
        assert_eq!(with(&[media(2, "outbound")]), (both(), vec![0]));
        assert_eq!(with(&[media(2, "inbound"), media(3, "outbound")]), (both(), vec![]));
        let only = || ["customer".to_owned()].to_vec();
        let unnamed = media(2, "inbound").replace(r#""track":"inbound""#, r#""chunk":"1""#);
        assert_ne!(unnamed, media(2, "inbound"));
        assert_eq!(with(&[unnamed]), (only(), vec![]));
        assert_eq!(with(&[STOP.replace("42", "2")]), (only(), vec![0]));
        // A declared track is a channel in any case.
        let (feed, _) = fed(&[START.to_owned(), media(2, "inbound")]);
        assert!(feed.absent_channels().is_empty());
    }

    #[test]
    fn messages_of_another_stream_and_a_second_start_change_nothing() {
        let other = media(2, "inbound").replace(r#""s""#, r#""other""#);
        let (mut feed, found) =
            fed(&[START.to_owned(), other, START.replace(r#""1""#, r#""2""#), media(3, "outbound")]);
        feed.close();
        let (dropped, _) = feed.take_counts();
        assert_eq!((dropped.malformed, dropped.repeated, found.len()), (1, 1, 0));
        assert!(
            feed.accept(br#"{"event":"start","start":{"mediaFormat":{"encoding":"OPUS"}}}"#, Instant::now())
                .is_ok()
        );
    }
}
