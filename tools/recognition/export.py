"""Export of a trained network as one ONNX file with the contract of affectd.

Input: a network that returns logits and embedding, `Outputs` and provenance. Output: an ONNX file, opset 17, with the outputs
`probabilities` `[batch, labels]`: softmax(logits / temperature), where the temperature grows with the distance of the embedding from the
training data, and `ood` `[batch, 1]`: the out-of-domain score, from 0 to 1. Invariant: the file needs nothing beside it.
"""

import json
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import nn

import corpora
from features import HOP, RATE, WINDOW

IR_VERSION = 8
THRESHOLD = 0.5  # of the out-of-domain score, see `outlier.fit`


@dataclass
class Outputs:
    """How the outputs follow from logits and embedding."""

    calibration: tuple  # base, slope and typical distance, see `calibration.fit`
    outlier: tuple  # weights and bias, see `outlier.fit`
    adaptation: dict  # see `calibration.adaptation`


class Calibrated(nn.Module):
    """The network with its temperature: exp(base + slope · max(0, distance)), distance = log mean square of the embedding.

    The out-of-domain score is a logistic function of the outlier score.
    """

    def __init__(self, network, outputs):
        super().__init__()
        self.network, self.calibration = network, outputs.calibration
        weights, bias = outputs.outlier
        self.outlier = nn.Linear(len(weights), 1)
        self.outlier.weight.data = torch.from_numpy(weights[None].astype(np.float32))
        self.outlier.bias.data = torch.tensor([bias], dtype=torch.float32)

    def forward(self, features):
        logits, embedding = self.network(features)
        base, slope, typical = self.calibration
        distance = torch.log((embedding * embedding).mean(1, keepdim=True) + 1e-6) - typical
        probabilities = torch.softmax(logits / torch.exp(base + slope * torch.relu(distance)), 1)
        return probabilities, torch.sigmoid(self.outlier(embedding))


def contract(front, name, version, provenance, adaptation):
    """Returns the contract of the model."""
    return {
        "schema": 1, "name": name, "version": version, "labels": corpora.LABELS,
        "input": front.input, "layout": "NTC", "output": "probabilities",
        "sample_rate_hz": RATE, "window": {"length_samples": WINDOW, "hop_samples": HOP}, "frames": front.frames,
        "mfcc": front.contract(), "temperature": 1.0, "ood": {"threshold": THRESHOLD},
        "adaptation": adaptation, "provenance": provenance,
    }  # fmt: skip


def write(path, front, network, outputs, described):
    """Writes the model; `described` is the contract."""
    model = Calibrated(network, outputs).eval()
    example = torch.randn(2, front.frames, front.bands)
    torch.onnx.export(
        model, (example,), path, input_names=["features"], output_names=["probabilities", "ood"], opset_version=17,
        dynamic_axes={name: {0: "batch"} for name in ("features", "probabilities", "ood")}, dynamo=False,
    )  # fmt: skip
    graph = onnx.load(path)
    graph.ir_version = IR_VERSION
    onnx.helper.set_model_props(graph, {"affectd.contract": json.dumps(described)})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
