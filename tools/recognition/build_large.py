"""Builds the large speech-emotion model as one ONNX file that affectd runs as it is.

Input: the folders of CREMA-D, which trains, and of EMO-DB, which calibrates. Output: the ONNX file, and on standard output the learning
curve and the measures of the parts that calibrated it. Invariant: the logits are the means of those of the encoder's heads
and of a convolutional network. Windows and embeddings are cached in `--work`.

    pip install --no-deps -r requirements.txt
    python build_large.py --crema-d DIR --emo-db DIR --work DIR --output speech-emotion-large.onnx
"""

import numpy as np
import torch

import convolutional
import encoder_heads
import joint
import recipe
import small
import windows
from features import LARGE

STEPS, WIDTHS, WIDTH = 8000, (32, 40, 56, 72), 144


def embedding_of(network, corpus, copy, options, every=3):
    """Returns the embeddings of every third training window of a copy."""
    file, values = encoder_heads.load(network.large, corpus, copy, options)
    rows = np.flatnonzero(windows.may_train(file))[::every]
    of_encoder = encoder_heads.outputs(network.large, values[rows])[1]
    return np.concatenate([of_encoder, convolutional.embeddings(network.small, LARGE, corpus, copy, options, every)], 1)


def scored(network, corpus, options):
    """Returns the outputs for the validation speakers of a corpus."""
    file, values = encoder_heads.load(network.large, corpus, 0, options)
    of_network = convolutional.scored(network.small, LARGE, corpus, options)

    def outputs(kept):
        logits, embeddings = encoder_heads.outputs(network.large, values[kept])
        return (logits + of_network.logits) / 2, np.concatenate([embeddings, of_network.embeddings], 1)

    return recipe.Scored(corpus, "validation", file, outputs)


def main():
    parser = recipe.parser_of(__doc__, "speech-emotion-large")
    parser.set_defaults(steps=STEPS)
    options = recipe.options_of(parser)
    large = encoder_heads.trained(options)
    torch.manual_seed(options.seed)
    network = small.Small(LARGE.bands, WIDTHS, WIDTH)
    network = convolutional.train(network, LARGE, encoder_heads.answers(large, options), options)
    network = joint.Joint(large, network.eval()).eval()
    sets = [scored(network, corpus, options) for corpus in recipe.CALIBRATING]
    speech = np.concatenate([embedding_of(network, "crema-d", copy, options) for copy in (0, 1, 2)])
    outputs = recipe.outputs_of(sets, speech, embedding_of(network, "noise", 1, options))
    recipe.write(options, LARGE, network, outputs)


if __name__ == "__main__":
    main()
