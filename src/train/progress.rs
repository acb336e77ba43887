//! What training shows while it runs: a bar on a terminal, nothing in a pipe. Lines of figures go to stderr either way.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `length` steps of `what`; hidden unless stderr is a terminal.
pub fn bar(length: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {eta} left")
        .expect("the template is a constant and valid");
    ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr())
        .with_style(style)
        .with_prefix(what.to_owned())
}

/// The bar over all steps of a run, so that the time left is the run's.
#[derive(Debug)]
pub struct RunBar {
    bar: ProgressBar,
    epochs: usize,
    /// What the last epoch reached.
    reached: Option<f64>,
}

impl RunBar {
    /// A run of so many epochs of so many steps.
    pub fn new(epochs: usize, steps: usize) -> Self {
        Self { bar: bar(epochs * steps, "epoch"), epochs, reached: None }
    }

    /// Epoch `epoch` (from 1) begins, with `steps` done before it and what the one before it reached.
    pub fn begin(&mut self, epoch: usize, steps: usize, reached: Option<f64>) {
        self.reached = reached;
        self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
        // A run that goes on from a checkpoint has not just done all the steps before.
        if self.bar.position() != steps as u64 {
            self.bar.set_position(steps as u64);
            self.bar.reset_eta();
        }
    }

    /// A step is done, and the mean loss of its epoch is this.
    pub fn step(&self, loss: f64) {
        let reached = self.reached.map(|reached| format!(", UAR {reached:.3}")).unwrap_or_default();
        self.bar.set_message(format!("loss {loss:.3}{reached}"));
        self.bar.inc(1);
    }

    /// Writes a line above the bar, or plainly where there is none.
    pub fn print_line(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
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
