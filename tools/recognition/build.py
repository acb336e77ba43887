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

    def __init__(self, network, corpus, part, options):
        file, values = embeddings.load(network, corpus, options.roots, 0, options.work)
        kept = file["part"] == part
        self.title, self.clips, self.labels = f"{corpus} {part}", file["clip"][kept], file["label"][kept]
        logits, found = network.classify(torch.from_numpy(values[kept]))
        self.logits, self.embeddings = logits.detach().numpy(), found.detach().numpy()

    def report(self, fitted):
        probabilities = calibration.probabilities(fitted, self.logits, self.embeddings)
        print(f"{self.title:20} {measure.summary(probabilities, self.clips, self.labels)}", flush=True)


def calibrated(network, options):
    """Returns the calibration, the domain and the mean logits from the choosing speakers of both corpora, and prints their measures."""
    parts = [Scored(network, corpus, "validation", options) for corpus in ("crema-d", "emo-db")]
    sets = [(it.logits, it.embeddings, it.labels) for it in parts]
    typical = np.median(calibration.distance(parts[0].embeddings))
    fitted, domain = calibration.fit(sets, typical), calibration.domain(sets)
    print("calibration: base {:.3f}, slope {:.3f}, typical distance {:.3f}".format(*fitted))
    print("out-of-domain score: 0.5 at distance {:.3f}, scale {:.3f}".format(*domain))
    for scored in parts:
        scored.report(fitted)
    return fitted, domain, calibration.mean_logits(fitted, sets)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crema-d", type=Path, metavar="DIR", required=True)
    parser.add_argument("--emo-db", type=Path, metavar="DIR", required=True)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: %(default)s)")
    parser.add_argument("--name", default="speech-emotion-large", help="name in the contract (default: %(default)s)")
    parser.add_argument("--version", default="1.0.0", help="version in the contract (default: %(default)s)")
    parser.add_argument("--work", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file")
    options = parser.parse_args()
    options.roots = {"crema-d": options.crema_d, "noise": options.crema_d, "emo-db": options.emo_db}
    return options


def main():
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    network = large_network(options)
    fitted, domain, mean_logits = calibrated(network.eval(), options)
    described = export.contract(options.name, options.version, {**PROVENANCE, "seed": options.seed}, mean_logits)
    export.write(options.output, network, fitted, domain, described)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
