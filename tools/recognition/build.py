"""Builds a speech-emotion model for recordings from anywhere, as one ONNX file that affectd runs as it is.

Input: the folders of CREMA-D, which trains, and of EMO-DB and TESS, which calibrate. Output: the ONNX file, and on standard output the
measures of the parts that chose and calibrated it. Invariants: neither the test speakers of CREMA-D nor EMO-DB nor TESS
train; the temperature depends on 5 speakers of EMO-DB and on one of TESS. Windows and embeddings are cached in `--work`.

    pip install --no-deps -r requirements.txt
    python build.py large --crema-d DIR --emo-db DIR --tess DIR --work DIR --output speech-emotion-large.onnx
    python build.py small --crema-d DIR --emo-db DIR --tess DIR --work DIR --output speech-emotion-small.onnx
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
import small
import training
import windows

COPIES = {"crema-d": range(5), "noise": range(1, 3)}  # copy 0 is the clips as they are
PROVENANCE = {
    "datasets": ["CREMA-D, rebuilt from log-mel spectrograms; EMO-DB and TESS for the temperature"], "protocol": "speaker-independent",
    "metrics": {}, "trained_at": "2026-11-29T00:00:00Z",
}  # fmt: skip


def large_network(options):
    """Returns the large network with trained heads."""
    network = embeddings.network(options.roots, options.work)
    load = lambda corpus, copy: embeddings.load(network, corpus, options.roots, copy, options.work)
    parts = [load("crema-d", copy) for copy in COPIES["crema-d"]]
    speech = np.concatenate([values[windows.may_train(file)] for file, values in parts])
    labels = np.concatenate([file["label"][windows.may_train(file)] for file, _ in parts])
    heads.train(network, speech, labels, load("noise", 1)[1], options.seed)
    return network


def small_network(options):
    """Returns the trained small network."""
    pools = [
        training.Pool([windows.load(corpus, options.roots, copy, options.work) for copy in COPIES[corpus]], "small")
        for corpus in ("crema-d", "noise")
    ]
    shares = np.array([1, 0.06]) / 1.06
    torch.manual_seed(options.seed)
    network = small.Small()
    network.prepare(training.batch_of(np.random.default_rng(1), pools, shares, 512)[0])
    groups = [{"params": network.parameters(), "lr": 2e-3, "weight_decay": 0.02}]
    return training.train(network, groups, pools, shares, training.Settings(options.seed, 2500, decay=0.998))


class Scored:
    """The outputs of a network for one part of a corpus, clips as they are."""

    def __init__(self, network, corpus, part, options):
        if options.kind == "large":
            file, values = embeddings.load(network, corpus, options.roots, 0, options.work)
            outputs = lambda kept: [found.detach().numpy() for found in network.classify(torch.from_numpy(values[kept]))]
        else:
            file = windows.load(corpus, options.roots, 0, options.work)
            outputs = lambda kept: training.outputs(network, file["small"][kept])
        kept = file["part"] == part
        self.title, self.clips, self.labels = f"{corpus} {part}", file["clip"][kept], file["label"][kept]
        self.logits, self.embeddings = outputs(kept)

    def report(self, fitted):
        probabilities = calibration.probabilities(fitted, self.logits, self.embeddings)
        print(f"{self.title:20} {measure.summary(probabilities, self.clips, self.labels)}", flush=True)


def calibrated(network, options):
    """Returns the calibration from the choosing speakers of all three corpora, and prints their measures."""
    sets = [Scored(network, corpus, "validation", options) for corpus in ("crema-d", "emo-db", "tess")]
    typical = np.median(calibration.distance(sets[0].embeddings))
    fitted = calibration.fit([(it.logits, it.embeddings, it.labels) for it in sets], typical)
    print("calibration: base {:.3f}, slope {:.3f}, typical distance {:.3f}".format(*fitted))
    for scored in sets:
        scored.report(fitted)
    return fitted


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["large", "small"])
    parser.add_argument("--crema-d", type=Path, metavar="DIR", required=True)
    parser.add_argument("--emo-db", type=Path, metavar="DIR", required=True)
    parser.add_argument("--tess", type=Path, metavar="DIR", required=True)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default: %(default)s)")
    parser.add_argument("--name", help="name in the contract (default: speech-emotion-KIND)")
    parser.add_argument("--version", default="1.0.0", help="version in the contract (default: %(default)s)")
    parser.add_argument("--work", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file")
    options = parser.parse_args()
    options.roots = {"crema-d": options.crema_d, "noise": options.crema_d, "emo-db": options.emo_db}
    options.roots["tess"] = options.tess
    return options


def main():
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    network = large_network(options) if options.kind == "large" else small_network(options)
    fitted = calibrated(network.eval(), options)
    name = options.name or f"speech-emotion-{options.kind}"
    described = export.contract(options.kind, name, options.version, {**PROVENANCE, "seed": options.seed})
    export.write(options.output, options.kind, network, fitted, described)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
