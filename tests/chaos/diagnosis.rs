//! What is known of a run whose records stay uncommitted: where each partition hangs, and the state of each daemon.
//!
//! Input: a running trial. Output: text for the end of its row. Reads the daemons through their ports and logs alone.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use crate::support::daemon::{Daemon, affectd};
use crate::trial::Lag;

/// Lines of a log that are shown.
const LAST_LINES: usize = 200;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the partitions with records behind the committed offset, the output of `affectd offsets`, and the metrics and the end of the log of each daemon.
pub async fn of_lag(lag: &Lag, config: &Path, daemons: &[Daemon]) -> String {
    let mut text = String::new();
    for (partition, (committed, end)) in lag.partitions() {
        let _ = writeln!(text, "partition {partition}: committed {committed:?}, end {end}");
    }
    text.push_str(&offsets(config).await);
    for (number, daemon) in daemons.iter().enumerate() {
        let _ = writeln!(text, "--- metrics of daemon {number}\n{}", metrics(daemon).await);
        let log = daemon.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let _ = writeln!(text, "--- end of the log of daemon {number}\n{last}");
    }
    text
}

/// Returns the output of `affectd offsets`.
async fn offsets(config: &Path) -> String {
    let output = affectd().arg("offsets").arg("--config").arg(config).output();
    let Ok(output) = timeout(PATIENCE, output).await else {
        return format!("affectd offsets does not end after {PATIENCE:?}\n");
    };
    let output = output.expect("the binary runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Returns the values of `/metrics` that can show where records wait: not the help, no bucket of a histogram, and nothing that is 0.
async fn metrics(daemon: &Daemon) -> String {
    match timeout(PATIENCE, daemon.get("/metrics")).await {
        Ok(Ok((_, metrics))) => {
            let is_shown =
                |line: &&str| !line.starts_with('#') && !line.contains("_bucket{") && !line.ends_with(" 0");
            metrics.lines().filter(is_shown).collect::<Vec<_>>().join("\n")
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer after {PATIENCE:?}"),
    }
}
