"""Builds the small speech-emotion model, which is built into affectd, as one ONNX file.

Input: the folders of CREMA-D, which trains, and of EMO-DB, which calibrates. Output: the ONNX file, and on standard output the learning
curve and the measures of the parts that calibrated it. Invariant: the target of a clip is the mean of its label and of the answers of
encoder heads that were trained without its speaker. Windows and embeddings are cached in `--work`.

    pip install -r requirements.txt
    python build_small.py --crema-d DIR --emo-db DIR --work DIR --output speech-emotion.onnx
"""

import numpy as np
import torch

import convolutional
import encoder_heads
import recipe
import small
from features import SMALL


def main():
    options = recipe.options_of(recipe.parser_of(__doc__, "speech-emotion"))
    taught = encoder_heads.answers_of_others(options)
    torch.manual_seed(options.seed)
    network = convolutional.train(small.Small(), SMALL, taught, options)
    sets = [convolutional.scored(network, SMALL, corpus, options) for corpus in recipe.CALIBRATING]
    speech = [convolutional.embeddings(network, SMALL, "crema-d", copy, options) for copy in (0, 1, 2)]
    no_speech = convolutional.embeddings(network, SMALL, "noise", 1, options)
    outputs = recipe.outputs_of(sets, np.concatenate(speech), no_speech)
    recipe.write(options, SMALL, small.OfCepstra(network).eval(), outputs)


if __name__ == "__main__":
    main()
