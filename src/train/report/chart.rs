//! The frame of a plot: two axes with round tick values, a grid, and the mapping from values to coordinates.
//!
//! Input: ranges and titles. Output: a drawn frame, and coordinates by [`Frame::at`].

use super::svg::{Anchor, Svg};

pub(super) const WIDTH: f64 = 380.0;
pub(super) const HEIGHT: f64 = 264.0;
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = 16.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 46.0;

/// The lowest and the highest value of an axis.
pub(super) type Range = (f64, f64);

/// The titles of a plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Titles<'a> {
    pub plot: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

/// A drawn frame with the ranges of its axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    x: Range,
    y: Range,
}

impl Frame {
    /// Draws axes, grid and titles. With `whole_x`, the ticks of the x axis are integers.
    pub fn draw(titles: Titles, x: Range, y: Range, whole_x: bool) -> (Self, Svg) {
        let mut svg = Svg::new(WIDTH, HEIGHT, titles.plot);
        let frame = Self { x, y };
        svg.text("strong", (LEFT, 20.0), Anchor::Start, titles.plot);
        for tick in ticks(y, 5, false) {
            let (_, at) = frame.at((x.0, tick));
            svg.line("grid", (LEFT, at), (WIDTH - RIGHT, at));
            svg.text("muted", (LEFT - 8.0, at + 4.0), Anchor::End, &number(tick));
        }
        for tick in ticks(x, 8, whole_x) {
            let (at, bottom) = frame.at((tick, y.0));
            svg.text("muted", (at, bottom + 18.0), Anchor::Middle, &number(tick));
        }
        svg.line("axis", (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM));
        svg.text("muted", ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0), Anchor::Middle, titles.x);
        svg.upright("muted", (12.0, (TOP + HEIGHT - BOTTOM) / 2.0), titles.y);
        (frame, svg)
    }

    /// Returns the coordinates of a data point.
    pub fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let share =
            |value: f64, (low, high): Range| if high > low { (value - low) / (high - low) } else { 0.5 };
        let width = WIDTH - LEFT - RIGHT;
        let height = HEIGHT - TOP - BOTTOM;
        (LEFT + width * share(x, self.x), HEIGHT - BOTTOM - height * share(y, self.y))
    }

    /// Draws a legend below the title: class and name of each line.
    pub fn legend(&self, svg: &mut Svg, entries: &[(&str, &str)]) {
        let mut x = LEFT;
        for (class, name) in entries {
            svg.line(class, (x, 38.0), (x + 18.0, 38.0));
            svg.text("", (x + 24.0, 42.0), Anchor::Start, name);
            x += 46.0 + 6.6 * name.chars().count() as f64;
        }
    }
}

/// Returns a range around finite values with a margin, so that no line lies on the frame; it is never empty.
pub(super) fn around(values: impl Iterator<Item = f64>) -> Range {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
    if low > high {
        return (0.0, 1.0);
    }
    let room = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(1e-6) };
    (if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room)
}

/// Returns about `count` round tick values within a range, with steps of 1, 2 or 5 times a power of ten.
pub(super) fn ticks((low, high): Range, count: usize, whole: bool) -> Vec<f64> {
    let raw = (high - low) / count as f64;
    let power = 10.0_f64.powf(raw.max(f64::MIN_POSITIVE).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= raw * 0.999);
    let step = step.unwrap_or(power);
    let step = if whole { step.max(1.0).round() } else { step };
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|at| at as f64 * step).collect()
}

/// Formats a tick value without trailing zeros.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-4 {
        return format!("{value:.0e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 1.0), 5, false).len(), 6);
        assert_eq!(ticks((1.0, 4.0), 8, true), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks((1.0, 1.0), 8, true), [1.0]);
        assert_eq!(ticks((3.2, 31.0), 5, false), [10.0, 20.0, 30.0]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.25, 30.0, 2e-5].map(number), ["0", "0.25", "30", "2e-5"]);
    }

    #[test]
    fn a_range_is_never_empty_and_ignores_nan() {
        assert_eq!(around([f64::NAN].into_iter()), (0.0, 1.0));
        let (low, high) = around([2.0, 2.0].into_iter());
        assert!(low < 2.0 && high > 2.0);
    }
}
