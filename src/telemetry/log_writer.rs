//! The writer of log lines: one line an event, whatever the values of the event hold.
//!
//! Input: formatted events, each with its line end. Output: the same lines on stderr, with control characters escaped.

use std::io::{self, Write};

use super::excerpt::{is_unsafe, write_escaped};

/// Writes whole events to `out`.
pub(super) struct LogWriter<W> {
    out: W,
    /// Whether the formatter writes escape sequences for colours. It escapes those in values itself.
    coloured: bool,
}

impl<W> LogWriter<W> {
    pub fn new(out: W, coloured: bool) -> Self {
        Self { out, coloured }
    }

    fn must_escape(&self, character: char) -> bool {
        is_unsafe(character) && !(self.coloured && character == '\u{1b}')
    }
}

impl<W: Write> Write for LogWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.write_all(event).map(|()| event.len())
    }

    /// Writes one event.
    fn write_all(&mut self, event: &[u8]) -> io::Result<()> {
        let Some(line) = event.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok()) else {
            return self.out.write_all(event);
        };
        if !line.chars().any(|character| self.must_escape(character)) {
            return self.out.write_all(event);
        }
        let mut safe = String::with_capacity(line.len() + 16);
        for character in line.chars() {
            if self.must_escape(character) {
                write_escaped(&mut safe, character).map_err(io::Error::other)?;
            } else {
                safe.push(character);
            }
        }
        safe.push('\n');
        self.out.write_all(safe.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_and_cannot_control_a_terminal() {
        let mut out = Vec::new();
        LogWriter::new(&mut out, false).write_all(b"WARN id=a\nERROR forged \x1b[2J\n").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "WARN id=a\\nERROR forged \\u001b[2J\n");
        let mut out = Vec::new();
        LogWriter::new(&mut out, true).write_all("\u{1b}[33mWARN\u{1b}[0m a\u{202e}b\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "\u{1b}[33mWARN\u{1b}[0m a\\u202eb\n");
    }
}
