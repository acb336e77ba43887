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
