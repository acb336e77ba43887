//! A table of events: time, stream, channel, emotion, confidence, and a bar of the probabilities.
//!
//! Input: events. Output: lines of at most 80 columns, coloured on request. Invariants: nothing is printed here.

use std::io::IsTerminal;
use std::time::Duration;

use crate::proto::{EmotionEvent, EmotionScore};

/// The width of a line, in columns.
const WIDTH: usize = 80;
/// ANSI background colours, by the index of the label.
const COLOURS: [u8; 7] = [41, 43, 45, 42, 47, 44, 46];

/// A table of events, formatted line by line.
#[derive(Debug, Clone)]
pub struct EventTable {
    /// The width of the stream column; 0 omits the column.
    stream_width: usize,
    colour: bool,
    /// Whether the column header has been printed.
    has_header: bool,
    /// Whether the legend of the bar's letters has been printed.
    has_legend: bool,
}

/// Returns whether stdout is a terminal and `NO_COLOR` is not set.
pub fn stdout_has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl EventTable {
    /// Creates a table with or without a column for the stream id.
    pub fn new(with_stream: bool, colour: bool) -> Self {
        let stream_width = if with_stream { 17 } else { 0 };
        Self { stream_width, colour, has_header: false, has_legend: false }
    }

    /// Starts a new table with the same columns: the header and the legend are printed again.
    pub fn begin(&mut self) {
        (self.has_header, self.has_legend) = (false, false);
    }

    /// Returns the row of an event, preceded by the legend before the first bar and by the column header before the first row.
    pub fn lines(&mut self, event: &EmotionEvent) -> String {
        let mut lines = Vec::with_capacity(3);
        if !self.has_legend && !event.scores.is_empty() {
            self.has_legend = true;
            lines.push(self.legend(event));
        }
        if !self.has_header {
            self.has_header = true;
            let channel = format!("{:>width$}", "ch", width = channel_width(event));
            lines.push(self.columns("seconds", "stream", &channel, "emotion", "conf"));
        }
        lines.push(self.row(event));
        lines.join("\n")
    }

    fn legend(&self, event: &EmotionEvent) -> String {
        let letters = letters(&event.scores);
        let entry = |(index, score): (usize, &EmotionScore)| {
            format!("{} {}", self.painted(index, &letters[index].to_string()), score.emotion)
        };
        let legend: Vec<String> = event.scores.iter().enumerate().map(entry).collect();
        legend.join("  ")
    }

    /// Returns the row of an event.
    pub fn row(&self, event: &EmotionEvent) -> String {
        let time = interval(seconds(event.start), seconds(event.end));
        let silent = event.scores.is_empty();
        let confidence = if silent { "-".to_owned() } else { format!("{:.2}", event.confidence) };
        let width = channel_width(event);
        let channel = match event.channel_name.as_str() {
            "" => format!("{:>width$}", event.channel),
            name => format!("{:>width$}", shortened(name, width)),
        };
        let cells = self.columns(&time, &event.stream_id, &channel, &event.emotion, &confidence);
        if silent {
            return cells;
        }
        format!("{cells}  {}", self.bar(&event.scores, WIDTH - cells.chars().count() - 2))
    }

    fn columns(&self, time: &str, stream: &str, channel: &str, emotion: &str, confidence: &str) -> String {
        let stream = match self.stream_width {
            0 => String::new(),
            width => format!("{:<width$}  ", shortened(stream, width)),
        };
        let emotion = shortened(emotion, 9);
        format!("{time:>15}  {stream}{channel}  {emotion:<9}  {confidence:>4}")
    }

    fn bar(&self, scores: &[EmotionScore], width: usize) -> String {
        let letters = letters(scores);
        let cells = apportion(scores, width);
        let part =
            |(index, count): (usize, &usize)| self.painted(index, &letters[index].to_string().repeat(*count));
        cells.iter().enumerate().filter(|(_, count)| **count > 0).map(part).collect()
    }

    fn painted(&self, index: usize, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[30;{}m{text}\x1b[0m", COLOURS[index % COLOURS.len()]),
            false => text.to_owned(),
        }
    }
}

/// Returns the width of the channel column, which is wider where channels have names.
fn channel_width(event: &EmotionEvent) -> usize {
    if event.channel_name.is_empty() { 2 } else { 8 }
}

/// Converts a protobuf duration to seconds.
pub fn seconds(duration: Option<pbjson_types::Duration>) -> f64 {
    let duration = duration.unwrap_or_default();
    duration.seconds as f64 + f64::from(duration.nanos) * 1e-9
}

/// The end, in seconds, from which the times of a window are given in minutes.
const MINUTES_FROM: f64 = 600.0;

/// Formats the start and the end of a window in seconds, or as `12:03.5–12:07.0` where it ends after ten minutes.
fn interval(start: f64, end: f64) -> String {
    if end < MINUTES_FROM {
        return format!("{start:.1} – {end:.1}");
    }
    format!("{}–{}", clock(start), clock(end))
}

/// Formats seconds as `12:03.5`, and from one hour on as `1:12:03.5`.
fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    let (hours, minutes, seconds) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let rest = format!("{:02}.{}", seconds / 10, seconds % 10);
    if hours > 0 { format!("{hours}:{minutes:02}:{rest}") } else { format!("{minutes}:{rest}") }
}

