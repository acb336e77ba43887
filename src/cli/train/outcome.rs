//! What `affectd train` says when it is done.
//!
//! In: the trained model and its scores. Out: lines on stdout. Never measures.

use std::path::Path;

use crate::train::Trained;
use crate::train::int8::Int8;
use crate::train::score::Score;

/// What was trained, and what it reached.
pub(super) fn print(trained: &Trained, output: &Path) {
    println!(
        "wrote {}: labels {}; {} parameters, {:.1} MFLOP a window; best epoch {}, temperature {:.3}",
        output.display(),
        trained.labels.join(", "),
        trained.parameters(),
        trained.architecture.operations() as f64 / 1e6,
        trained.fitted.epoch,
        trained.fitted.temperature
    );
    print_scores(&trained.fitted.validation, &trained.test);
}

/// What validation and test clips gave.
pub(super) fn print_scores(validation: &Score, test: &Score) {
    for (what, score) in [("validation", validation), ("test", test)] {
        println!(
            "{what:<10} accuracy {:.4}  UAR {:.4}  macro F1 {:.4}  loss {:.4}",
            score.accuracy, score.unweighted_average_recall, score.macro_f1, score.loss
        );
    }
}

/// What an 8-bit file may lose; beyond it the user is warned.
const MOST_LOST: f64 = 0.01;

/// The model in 8-bit integers beside the one it comes from.
pub(super) fn print_int8(int8: &Int8) {
    println!("wrote {}: {:.2} times as fast", int8.path.display(), int8.speed_up);
    for (what, [float, int8]) in [("validation", int8.validation), ("test", int8.test)] {
        println!(
            "{what:<10} accuracy {:.4} ({:+.4})  UAR {:.4} ({:+.4})",
            int8.accuracy,
            int8.accuracy - float.accuracy,
            int8.unweighted_average_recall,
            int8.unweighted_average_recall - float.unweighted_average_recall
        );
    }
    let [float, integers] = int8.validation;
    let lost = float.unweighted_average_recall - integers.unweighted_average_recall;
    if lost > MOST_LOST {
        eprintln!("WARNING: in 8 bits the model loses {lost:.4} of its UAR on the validation clips");
    }
}
