"""Export of a trained network as one ONNX file with the contract of affectd.

Input: a network that returns logits and embedding, calibration and provenance. Output: an ONNX file, opset 17, with the outputs
`probabilities` `[batch, labels]`: softmax(logits / temperature), where the temperature grows with the distance of the embedding from
the training data, and `ood` `[batch, 1]`: the out-of-domain score, 0 to 1, which grows with the same distance. Invariant: the file
needs nothing beside it.
"""

import json

import onnx
import torch
from torch import nn

import corpora
from features import FRONT, HOP, RATE, WINDOW

IR_VERSION = 8
THRESHOLD = 0.5  # out-of-domain score of the distance below which 95 % of the calibration data lies


class Calibrated(nn.Module):
    """The network with its temperature: exp(base + slope · max(0, distance - typical)), distance = log mean square of the embedding.

    The out-of-domain score is sigmoid((distance - middle) / scale). `domain` is (middle, scale).
    """

    def __init__(self, network, calibration, domain):
        super().__init__()
        self.network, self.calibration, self.domain = network, calibration, domain

    def forward(self, features):
        logits, embedding = self.network(features)
        base, slope, typical = self.calibration
        middle, scale = self.domain
        distance = torch.log((embedding * embedding).mean(1, keepdim=True) + 1e-6)
        temperature = torch.exp(base + slope * torch.relu(distance - typical))
        return torch.softmax(logits / temperature, 1), torch.sigmoid((distance - middle) / scale)


def contract(name, version, provenance, mean_logits):
    """Returns the contract of the model. `mean_logits` are those of `calibration.mean_logits`."""
    return {
        "schema": 1, "name": name, "version": version, "labels": corpora.LABELS,
        "input": "log_mel", "layout": "NTC", "output": "probabilities",
        "sample_rate_hz": RATE, "window": {"length_samples": WINDOW, "hop_samples": HOP}, "frames": FRONT.frames,
        "mfcc": FRONT.contract(), "temperature": 1.0, "ood": {"threshold": THRESHOLD},
        "adaptation": {"mean_logits": [round(float(logit), 4) for logit in mean_logits]}, "provenance": provenance,
    }  # fmt: skip


def write(path, network, calibration, domain, described):
    """Writes the model; `domain` is that of `calibration.domain`, and `described` is the contract."""
    model = Calibrated(network, calibration, domain).eval()
    example = torch.randn(2, FRONT.frames, FRONT.bands)
    torch.onnx.export(
        model, (example,), path, input_names=["features"], output_names=["probabilities", "ood"], opset_version=17,
        dynamic_axes={name: {0: "batch"} for name in ("features", "probabilities", "ood")}, dynamo=False,
    )  # fmt: skip
    graph = onnx.load(path)
    graph.ir_version = IR_VERSION
    onnx.helper.set_model_props(graph, {"affectd.contract": json.dumps(described)})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
