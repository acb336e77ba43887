"""Builds the large speech-emotion model as one ONNX file that affectd runs as it is.

Input: the folders of CREMA-D, which trains, and of EMO-DB, which calibrates. Output: the ONNX file, and on standard output the learning
curve and the measures of the parts that calibrated it. Windows and embeddings are cached in `--work`.

    pip install -r requirements.txt
    python build_large.py --crema-d DIR --emo-db DIR --work DIR --output speech-emotion-large.onnx
"""

import numpy as np
import torch

import convolutional
import encoder_heads
import joint
import recipe
import training
import windows
from features import LARGE


def embedding_of(network, corpus, copy, options, every=3):
    """Returns the standardized embeddings of every third training window of a copy."""
    file, values = encoder_heads.load(network, corpus, copy, options)
    rows = np.flatnonzero(windows.may_train(file))[::every]
    return encoder_heads.outputs(network, values[rows])[1]


def scored(network, corpus, options):
    """Returns the outputs for the validation speakers of a corpus."""
    file, values = encoder_heads.load(network.encoder, corpus, 0, options)

    def outputs(kept):
        logits, embedding = encoder_heads.outputs(network.encoder, values[kept])
        return joint.mixed(logits, training.outputs(network.convolutions, file["cells"][kept])[0]), embedding

    return recipe.Scored(corpus, "validation", file, outputs)


def main():
    options = recipe.options_of(recipe.parser_of(__doc__, "speech-emotion-large"))
    heads = encoder_heads.trained(options)
    torch.manual_seed(options.seed)
    convolutions = convolutional.train(joint.convolutions(), LARGE, encoder_heads.answers(heads, options), options)
    network = joint.Joint(heads, convolutions).eval()
    sets = [scored(network, corpus, options) for corpus in recipe.CALIBRATING]
    speech = np.concatenate([embedding_of(heads, "crema-d", copy, options) for copy in (0, 1, 2)])
    outputs = recipe.outputs_of(sets, speech, embedding_of(heads, "noise", 1, options))
    recipe.write(options, LARGE, network, outputs)


if __name__ == "__main__":
    main()
