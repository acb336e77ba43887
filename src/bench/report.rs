//! What a bench found.
//!
//! In: measured rows. Out: a table or JSON with stable keys. Pure.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// The figures of a bench. Field names are the keys of the JSON, and stay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchmarkReport {
    /// Name and version.
    pub model: String,
    /// `onnxruntime`
    pub engine: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// CPU time of the front end for one hop of audio with all cores busy; null for models that take samples.
    pub features_cpu_ms: Option<f64>,
    /// One for each batch size of each way to use the cores.
    pub rows: Vec<BenchmarkRow>,
}

/// One batch size on so many sessions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchmarkRow {
    /// Windows in one run of the model.
    pub batch: usize,
    /// Threads inside one session.
    pub threads: usize,
    /// Models side by side.
    pub sessions: usize,
    /// Of all sessions together.
    pub windows_per_second: f64,
    /// The median time of one run.
    pub latency_ms: f64,
    /// CPU time of the whole process for one window.
    pub cpu_ms_per_window: f64,
}

impl fmt::Display for BenchmarkReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} on {} ({})", self.model, self.engine, self.device)?;
        match self.features_cpu_ms {
            Some(cpu) => writeln!(out, "features: {cpu:.3} ms of CPU for one hop of audio\n")?,
            None => writeln!(out, "features: none, the model takes samples\n")?,
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["batch", "threads", "sessions", "windows/s", "latency ms", "CPU ms/window"]);
        for row in &self.rows {
            table.add_row([
                row.batch.to_string(),
                row.threads.to_string(),
                row.sessions.to_string(),
                format!("{:.1}", row.windows_per_second),
                format!("{:.2}", row.latency_ms),
                format!("{:.3}", row.cpu_ms_per_window),
            ]);
        }
        table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
