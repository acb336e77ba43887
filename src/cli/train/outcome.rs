//! The summary that `affectd train` prints at its end.
//!
//! Input: the trained model and its scores. Output: lines on stdout.

use std::path::Path;

use crate::train::Trained;
use crate::train::int8::Int8;
use crate::train::score::Score;

/// Prints the trained model and its scores.
pub(super) fn print(trained: &Trained, output: &Path) {
    let encoder = trained.training.encoder.as_ref().map(|it| format!(" after {it}")).unwrap_or_default();
    println!(
        "wrote {}: labels {}; {} parameters, {:.1} MFLOP a window{encoder}; best epoch {}, temperature {:.3}",
        output.display(),
        trained.labels.join(", "),
        trained.parameters(),
        trained.architecture.operations() as f64 / 1e6,
        trained.fitted.epoch,
        trained.fitted.temperature
    );
    print_scores(&trained.fitted.validation, &trained.test);
}

/// Prints the scores on the validation and test clips.
pub(super) fn print_scores(validation: &Score, test: &Score) {
    for (what, score) in [("validation", validation), ("test", test)] {
        println!(
            "{what:<10} accuracy {:.4}  UAR {:.4}  macro F1 {:.4}  loss {:.4}",
            score.accuracy, score.unweighted_average_recall, score.macro_f1, score.loss
        );
    }
}

/// The loss of validation UAR by quantization above which a warning is printed.
const MAX_UAR_LOSS: f64 = 0.01;

/// Prints the scores of the quantized model, with the differences to the float model.
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
    if lost > MAX_UAR_LOSS {
        eprintln!("WARNING: in 8 bits the model loses {lost:.4} of its UAR on the validation clips");
    }
}
