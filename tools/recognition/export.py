"""Export of a trained network as one ONNX file with the contract of affectd.

Input: a network that returns logits and embedding, calibration and provenance. Output: an ONNX file, opset 17, whose output is
probabilities: softmax(logits / temperature), where the temperature grows with the distance of the embedding from the training
data. Invariant: the file needs nothing beside it.
"""

import json

import onnx
import torch
from torch import nn

import corpora
from features import HOP, RATE, WINDOW

IR_VERSION = 8


class Calibrated(nn.Module):
    """The network with its temperature: exp(base + slope · max(0, distance)), distance = log mean square of the embedding."""

    def __init__(self, network, calibration):
        super().__init__()
        self.network, self.calibration = network, calibration

    def forward(self, features):
        logits, embedding = self.network(features)
        base, slope, typical = self.calibration
        distance = torch.log((embedding * embedding).mean(1, keepdim=True) + 1e-6) - typical
        return torch.softmax(logits / torch.exp(base + slope * torch.relu(distance)), 1)


def contract(front, name, version, provenance):
    """Returns the contract of the model."""
    return {
        "schema": 1, "name": name, "version": version, "labels": corpora.LABELS,
        "input": front.input, "layout": "NTC", "output": "probabilities",
        "sample_rate_hz": RATE, "window": {"length_samples": WINDOW, "hop_samples": HOP}, "frames": front.frames,
        "mfcc": front.contract(), "temperature": 1.0, "provenance": provenance,
    }  # fmt: skip


def write(path, front, network, calibration, described):
    """Writes the model; `described` is the contract."""
    model = Calibrated(network, calibration).eval()
    example = torch.randn(2, front.frames, front.bands)
    torch.onnx.export(
        model, (example,), path, input_names=["features"], output_names=["probabilities"], opset_version=17,
        dynamic_axes={"features": {0: "batch"}, "probabilities": {0: "batch"}}, dynamo=False,
    )  # fmt: skip
    graph = onnx.load(path)
    graph.ir_version = IR_VERSION
    onnx.helper.set_model_props(graph, {"affectd.contract": json.dumps(described)})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
