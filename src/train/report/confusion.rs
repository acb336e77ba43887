//! The picture of a confusion matrix.
//!
//! Input: numbers of clips, rows = true labels. Output: a picture; the shade of a cell is the share of its row, the number
//! below it is the number of clips.

use super::svg::{Anchor, Svg};

const CELL: f64 = 56.0;
const GAP: f64 = 2.0;
const TOP: f64 = 74.0;
/// The share above which text has the colour for dark backgrounds.
const DENSE: f64 = 0.68;
/// The share above which text is not muted.
const TINTED: f64 = 0.25;

pub(super) fn draw(labels: &[String], matrix: &[Vec<u64>]) -> Svg {
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0) as f64;
    let left = 44.0 + 7.2 * longest;
    let side = CELL * labels.len() as f64;
    let mut svg = Svg::new(left + side + 16.0, TOP + side + 12.0, "Confusion matrix");
    svg.text("strong", (12.0, 20.0), Anchor::Start, "Confusion matrix");
    svg.text("muted", (left + side / 2.0, 42.0), Anchor::Middle, "predicted");
    svg.upright("muted", (18.0, TOP + side / 2.0), "truth");
    for (at, label) in labels.iter().enumerate() {
        let middle = CELL * (at as f64 + 0.5);
        svg.text("", (left - 8.0, TOP + middle + 4.0), Anchor::End, label);
        let short: String = label.chars().take(9).collect();
        let class = if short.len() > 7 { "small" } else { "" };
        svg.text(class, (left + middle, TOP - 8.0), Anchor::Middle, &short);
    }
    for (row, counts) in matrix.iter().enumerate() {
        let total: u64 = counts.iter().sum();
        for (column, &count) in counts.iter().enumerate() {
            let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
            cell(&mut svg, (left + CELL * column as f64, TOP + CELL * row as f64), share, count);
        }
    }
    svg
}

fn cell(svg: &mut Svg, (x, y): (f64, f64), share: f64, count: u64) {
    let size = (CELL - GAP, CELL - GAP);
    svg.area("cell", (x, y), size, 0.35);
    svg.area("first", (x, y), size, share);
    let middle = x + (CELL - GAP) / 2.0;
    let (words, small) = match share {
        share if share > DENSE => ("on", "on small"),
        share if share > TINTED => ("", "small"),
        _ if count > 0 => ("", "muted small"),
        _ => ("muted", "muted small"),
    };
    svg.text(words, (middle, y + 26.0), Anchor::Middle, &format!("{:.0} %", share * 100.0));
    svg.text(small, (middle, y + 41.0), Anchor::Middle, &count.to_string());
}
