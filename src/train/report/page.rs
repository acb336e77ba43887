//! The content of `index.html`: the whole report on one page.
//!
//! Input: the report, its figures and pictures. Output: self-contained HTML. Invariants: nothing is loaded from the network,
//! there are no scripts, and all text from file names and labels is escaped.

use super::figures::{Figures, SplitFigures};
use super::svg::{STYLE, Svg, escaped};
use super::{Pictures, TrainingReport};
use crate::evaluation::Interval;

pub(super) fn html(report: &TrainingReport, figures: &Figures, pictures: &Pictures) -> String {
    let title = escaped(&report.model);
    let parts = [
        heading(report),
        tiles(report, figures),
        curves(pictures),
        splits(figures, pictures),
        audit(report),
        settings(report),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}: training report</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
        include_str!("page.css"),
        parts.concat()
    )
}

fn heading(report: &TrainingReport) -> String {
    let (model, protocol) = (escaped(&report.model), escaped(&report.protocol));
    let alarm = "<p class=\"alarm\">The same speakers occur in training and test: these scores do not apply to other \
                 speakers.</p>\n";
    let alarm = if report.shares_speakers { alarm } else { "" };
    format!("<h1>{model}</h1>\n<p class=\"lead\">{protocol}</p>\n{alarm}")
}

fn tiles(report: &TrainingReport, figures: &Figures) -> String {
    let (test, validation) = (&figures.test, &figures.validation);
    let tile = |value: String, notes: &[String]| {
        let notes: String = notes.iter().map(|note| format!("<span>{}</span>", escaped(note))).collect();
        format!("<div class=\"tile\"><b>{}</b>{notes}</div>\n", escaped(&value))
    };
    let figure = |value: f64, name: &str, interval: Option<Interval>| {
        let interval = interval.map(|it| format!("95 %: {} to {}", percent(it.low), percent(it.high)));
        let notes: Vec<String> = std::iter::once(name.to_owned()).chain(interval).collect();
        tile(percent(value), &notes)
    };
    let recall = test.unweighted_average_recall_interval;
    let tiles = [
        figure(test.unweighted_average_recall, "test, unweighted average recall", recall),
        figure(test.accuracy, "test, accuracy", test.accuracy_interval),
        figure(test.macro_f1, "test, macro F1", None),
        figure(test.expected_calibration_error, "test, calibration error", None),
        figure(validation.unweighted_average_recall, "validation, unweighted average recall", None),
        tile(thousands(report.parameters), &["parameters".to_owned(), cost(report)]),
        tile(
            format!("{} of {}", report.best_epoch, figures.epochs),
            &["epoch kept".to_owned(), format!("temperature {:.2}", report.temperature)],
        ),
        tile(duration(report.seconds), &["of training".to_owned(), format!("seed {}", report.seed)]),
    ];
    format!("<div class=\"tiles\">\n{}</div>\n", tiles.concat())
}

/// Returns the cost of a window in words.
fn cost(report: &TrainingReport) -> String {
    let head = format!("{:.1} MFLOP a window", report.mflop_per_window);
    report.encoder.as_ref().map_or(head.clone(), |encoder| format!("{head}, after {encoder}"))
}

fn curves(pictures: &Pictures) -> String {
    let figures: String = pictures.curves.iter().map(|(_, svg)| figure(&svg.inline())).collect();
    format!("<h2>Training</h2>\n<div class=\"pictures\">\n{figures}</div>\n")
}

fn figure(svg: &str) -> String {
    format!("<figure>\n{svg}</figure>\n")
}

/// Wraps content in a column whose width is proportional to the picture's, so that all pictures have the same scale.
fn column(picture: &Svg, content: &str) -> String {
    let width = picture.width();
    format!("<div style=\"flex: {width:.0} 1 {:.0}px\">\n{content}</div>\n", 0.7 * width)
}

fn splits(figures: &Figures, pictures: &Pictures) -> String {
    let both = [&figures.test, &figures.validation];
    let part = |(drawn, split): (&super::SplitPictures, &SplitFigures)| {
        let (confusion, reliability) = (&drawn.confusion.1, &drawn.reliability.1);
        let beside = figure(&reliability.inline()) + &classes(split);
        format!(
            "<h2>{}: {} clips</h2>\n<div class=\"pair\">\n{}{}</div>\n",
            drawn.title,
            thousands(split.clips),
            column(confusion, &figure(&confusion.inline())),
            column(reliability, &beside)
        )
    };
    pictures.splits.iter().zip(both).map(part).collect()
}

fn classes(split: &SplitFigures) -> String {
    let row = |class: &crate::evaluation::ClassMetrics| {
        let figures: String =
            [class.precision, class.recall, class.f1].map(|it| format!("<td>{}</td>", percent(it))).concat();
        format!("<tr><td>{}</td>{figures}<td>{}</td></tr>\n", escaped(&class.label), class.support)
    };
    let rows: String = split.per_class.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<tr><th>emotion</th><th>precision</th><th>recall</th><th>F1</th><th>clips</th>\
         </tr>\n{rows}</table></div>\n"
    )
}

fn audit(report: &TrainingReport) -> String {
    let audit = &report.audit;
    let (audited, left_out) = (audit.clips, audit.left_out().count());
    let mut text =
        format!("<h2>Data</h2>\n<p>{} clips audited, {left_out} files excluded, ", thousands(audited));
    text += &format!("{} clips trained on.</p>\n", thousands(report.training_clips));
    for (label, count) in &audit.labels_left_out {
        text += &format!("<p>{count} clips with label {} excluded.</p>\n", escaped(label));
    }
    for (kind, findings) in audit.by_kind() {
        let verdict = if kind.is_left_out() { "left out" } else { "kept" };
        let summary = format!("{} ({verdict})", kind.count(findings.len()));
        text += &format!("<details><summary>{summary}</summary><div class=\"scroll\"><table>\n");
        for finding in findings {
            let (clip, reason) = (escaped(&finding.clip), escaped(&finding.reason));
            text += &format!("<tr><td class=\"left\">{clip}</td><td class=\"left\">{reason}</td></tr>\n");
        }
        text += "</table></div></details>\n";
    }
    text
}

fn settings(report: &TrainingReport) -> String {
    let command = escaped(&report.command.join(" "));
    let settings = serde_json::to_string_pretty(&report.settings).unwrap_or_default();
    format!(
        "<h2>Settings</h2>\n<pre>{command}</pre>\n<details><summary>every setting</summary><pre>{}</pre></details>\n",
        escaped(&settings)
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// Formats `1234567` as `1,234,567`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    groups.join(",")
}
