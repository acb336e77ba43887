//! Who speaks when: talk time, overlap, interruptions, and times in which nobody speaks.
//!
//! Input: the periods of speech of each channel. Output: figures of the call. Pure. Times are milliseconds from one common start.

/// A period of time: start and end in milliseconds.
pub type Span = (u64, u64);

/// Shorter pieces of speech are dropped.
const MIN_SPEECH: u64 = 120;
/// Shorter gaps between two pieces are closed.
const MIN_GAP: u64 = 300;
/// An interruption overlaps the other channel for longer than this.
const GRACE: u64 = 500;

/// One channel starts to speak while another one speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    /// Index of the channel that starts to speak.
    pub by: usize,
    /// Index of the channel that speaks already.
    pub over: usize,
    /// The time in which both speak.
    pub span: Span,
}

/// Returns speech without pieces shorter than 120 ms, and then without gaps shorter than 300 ms. `speech` must be in order and apart.
#[must_use]
pub fn cleaned(speech: &[Span]) -> Vec<Span> {
    // Frames that follow each other within 16 ms, the length of a frame, belong to one piece: between two windows part of a frame is missing.
    let pieces = closed(speech, 17);
    let long: Vec<Span> = pieces.into_iter().filter(|(start, end)| end - start >= MIN_SPEECH).collect();
    closed(&long, MIN_GAP)
}

/// Returns spans without gaps shorter than `gap`.
fn closed(spans: &[Span], gap: u64) -> Vec<Span> {
    let mut all: Vec<Span> = Vec::with_capacity(spans.len());
    for (start, end) in spans {
        match all.last_mut() {
            Some(last) if *start < last.1 + gap => last.1 = last.1.max(*end),
            _ => all.push((*start, *end)),
        }
    }
    all
}

/// Returns the union of spans in any order.
#[must_use]
pub fn union(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.into_iter().collect();
    spans.sort_unstable();
    closed(&spans, 1)
}

/// Returns the sum of the lengths.
#[must_use]
pub fn total(spans: &[Span]) -> u64 {
    spans.iter().map(|(start, end)| end - start).sum()
}

/// Returns the times in which two channels or more speak.
#[must_use]
pub fn overlaps(channels: &[Vec<Span>]) -> Vec<Span> {
    let starts = channels.iter().flatten().map(|(start, _)| (*start, 1));
    let ends = channels.iter().flatten().map(|(_, end)| (*end, -1));
    let mut changes: Vec<(u64, i64)> = starts.chain(ends).collect();
    changes.sort_unstable();
    let (mut speaking, mut since, mut all) = (0, 0, Vec::new());
    for (at, change) in changes {
        if speaking >= 2 && at > since {
            all.push((since, at));
        }
        speaking += change;
        since = at;
    }
    closed(&all, 1)
}

/// Returns the times from 0 to `duration`, each of `min` or longer, in which no channel speaks.
#[must_use]
pub fn non_talk(channels: &[Vec<Span>], duration: u64, min: u64) -> Vec<Span> {
    let speech = union(channels.iter().flatten().copied());
    let starts = std::iter::once(0).chain(speech.iter().map(|(_, end)| *end));
    let ends = speech.iter().map(|(start, _)| *start).chain(std::iter::once(duration));
    starts.zip(ends).filter(|(start, end)| *end >= start + min).collect()
}

/// Returns the interruptions in order: a period of speech that begins while another channel speaks and overlaps it for more than 0.5 s. Of
/// several channels that speak already, the one that began first is interrupted.
#[must_use]
pub fn interruptions(channels: &[Vec<Span>]) -> Vec<Interruption> {
    let mut all = Vec::new();
    for (by, spans) in channels.iter().enumerate() {
        let others = union(
            channels
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != by)
                .flat_map(|(_, spans)| spans.clone()),
        );
        for (start, end) in spans {
            let Some((_, until)) = speaking_at(&others, *start) else { continue };
            let span = (*start, until.min(*end));
            let first = |(other, spans): (usize, &Vec<Span>)| Some((speaking_at(spans, *start)?.0, other));
            let over = channels.iter().enumerate().filter(|(other, _)| *other != by).filter_map(first).min();
            if let Some((_, over)) = over.filter(|_| span.1 - span.0 > GRACE) {
                all.push(Interruption { by, over, span });
            }
        }
    }
    all.sort_unstable_by_key(|interruption| (interruption.span, interruption.by));
    all
}

/// Returns the span that began before `at` and has not ended.
fn speaking_at(spans: &[Span], at: u64) -> Option<Span> {
    let index = spans.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
    Some(spans[index]).filter(|(start, end)| *start < at && at < *end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_pieces_are_dropped_before_short_gaps_are_closed() {
        let speech = [(0, 119), (200, 320), (500, 700), (1_000, 1_200), (1_600, 1_616), (1_632, 1_760)];
        assert_eq!(cleaned(&speech), [(200, 700), (1_000, 1_200), (1_600, 1_760)]);
    }

    #[test]
    fn an_overlap_is_counted_once_for_any_number_of_channels() {
        let channels = [vec![(0, 1_000)], vec![(500, 2_000)], vec![(700, 900), (1_900, 2_500)]];
        assert_eq!(overlaps(&channels), [(500, 1_000), (1_900, 2_000)]);
        assert_eq!(overlaps(&channels[..1]), []);
    }

    #[test]
    fn non_talk_includes_the_beginning_and_the_end_of_the_call() {
        let channels = [vec![(3_000, 4_000)], vec![(6_999, 8_000)]];
        assert_eq!(non_talk(&channels, 11_000, 3_000), [(0, 3_000), (8_000, 11_000)]);
        assert_eq!(non_talk(&[], 5_000, 3_000), [(0, 5_000)]);
    }

    #[test]
    fn an_interruption_starts_during_other_speech_and_overlaps_it_for_more_than_half_a_second() {
        let found = |one: &[Span], other: &[Span]| interruptions(&[one.to_vec(), other.to_vec()]);
        assert_eq!(found(&[(0, 2_000)], &[(1_500, 3_000)]), []);
        let interrupts = Interruption { by: 1, over: 0, span: (1_499, 2_000) };
        assert_eq!(found(&[(0, 2_000)], &[(1_499, 3_000)]), [interrupts]);
        assert_eq!(found(&[(0, 2_000)], &[(0, 3_000)]), [], "both start at once");
    }
}
