//! Progress of training: a bar on a terminal, nothing in a pipe. The results of each epoch are written to stderr in both
//! cases.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Creates a progress bar of `length` steps with the prefix `what`; it is hidden unless stderr is a terminal.
pub fn bar(length: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {eta} left")
        .expect("the template is a constant and valid");
    ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(what.to_owned())
}

/// The progress bar over all steps of a run, so that the remaining time is that of the run.
#[derive(Debug)]
pub struct RunBar {
    bar: ProgressBar,
    epochs: usize,
    /// The validation UAR of the previous epoch.
    reached: Option<f64>,
}

impl RunBar {
    /// Creates the bar of a run with `epochs` epochs of `steps` steps.
    pub fn new(epochs: usize, steps: usize) -> Self {
        Self { bar: bar(epochs * steps, "epoch"), epochs, reached: None }
    }

    /// Begins epoch `epoch` (from 1), after `steps` steps; `reached` is the validation UAR of the previous epoch.
    pub fn begin(&mut self, epoch: usize, steps: usize, reached: Option<f64>) {
        self.reached = reached;
        self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        // After a resume, the earlier steps must not count for the estimate of the remaining time.
        if self.bar.position() != steps as u64 {
            self.bar.set_position(steps as u64);
            self.bar.reset_eta();
        }
    }

    /// Advances by one step; `loss` is the mean loss of the epoch so far.
    pub fn step(&self, loss: f64) {
        let reached = self.reached.map(|reached| format!(", UAR {reached:.3}")).unwrap_or_default();
        self.bar.set_message(format!("loss {loss:.3}{reached}"));
        self.bar.inc(1);
    }

    /// Prints a line to stderr, above the bar where it is visible.
    pub fn print_line(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Removes the bar.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_shows_epoch_loss_and_recall() {
        let mut run = RunBar { bar: ProgressBar::hidden(), epochs: 4, reached: None };
        run.begin(1, 0, None);
        run.step(1.75);
        assert_eq!((run.bar.prefix(), run.bar.message()), ("epoch 1/4".into(), "loss 1.750".into()));
        run.begin(3, 20, Some(0.6251));
        run.step(1.5);
        assert_eq!(
            (run.bar.prefix(), run.bar.message(), run.bar.position()),
            ("epoch 3/4".into(), "loss 1.500, UAR 0.625".into(), 21)
        );
    }
}
