//! Conversions between [`Report`] and the protocol's message.
//!
//! Invariants: both directions are lossless.

use super::bootstrap::Interval;
use super::metrics::ClassMetrics;
use super::report::Report;
use super::risk_coverage::RiskCoverage;
use crate::proto;

impl From<Report> for proto::Report {
    fn from(report: Report) -> Self {
        let interval = |it: Interval| proto::Interval { low: it.low, high: it.high };
        Self {
            clips: report.clips,
            skipped: report.skipped,
            accuracy: report.accuracy,
            unweighted_average_recall: report.unweighted_average_recall,
            macro_f1: report.macro_f1,
            labels: report.labels,
            confusion_matrix: report
                .confusion_matrix
                .into_iter()
                .map(|counts| proto::ConfusionRow { counts })
                .collect(),
            per_class: report.per_class.into_iter().map(Into::into).collect(),
            expected_calibration_error: report.expected_calibration_error,
            surest_half_accuracy: report.surest_half_accuracy,
            area_under_risk_coverage: report.area_under_risk_coverage,
            risk_coverage: report.risk_coverage.into_iter().map(Into::into).collect(),
            accuracy_interval: report.accuracy_interval.map(interval),
            unweighted_average_recall_interval: report.unweighted_average_recall_interval.map(interval),
            model: report.model,
            seconds: report.seconds,
        }
    }
}

impl From<proto::Report> for Report {
    fn from(report: proto::Report) -> Self {
        let interval = |it: proto::Interval| Interval { low: it.low, high: it.high };
        Self {
            model: report.model,
            clips: report.clips,
            skipped: report.skipped,
            accuracy: report.accuracy,
            unweighted_average_recall: report.unweighted_average_recall,
            macro_f1: report.macro_f1,
            expected_calibration_error: report.expected_calibration_error,
            surest_half_accuracy: report.surest_half_accuracy,
            area_under_risk_coverage: report.area_under_risk_coverage,
            risk_coverage: report.risk_coverage.into_iter().map(Into::into).collect(),
            accuracy_interval: report.accuracy_interval.map(interval),
            unweighted_average_recall_interval: report.unweighted_average_recall_interval.map(interval),
            labels: report.labels,
            confusion_matrix: report.confusion_matrix.into_iter().map(|row| row.counts).collect(),
            per_class: report.per_class.into_iter().map(Into::into).collect(),
            seconds: report.seconds,
        }
    }
}

impl From<RiskCoverage> for proto::RiskCoverage {
    fn from(RiskCoverage { coverage, risk, confidence }: RiskCoverage) -> Self {
        Self { coverage, risk, confidence }
    }
}

impl From<proto::RiskCoverage> for RiskCoverage {
    fn from(proto::RiskCoverage { coverage, risk, confidence }: proto::RiskCoverage) -> Self {
        Self { coverage, risk, confidence }
    }
}

impl From<ClassMetrics> for proto::ClassMetrics {
    fn from(class: ClassMetrics) -> Self {
        let ClassMetrics { label, precision, recall, f1, support } = class;
        Self { label, precision, recall, f1, support }
    }
}

impl From<proto::ClassMetrics> for ClassMetrics {
    fn from(class: proto::ClassMetrics) -> Self {
        let proto::ClassMetrics { label, precision, recall, f1, support } = class;
        Self { label, precision, recall, f1, support }
    }
}