/// Formats a duration, as in `850 ms` or `12.4 s`.
pub fn span(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.01 => format!("{:.2} ms", seconds * 1e3),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// Shortens a name in the middle, because the ends of names differ most.
fn shortened(text: &str, width: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= width {
        return text.to_owned();
    }
    let tail = (width - 1) / 2;
    let head: String = characters[..width - 1 - tail].iter().collect();
    let end: String = characters[characters.len() - tail..].iter().collect();
    format!("{head}…{end}")
}

/// Assigns a letter to each label: its first letter that no earlier label has.
fn letters(scores: &[EmotionScore]) -> Vec<char> {
    let mut taken = Vec::with_capacity(scores.len());
    for score in scores {
        let own = score.emotion.chars().filter(|letter| letter.is_alphanumeric());
        let upper = own.flat_map(char::to_uppercase);
        let letter = upper.chain('0'..='9').find(|letter| !taken.contains(letter)).unwrap_or('?');
        taken.push(letter);
    }
    taken
}

/// Distributes `width` cells by the largest remainder method, so that the cells always add up to `width`.
fn apportion(scores: &[EmotionScore], width: usize) -> Vec<usize> {
    let shares: Vec<f64> =
        scores.iter().map(|score| f64::from(score.probability).clamp(0.0, 1.0) * width as f64).collect();
    let mut cells: Vec<usize> = shares.iter().map(|share| *share as usize).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|a, b| shares[*b].fract().total_cmp(&shares[*a].fract()));
    let missing = width.saturating_sub(cells.iter().sum());
    for index in order.into_iter().take(missing) {
        cells[index] += 1;
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(probabilities: &[(&str, f32)]) -> EmotionEvent {
        let score =
            |&(emotion, probability): &(&str, f32)| EmotionScore { emotion: emotion.into(), probability };
        EmotionEvent {
            stream_id: "a-very-long-name-of-a-recording-7".into(),
            emotion: probabilities[0].0.into(),
            confidence: probabilities[0].1,
            end: Some(pbjson_types::Duration { seconds: 3, nanos: 500_000_000 }),
            scores: probabilities.iter().map(score).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn every_row_is_80_columns_and_the_bar_follows_the_probabilities() {
        let event = event(&[("sadness", 0.5), ("surprise", 0.333), ("fear", 0.167)]);
        for with_stream in [true, false] {
            let row = EventTable::new(with_stream, false).row(&event);
            assert_eq!(row.chars().count(), WIDTH, "{row}");
            let named = EmotionEvent { channel_name: "customer".into(), ..event.clone() };
            let named = EventTable::new(with_stream, false).row(&named);
            assert!(named.chars().count() == WIDTH && named.contains(" customer  sadness"), "{named}");
            let count = |letter| row.rsplit(' ').next().unwrap().matches(letter).count();
            assert!(count('S') > count('U') && count('U') > count('F') && count('F') > 0, "{row}");
        }
    }

    #[test]
    fn times_after_ten_minutes_are_in_minutes_and_after_an_hour_in_hours() {
        assert_eq!(interval(596.5, 599.5), "596.5 – 599.5");
        assert_eq!(interval(597.0, 600.0), "9:57.0–10:00.0");
        assert_eq!(interval(723.46, 3_599.96), "12:03.5–1:00:00.0");
        let end = Some(pbjson_types::Duration { seconds: 5_999, nanos: 0 });
        let late = EmotionEvent { start: end, end, ..event(&[("a", 0.5), ("b", 0.5)]) };
        let row = EventTable::new(true, false).row(&late);
        assert!(row.starts_with("1:39:59.0–1:39:59.0  ") && row.chars().count() == WIDTH, "{row}");
    }

    #[test]
    fn the_header_explains_each_letter_and_colours_are_optional() {
        let event = event(&[("sadness", 0.5), ("surprise", 0.5)]);
        let mut plain = EventTable::new(true, false);
        assert!(plain.lines(&event).starts_with("S sadness  U surprise\n"));
        assert_eq!(plain.lines(&event), plain.row(&event), "the header is printed once");
        assert!(!plain.row(&event).contains('\x1b'));
        assert!(EventTable::new(true, true).row(&event).contains("\x1b[30;41m"));
    }

    #[test]
    fn silence_has_a_row_without_a_bar_and_the_letters_come_before_the_first_bar() {
        let silence = EmotionEvent { emotion: "silence".into(), ..EmotionEvent::default() };
        let mut table = EventTable::new(false, false);
        let first = table.lines(&silence);
        let (columns, row) = first.split_once('\n').unwrap();
        assert!(columns.contains("emotion") && row.ends_with("silence       -"), "{first}");
        assert!(table.lines(&event(&[("sadness", 1.0)])).starts_with("S sadness\n"));
        assert_eq!(table.lines(&silence), row);
    }

    #[test]
    fn probabilities_that_add_up_to_more_than_one_do_not_break_the_line() {
        let row = EventTable::new(false, false).row(&event(&[("a", f32::NAN), ("b", 7.0), ("c", -1.0)]));
        assert!(row.contains("b") || row.contains("B"), "{row}");
    }
}
