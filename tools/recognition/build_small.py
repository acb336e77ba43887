"""Builds the small speech-emotion model, which is built into affectd, as one ONNX file.

Input: the folders of CREMA-D and EMO-DB. Output: the ONNX file, and on standard output the learning curve and the measures of the
parts that calibrated it. Invariants: the test speakers of CREMA-D never train; the calibration comes from a network that
EMO-DB did not train. The targets are means of the labels and of the large model's answers. Windows and embeddings are cached in
`--work`.

    pip install --no-deps -r requirements.txt
    python build_small.py --crema-d DIR --emo-db DIR --work DIR --output speech-emotion.onnx

With `--without-emo-db` the file holds the network that CREMA-D alone trained, whose figures on EMO-DB are those of a corpus that
it was not trained on.
"""

import numpy as np
import torch

import build
import embeddings
import measure
import small
import training
import windows
from features import SMALL

COPIES = {"crema-d": range(5), "emo-db": range(9), "noise": range(1, 3)}
SHARES = {"crema-d": 1.0, "emo-db": 0.3, "noise": 0.06}


def teacher(options):
    """Returns the large model's distribution for each training clip of CREMA-D: its mean logits over all copies."""
    network, total, count = build.large_network(options), 0, 0
    for copy in COPIES["crema-d"]:
        file, values = embeddings.load(network, "crema-d", options.roots, copy, options.work)
        kept = windows.may_train(file)
        clips = np.unique(file["clip"][kept], return_inverse=True)[1]
        logits = network.classify(torch.from_numpy(values[kept]))[0].detach().numpy()
        sums = np.zeros((clips.max() + 1, logits.shape[1]))
        np.add.at(sums, clips, logits)
        total, count = total + sums, count + np.bincount(clips)[:, None]
    return measure.softmax(total / count)


def scored(network, corpus, options):
    file = windows.load(corpus, options.roots, SMALL, 0, options.work)
    return build.Scored(corpus, "validation", file, lambda kept: training.outputs(network, file["cells"][kept]))


def train(corpora, taught, options):
    """Returns a network that the corpora trained, and prints its learning curve."""
    names = [*corpora, "noise"]
    load = lambda name, copy: windows.load(name, options.roots, SMALL, copy, options.work)
    pools = [
        training.Pool([load(name, copy) for copy in COPIES[name]], taught if name == "crema-d" else None) for name in names
    ]  # fmt: skip
    shares = np.array([SHARES[name] for name in names])
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    curve = lambda network: scored(network, "crema-d", options).report()
    return training.train(
        small.Small(), pools, shares / shares.sum(), seed=options.seed, steps=options.steps, report=curve
    )  # fmt: skip


def main():
    parser = build.parser_of(__doc__, "speech-emotion")
    parser.add_argument("--steps", type=int, default=8000, help="batches of 32 windows (default: %(default)s)")
    parser.add_argument("--without-emo-db", action="store_true", help="write the network that CREMA-D alone trained")
    options = build.options_of(parser)
    taught = teacher(options)
    network = train(["crema-d"], taught, options)
    fitted = build.calibrated([scored(network, corpus, options) for corpus in ("crema-d", "emo-db")])
    if not options.without_emo_db:
        network = train(["crema-d", "emo-db"], taught, options)
        own = scored(network, "crema-d", options)
        fitted = (*fitted[:2], build.typical(own))
        own.report(fitted)
    build.write(options, SMALL, small.OfCepstra(network).eval(), fitted, build.PROVENANCE)


if __name__ == "__main__":
    main()
