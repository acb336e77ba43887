"""Quantizes a model of `build_large.py` or `build_small.py` to 8-bit integers: static, QDQ, one scale per output channel of the weights.

Input: the float model, and the cached windows that its recipe left in the folder `--work`. Output: the int8 model. Invariants: only
convolutions and products with constant weights are quantized; normalization, attention, softmax, statistics, head and
temperature stay in 32-bit floats. Weights use 7 of the 8 bits: CPUs without VNNI add two products of 8 bits in 16 bits, which
saturate with weights of the whole range, and the network then answers wrongly.

    python quantize.py --work DIR --front large --input speech-emotion-large.onnx --output speech-emotion-large-int8.onnx
    python quantize.py --work DIR --front small --input speech-emotion.onnx --output speech-emotion-int8.onnx
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import small
from export import IR_VERSION
from features import FRONTS

LEAST_WIDTH = 100  # products with fewer outputs stay in floats: the last layers of the heads
SOURCES = ("crema-d_0", "crema-d_1", "crema-d_2", "noise_1")


class Windows(CalibrationDataReader):
    """Calibration windows: 32 of each source, evenly spaced."""

    def __init__(self, work, front):
        bands = FRONTS[front].bands
        self.to_features = small.inverse_transform(bands).numpy().T if FRONTS[front].input == "mfcc" else np.eye(bands)
        self.batches = iter([self.read(np.load(work / f"windows_{front}_{source}.npz")["cells"]) for source in SOURCES])

    def read(self, cells):
        chosen = cells[np.linspace(0, len(cells) - 1, 32).astype(int)]
        return {"features": (chosen @ self.to_features).astype(np.float32)}

    def get_next(self):
        return next(self.batches, None)


def quantized_nodes(model):
    """Returns the names of the convolutions and of the wide products with constant weights."""
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    wide = lambda node: constants.get(node.input[1], (0,))[-1] >= LEAST_WIDTH
    return [node.name for node in model.graph.node if node.op_type == "Conv" or (node.op_type == "MatMul" and wide(node))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--work", "--input", "--output"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--front", choices=FRONTS, required=True, help="front end of the model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(options.input, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            prepared, options.output, Windows(options.work, options.front), quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax, nodes_to_quantize=quantized_nodes(onnx.load(prepared)),
        )  # fmt: skip
    model = onnx.load(options.output)
    model.ir_version = IR_VERSION
    contract = [entry for entry in onnx.load(options.input).metadata_props if entry.key == "affectd.contract"]
    del model.metadata_props[:]
    model.metadata_props.extend(contract)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
