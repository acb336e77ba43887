"""What the recipes of both models share: options, the outputs of a network for parts of a corpus, calibration and the file.

Input: a trained network and its outputs for the calibrating speakers. Output: the ONNX file, and on standard output the measures of the
parts that calibrated it. Invariants: the test speakers of CREMA-D and the clips of TESS are never read; EMO-DB calibrates with
5 speakers and does not train.
"""

import argparse
from pathlib import Path

import numpy as np

import calibration
import export
import measure
import outlier

CALIBRATING = ("crema-d", "emo-db")  # corpora whose validation speakers calibrate; the first one gives the typical distance
COPIES = range(5)  # of CREMA-D; copy 0 is the clips as they are
PROVENANCE = {
    "datasets": ["CREMA-D, rebuilt from log-mel spectrograms; EMO-DB for the temperature"], "protocol": "speaker-independent",
    "metrics": {}, "trained_at": "2026-11-29T00:00:00Z",
}  # fmt: skip


class Scored:
    """The outputs of a network for one part of a corpus, clips as they are."""

    def __init__(self, corpus, part, file, outputs):
        kept = file["part"] == part
        self.title, self.clips, self.labels = f"{corpus} {part}", file["clip"][kept], file["label"][kept]
        self.speakers = file["speaker"][kept]
        self.logits, self.embeddings = outputs(kept)

    def report(self, fitted=(0.0, 0.0, 0.0)):
        """Prints the measures with a calibration; the default changes nothing."""
        probabilities = calibration.probabilities(fitted, self.logits, self.embeddings)
        print(f"{self.title:20} {measure.summary(probabilities, self.clips, self.labels)}", flush=True)


def outputs_of(sets, speech, no_speech):
    """Returns the `export.Outputs` from the calibrating `sets` and the embeddings of training windows; prints the measures."""
    typical = np.median(calibration.distance(sets[0].embeddings))
    fitted = calibration.fit([(it.logits, it.embeddings, it.labels) for it in sets], typical)
    print("calibration: base {:.3f}, slope {:.3f}, typical distance {:.3f}".format(*fitted))
    for scored in sets:
        scored.report(fitted)
    found = outlier.fit(speech, no_speech, [it.embeddings for it in sets])
    for scored in sets:
        print(f"{scored.title:20} out of domain {(scored.embeddings @ found[0] + found[1] > 0).mean():.2f}")
    return export.Outputs(fitted, found, calibration.adaptation(fitted, [(it.logits, it.embeddings, it.speakers) for it in sets]))


def parser_of(description, name):
    """Returns the parser of the options that both models have; `name` is the default name in the contract."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crema-d", type=Path, metavar="DIR", required=True)
    parser.add_argument("--emo-db", type=Path, metavar="DIR", required=True)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=8000, help="batches of 32 windows (default: %(default)s)")
    parser.add_argument("--name", default=name, help="name in the contract (default: %(default)s)")
    parser.add_argument("--version", default="1.0.0", help="version in the contract (default: %(default)s)")
    parser.add_argument("--work", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file")
    return parser


def options_of(parser):
    """Returns the options, with the folder of each corpus in `roots`, and creates the folder of the cache."""
    options = parser.parse_args()
    options.roots = {"crema-d": options.crema_d, "noise": options.crema_d, "emo-db": options.emo_db}
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def write(options, front, network, outputs):
    provenance = {**PROVENANCE, "seed": options.seed}
    described = export.contract(front, options.name, options.version, provenance, outputs.adaptation)
    export.write(options.output, front, network, outputs, described)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")
