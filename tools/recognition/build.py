"""Builds the large speech-emotion model as one ONNX file that affectd runs as it is.

Input: the folders of CREMA-D, which trains, and of EMO-DB, which calibrates. Output: the ONNX file, and on standard output the
measures of the parts that calibrated it. Invariants: neither the test speakers of CREMA-D nor EMO-DB train; the temperature
depends on the validation speakers of CREMA-D and on 5 speakers of EMO-DB. Windows and embeddings are cached in `--work`.

    pip install --no-deps -r requirements.txt
    python build.py --crema-d DIR --emo-db DIR --work DIR --output speech-emotion-large.onnx
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import calibration
import embeddings
import export
import heads
import measure
import windows
from features import LARGE

COPIES = range(5)  # of CREMA-D; copy 0 is the clips as they are
PROVENANCE = {
    "datasets": ["CREMA-D, rebuilt from log-mel spectrograms; EMO-DB for the temperature"], "protocol": "speaker-independent",
    "metrics": {}, "trained_at": "2026-11-29T00:00:00Z",
}  # fmt: skip


def large_network(options):
    """Returns the large network with trained heads."""
    network = embeddings.network(options.roots, options.work)
    load = lambda corpus, copy: embeddings.load(network, corpus, options.roots, copy, options.work)
    parts = [load("crema-d", copy) for copy in COPIES]
    speech = np.concatenate([values[windows.may_train(file)] for file, values in parts])
    labels = np.concatenate([file["label"][windows.may_train(file)] for file, _ in parts])
    heads.train(network, speech, labels, load("noise", 1)[1], options.seed)
    return network


class Scored:
    """The outputs of a network for one part of a corpus, clips as they are."""

    def __init__(self, corpus, part, file, outputs):
        kept = file["part"] == part
        self.title, self.clips, self.labels = f"{corpus} {part}", file["clip"][kept], file["label"][kept]
        self.logits, self.embeddings = outputs(kept)

    def report(self, fitted=(0.0, 0.0, 0.0)):
        """Prints the measures with a calibration; the default changes nothing."""
        probabilities = calibration.probabilities(fitted, self.logits, self.embeddings)
        print(f"{self.title:20} {measure.summary(probabilities, self.clips, self.labels)}", flush=True)


def typical(scored):
    """Returns the typical distance from the training data."""
    return float(np.median(calibration.distance(scored.embeddings)))


def calibrated(sets):
    """Returns the calibration from `sets`, of which the first one gives the typical distance, and prints their measures."""
    fitted = calibration.fit([(it.logits, it.embeddings, it.labels) for it in sets], typical(sets[0]))
    print("calibration: base {:.3f}, slope {:.3f}, typical distance {:.3f}".format(*fitted))
    for scored in sets:
        scored.report(fitted)
    return fitted


def scored(network, corpus, options):
    """Returns the outputs of the large network for the validation speakers of a corpus."""
    file, values = embeddings.load(network, corpus, options.roots, 0, options.work)

    @torch.no_grad()
    def outputs(kept):
        return tuple(part.numpy() for part in network.classify(torch.from_numpy(values[kept])))

    return Scored(corpus, "validation", file, outputs)


def parser_of(description, name):
    """Returns the parser of the options that both models have; `name` is the default name in the contract."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crema-d", type=Path, metavar="DIR", required=True)
    parser.add_argument("--emo-db", type=Path, metavar="DIR", required=True)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: %(default)s)")
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


def write(options, front, network, fitted, provenance):
    described = export.contract(front, options.name, options.version, {**provenance, "seed": options.seed})
    export.write(options.output, front, network, fitted, described)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


def main():
    options = options_of(parser_of(__doc__, "speech-emotion-large"))
    network = large_network(options).eval()
    fitted = calibrated([scored(network, corpus, options) for corpus in ("crema-d", "emo-db")])
    write(options, LARGE, network, fitted, PROVENANCE)


if __name__ == "__main__":
    main()
