//! A writer of SVG pictures.
//!
//! Input: shapes and text with coordinates from the top left and classes of `style.css`. Output: a picture, as a file or
//! inline in a page, that follows the light or dark mode of the browser. A drawing crate was rejected, because it writes
//! colours into the shapes, and they could not follow the mode.

use std::fmt::Write as _;

/// The style sheet of pictures and page.
pub(super) const STYLE: &str = include_str!("style.css");

/// An SVG picture under construction.
#[derive(Debug, Clone)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    /// The accessible title, for screen readers.
    title: String,
    body: String,
}

/// The horizontal alignment of text relative to its coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        Self { width, height, title: title.to_owned(), body: String::new() }
    }

    pub fn width(&self) -> f64 {
        self.width
    }

    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    /// Draws a polyline through points.
    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polyline class="{class}" points="{}"/>"#, points.join(" "));
    }

    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let _ = writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#);
    }

    /// Draws a rectangle with its top left corner, its size and its opacity, from 0 to 1.
    pub fn area(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), density: f64) {
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill-opacity="{density:.3}"/>"#
        );
    }

    pub fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// Draws text that is rotated to read from bottom to top.
    pub fn upright(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" transform="translate({x:.1},{y:.1}) rotate(-90)" text-anchor="middle">{text}</text>"#
        );
    }

    /// Returns the picture for a page that contains the style sheet.
    pub fn inline(&self) -> String {
        self.element("", "")
    }

    /// Returns the picture as a file with its own style sheet.
    pub fn file(&self) -> String {
        self.element(r#" xmlns="http://www.w3.org/2000/svg""#, &format!("<style>\n{STYLE}</style>\n"))
    }

    fn element(&self, namespace: &str, style: &str) -> String {
        let Self { width, height, title, body } = self;
        let title = escaped(title);
        format!(
            "<svg{namespace} class=\"picture\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
             aria-label=\"{title}\">\n{style}<title>{title}</title>\n{body}</svg>\n"
        )
    }
}

/// Escapes text for HTML and SVG.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
