//! The files of a shard's streams: a complete file is decoded piece by piece, and its stream's later messages wait until that is done.
//!
//! Input: streams whose file is complete. Output: their windows, as for samples. Invariant: a file that cannot be decoded ends its own stream or
//! segment only.

use std::future::poll_fn;

use super::StreamKey;
use super::block_on::Parker;
use super::decodings::{Decoded, Step};
use super::file_stream::FileEnd;
use super::open_stream::After;
use super::shard::{Next, Shard};
use crate::stream::BadChunk;

impl Shard {
    /// Decodes the complete files to their end, as the thread of a shard does. For a shard without a thread of its own; blocks while a queue is full.
    pub fn decode_files(&mut self) {
        let parker = Parker::new();
        while !self.decodings.is_empty() {
            match parker.block_on(poll_fn(|context| self.poll_own(context))) {
                Next::Room(room) => self.use_room(room),
                Next::Decoded(step) => self.use_decoded(step),
                Next::Messages(_) => {}
            }
        }
    }

    /// Requests the next piece of a file, unless windows of the last one wait for room.
    pub(super) fn request_piece(&mut self, key: &StreamKey) {
        if !self.decodings.is_resting(key) || self.backlog.has_jobs(key) {
            return;
        }
        if let Some(stream) = self.streams.get(key) {
            self.decodings.next(key, &stream.model.backlog, stream.front_end.channels());
        }
    }

    /// Begins to decode the complete file of a stream, which waits with its later messages until the file is done.
    pub(super) fn decode(&mut self, key: StreamKey, end: FileEnd) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let (bytes, layout) = (stream.front_end.take_file(), stream.front_end.channels().clone());
        self.backlog.hold(&key);
        self.decodings.open(key, bytes, layout, end);
    }

    /// Handles what a file has come to.
    pub(super) fn use_decoded(&mut self, step: Step) {
        let Some((key, decoded)) = self.decodings.current(step) else { return };
        let Self { scratch_pool, streams, reports_to, backlog, decodings } = self;
        let Some(stream) = streams.get_mut(&key) else { return };
        let refused = match decoded {
            Decoded::Opened(Ok(file)) => {
                let begun = stream.begin_file(scratch_pool, (reports_to, backlog), &file);
                decodings.rest(&key, file);
                begun.err()
            }
            Decoded::Piece(file, Ok(Some(block)), room) => {
                stream.accept_block(scratch_pool, (reports_to, backlog), &block, room);
                decodings.rest(&key, file);
                None
            }
            Decoded::Piece(_, Ok(None), _) => return self.finish_file(key),
            Decoded::Opened(Err(bad)) => Some(bad),
            Decoded::Piece(_, Err(error), _) => Some(error.into()),
        };
        backlog.park(&key);
        match refused {
            None => self.request_piece(&key),
            Some(bad) => self.refuse_file(key, bad),
        }
    }

    /// Ends a file behind its last sample.
    fn finish_file(&mut self, key: StreamKey) {
        let Some((_, end)) = self.decodings.take(&key) else { return };
        let Self { scratch_pool, streams, reports_to, backlog, .. } = self;
        let Some(mut stream) = streams.remove(&key) else { return };
        match stream.finish_file(scratch_pool, (reports_to, backlog), end) {
            After::Ended => stream.close(backlog),
            After::Open | After::Decode(..) => drop(streams.insert(key.clone(), stream)),
        }
        self.go_on(&key);
    }

    /// Refuses a file that cannot be decoded: the chunk that completed it becomes a dead letter, and a file of an idle stream is dropped.
    fn refuse_file(&mut self, key: StreamKey, bad: BadChunk) {
        let Some((bytes, end)) = self.decodings.take(&key) else { return };
        let Some(mut stream) = self.streams.remove(&key) else { return };
        stream.refuse_file(bytes);
        match end {
            FileEnd::Chunk(last) => {
                self.refuse(&last.envelope, bad);
                if last.may_stay {
                    self.streams.insert(key.clone(), stream);
                } else {
                    stream.close_refused(&mut self.backlog);
                }
            }
            FileEnd::Segment => {
                stream.report_bad_end(&bad);
                let Self { scratch_pool, reports_to, backlog, .. } = self;
                stream.end_segment(scratch_pool, reports_to, backlog, None);
                self.streams.insert(key.clone(), stream);
            }
        }
        self.go_on(&key);
    }

    /// Goes on with the messages of a stream whose file is done.
    fn go_on(&mut self, key: &StreamKey) {
        self.backlog.release(key);
        self.backlog.park(key);
        self.handle_deferred(key);
    }
}
