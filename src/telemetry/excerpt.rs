//! Text of clients, files and brokers in errors and log lines.
//!
//! Input: text of any length and content. Output: at most [`MOST_BYTES`] of it, without characters that could forge a log line or control a terminal.

use std::fmt::{self, Display, Formatter, Write as _};

/// The most bytes of foreign text that an error or a log line repeats.
pub const MOST_BYTES: usize = 200;

/// The beginning of a foreign text: plain with `{}`, in quotes with `{:?}`.
#[derive(Clone, Copy)]
pub struct Excerpt<'a>(&'a str);

/// Returns the beginning of `text` for an error or a log line.
pub fn excerpt<T: AsRef<str> + ?Sized>(text: &T) -> Excerpt<'_> {
    Excerpt(text.as_ref())
}

/// Returns the beginning of a list of names, each in quotes, for an error or a log line.
#[must_use]
pub fn excerpt_of_list(names: &[String]) -> String {
    let mut list = String::new();
    for name in names {
        if list.len() >= MOST_BYTES {
            return format!("[{list}, …] ({} names)", names.len());
        }
        let separator = if list.is_empty() { "" } else { ", " };
        let room = name.floor_char_boundary(MOST_BYTES - list.len());
        let more = if room < name.len() { "…" } else { "" };
        list = format!("{list}{separator}{:?}{more}", &name[..room]);
    }
    format!("[{list}]")
}

impl Excerpt<'_> {
    fn parts(&self) -> (&str, Option<usize>) {
        let Self(text) = self;
        let cut = text.floor_char_boundary(MOST_BYTES);
        (&text[..cut], Some(text.len()).filter(|length| *length > cut))
    }
}

impl Display for Excerpt<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (beginning, length) = self.parts();
        for character in beginning.chars() {
            if is_unsafe(character) {
                write_escaped(out, character)?;
            } else {
                out.write_char(character)?;
            }
        }
        length.map_or(Ok(()), |length| write!(out, "… ({length} bytes)"))
    }
}

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let (beginning, length) = self.parts();
        write!(out, "{beginning:?}")?;
        length.map_or(Ok(()), |length| write!(out, "… ({length} bytes)"))
    }
}

/// Returns whether a character ends a line, controls a terminal, or changes the direction of the text around it.
pub(super) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes a character as in a JSON string, which text and JSON lines of the log share.
pub(super) fn write_escaped(out: &mut impl fmt::Write, character: char) -> fmt::Result {
    match character {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        other => write!(out, "\\u{:04x}", u32::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_names_its_length() {
        let text = "ä".repeat(300);
        let shown = excerpt(&text).to_string();
        assert_eq!(shown, format!("{}… (600 bytes)", "ä".repeat(100)));
        assert_eq!(format!("{:?}", excerpt("call \"7\"")), r#""call \"7\"""#);
        assert_eq!(excerpt("call-7").to_string(), "call-7");
    }

    #[test]
    fn characters_that_could_forge_a_line_are_escaped() {
        let forged = "a\n2026 ERROR stolen\r\t\u{1b}[31m\u{9b}2J\u{202e}\u{2028}b";
        let shown = excerpt(forged).to_string();
        assert_eq!(shown, r"a\n2026 ERROR stolen\r\t\u001b[31m\u009b2J\u202e\u2028b");
        assert!(!format!("{:?}", excerpt(forged)).contains(['\n', '\u{1b}', '\u{9b}', '\u{202e}']));
    }

    #[test]
    fn a_list_is_cut_as_a_whole() {
        let short = ["agent".to_owned(), String::new()];
        assert_eq!(excerpt_of_list(&short), r#"["agent", ""]"#);
        let long: Vec<String> = (0..1000).map(|number| format!("name {number}")).collect();
        let shown = excerpt_of_list(&long);
        assert!(shown.len() <= MOST_BYTES + 50 && shown.ends_with("…] (1000 names)"), "{shown}");
        assert!(excerpt_of_list(&["ä".repeat(500)]).len() < MOST_BYTES + 10);
    }
}
