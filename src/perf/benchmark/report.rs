//! The report of a benchmark.
//!
//! Input: measured rows. Output: a table, or JSON with stable keys.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::batch::autotune::BenchmarkRow;

/// The results of a benchmark. The field names are the JSON keys and must not change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchmarkReport {
    /// The model's name and version.
    pub model: String,
    /// The inference engine: `onnxruntime`.
    pub engine: String,
    /// The device: `cpu`, `cuda` or `tensorrt`.
    pub device: String,
    /// The CPU time of the front end for one hop of audio with all cores busy, in milliseconds; null for waveform models.
    pub features_cpu_ms: Option<f64>,
    /// One row for each batch size of each core layout.
    pub rows: Vec<BenchmarkRow>,
}

impl fmt::Display for BenchmarkReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} on {} ({})", self.model, self.engine, self.device)?;
        match self.features_cpu_ms {
            Some(cpu) => writeln!(out, "features: {cpu:.3} ms of CPU for one hop of audio\n")?,
            None => writeln!(out, "features: none, the model's input is a waveform\n")?,
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
