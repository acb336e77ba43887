//! Shapes and words as SVG.
//!
//! In: coordinates from the top left, classes of `style.css`. Out: a picture that follows the reader's light or dark
//! mode, by itself or inside a page. Colours are the style's alone; that is why no drawing crate is used here.

use std::fmt::Write as _;

/// The colours and fonts of pictures and page.
pub(super) const STYLE: &str = include_str!("style.css");

/// A picture.
#[derive(Debug, Clone)]
pub(super) struct Svg {
    width: f64,
    height: f64,
    /// Read out where nothing can be seen.
    title: String,
    body: String,
}

/// Where a word's coordinates are.
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

    /// A line through points.
    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polyline class="{class}" points="{}"/>"#, points.join(" "));
    }

    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        let _ = writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/>"#);
    }

    /// A box with its top left corner, its size, and how dense its colour is, from 0 to 1.
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

    /// The same, read from bottom to top.
    pub fn upright(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" transform="translate({x:.1},{y:.1}) rotate(-90)" text-anchor="middle">{text}</text>"#
        );
    }

    /// For a page that has the style already.
    pub fn inline(&self) -> String {
        self.element("", "")
    }

    /// For a file of its own.
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

/// Text that no markup can hide in.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
