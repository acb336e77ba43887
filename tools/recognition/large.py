"""The encoder of the large network: normalization, stem and first layers of Whisper's encoder as they are, means over time and heads.

Input: log-mel windows `[batch, 298, 80]` of natural logarithms, rows of exactly 0.0 where a window has no audio. Output: logits
`[batch, 6]` and the embedding. Invariants: frames without audio do not influence the means; Whisper's weights are not changed.
"""

import torch
import torch.nn.functional as F
from torch import nn

import normalize

FRAMES, BANDS, WIDTH, HEADS, LAYERS = 298, 80, 384, 6, 2
STEPS = FRAMES // 2
LEVEL = 0.4  # mean power of the active frames in decades: speech at -25 dB of full scale
RANGE = 4.0  # dynamic range in decades, relative to the spectrum of speech
CHANNEL = 0.5  # share of a window's own spectrum that is removed


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self):
        super().__init__()
        self.attention_norm, self.forward_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.joint, self.mixed = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.widen, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def load(self, tensors, prefix):
        pairs = {
            "self_attention/layer_norm": self.attention_norm, "self_attention/linear_0": self.joint,
            "self_attention/linear_1": self.mixed, "ffn/layer_norm": self.forward_norm, "ffn/linear_0": self.widen,
            "ffn/linear_1": self.narrow,
        }  # fmt: skip
        for name, module in pairs.items():
            scale, shift = ("gamma", "beta") if name.endswith("norm") else ("weight", "bias")
            module.weight.data.copy_(torch.from_numpy(tensors[f"{prefix}/{name}/{scale}"]))
            module.bias.data.copy_(torch.from_numpy(tensors[f"{prefix}/{name}/{shift}"]))

    def forward(self, value):
        heads = lambda part: part.reshape(-1, STEPS, HEADS, WIDTH // HEADS).transpose(1, 2)
        query, key, content = map(heads, self.joint(self.attention_norm(value)).chunk(3, -1))
        weights = torch.softmax(query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5, -1)
        joined = (weights @ content).transpose(1, 2).reshape(-1, STEPS, WIDTH)
        value = value + self.mixed(joined)
        return value + self.narrow(F.gelu(self.widen(self.forward_norm(value))))


class Head(nn.Sequential):
    def __init__(self, columns, hidden):
        super().__init__(nn.Dropout(0.2), nn.Linear(columns, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 6))


class Encoder(nn.Module):
    """The stem and the first `layers` layers. Returns `[batch, 149, 384]` for the stem and each layer."""

    def __init__(self, tensors, layers):
        super().__init__()
        self.first, self.second = nn.Conv1d(BANDS, WIDTH, 3, padding=1), nn.Conv1d(WIDTH, WIDTH, 3, 2, padding=1)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        for module, name in ((self.first, "conv1"), (self.second, "conv2")):
            module.weight.data.copy_(torch.from_numpy(tensors[f"{name}/weight"]))
            module.bias.data.copy_(torch.from_numpy(tensors[f"{name}/bias"]))
        for index, layer in enumerate(self.layers):
            layer.load(tensors, f"layer_{index}")
        self.register_buffer("positions", torch.from_numpy(tensors["position_encodings/encodings"][:STEPS].copy()))

    def forward(self, cells):
        value = F.gelu(self.second(F.gelu(self.first(cells.transpose(1, 2))))).transpose(1, 2) + self.positions
        results = [value]
        for layer in self.layers:
            value = layer(value)
            results.append(value)
        return results


class Large(nn.Module):
    """The frozen encoder, means over the active steps of both layers, fixed standardization and several heads.

    The heads are one hidden layer each; their logits are averaged.
    """

    def __init__(self, tensors, heads=3, hidden=256):
        super().__init__()
        self.encoder = Encoder(tensors, LAYERS).requires_grad_(False)
        self.register_buffer("profile", torch.zeros(BANDS))
        self.register_buffer("mean", torch.zeros(LAYERS * WIDTH))
        self.register_buffer("deviation", torch.ones(LAYERS * WIDTH))
        self.heads = nn.ModuleList(Head(LAYERS * WIDTH, hidden) for _ in range(heads))

    @torch.no_grad()
    def prepare(self, windows):
        """Sets the mean spectrum from windows of the training data."""
        cells, active, _ = normalize.leveled(windows)
        self.profile.copy_(normalize.spectrum(cells, active).mean((0, 1)))

    def embed(self, features):
        """Returns the means of the layers before standardization, `[batch, 768]`."""
        cells, active, _ = normalize.leveled(features)
        cells = normalize.limited(cells, active, self.profile, RANGE, CHANNEL) + self.profile + LEVEL
        results = self.encoder((cells + 4) / 4)
        return torch.cat([normalize.mean(result.float(), active[:, ::2]) for result in results[1:]], 1)

    def classify(self, means):
        """Returns logits and standardized embedding."""
        embedding = (means - self.mean) / self.deviation
        logits = self.heads[0](embedding)
        for head in self.heads[1:]:
            logits = logits + head(embedding)
        return logits / len(self.heads), embedding

    def forward(self, features):
        return self.classify(self.embed(features))
