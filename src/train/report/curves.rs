//! The learning curves: losses, validation scores and learning rate by epoch.
//!
//! Input: the history and the best epoch. Output: three pictures. Invariants: values that are not finite leave a gap.

use super::chart::{Frame, RIGHT, Range, Titles, WIDTH, around};
use super::svg::{Anchor, Svg};
use crate::train::state::EpochRecord;

/// A line of a plot.
struct Series {
    name: &'static str,
    class: &'static str,
    value: fn(&EpochRecord) -> f64,
}

pub(super) fn draw(history: &[EpochRecord], best_epoch: usize) -> Vec<(&'static str, Svg)> {
    let losses = [
        Series { name: "training", class: "first", value: |it| it.loss },
        Series { name: "validation", class: "second", value: |it| it.validation.loss },
    ];
    let figures = [
        Series { name: "accuracy", class: "first", value: |it| it.validation.accuracy },
        Series {
            name: "unweighted average recall",
            class: "second",
            value: |it| it.validation.unweighted_average_recall,
        },
    ];
    let rate = [Series { name: "learning rate", class: "first", value: |it| it.learning_rate }];
    vec![
        ("loss", plot(titles("Loss", "cross-entropy"), f64::INFINITY, &losses, history, best_epoch)),
        ("accuracy", plot(titles("Validation", "share of clips"), 1.0, &figures, history, best_epoch)),
        (
            "learning-rate",
            plot(titles("Learning rate", "step size"), f64::INFINITY, &rate, history, best_epoch),
        ),
    ]
}

/// The titles of a plot over epochs.
fn titles<'a>(plot: &'a str, y: &'a str) -> Titles<'a> {
    Titles { plot, x: "epoch", y }
}

/// Draws a plot over epochs; `highest` is the upper limit of the y axis.
fn plot(titles: Titles, highest: f64, series: &[Series], history: &[EpochRecord], best_epoch: usize) -> Svg {
    let (low, high) = around(series.iter().flat_map(|series| history.iter().map(series.value)));
    let y = (low, high.min(highest));
    let x: Range = (1.0, history.len().max(1) as f64);
    let (frame, mut svg) = Frame::draw(titles, x, y, true);
    if best_epoch > 0 {
        let (at, bottom) = frame.at((best_epoch as f64, y.0));
        let (_, top) = frame.at((best_epoch as f64, y.1));
        svg.line("best", (at, bottom), (at, top));
        let kept = format!("kept: epoch {best_epoch}");
        svg.text("muted small", (WIDTH - RIGHT, 20.0), Anchor::End, &kept);
    }
    for line in series {
        let values = history.iter().map(|record| (record.epoch as f64, (line.value)(record)));
        let points: Vec<(f64, f64)> = values.collect();
        for finite in points.split(|(_, value)| !value.is_finite()) {
            let coordinates: Vec<(f64, f64)> = finite.iter().map(|point| frame.at(*point)).collect();
            match coordinates[..] {
                [only] => svg.dot(line.class, only, 3.5),
                _ => svg.path(line.class, &coordinates),
            }
        }
    }
    let entries: Vec<(&str, &str)> = series.iter().map(|line| (line.class, line.name)).collect();
    if entries.len() > 1 {
        frame.legend(&mut svg, &entries);
    }
    svg
}
