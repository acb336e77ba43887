"""Checks ONNX files with onnx.checker: python tests/check_onnx.py FILE...

Requires onnx 1.19.0 (pip install onnx==1.19.0). Prints one line per file. The exit code is 1 where a file is not a valid model,
has no contract, or has an output of the wrong shape. The graph is not run.
"""

import json
import sys

import onnx

KEY = "affectd.contract"


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    contract = json.loads({entry.key: entry.value for entry in model.metadata_props}[KEY])
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": 17} or model.ir_version != 8:
        raise ValueError(f"opset {versions}, IR {model.ir_version}: expected 17 and 8")
    # An out-of-domain score is a second output.
    widths = [len(contract["labels"])] + [1] * ("ood" in contract)
    if len(model.graph.input) != 1 or len(model.graph.output) != len(widths):
        raise ValueError(f"{len(model.graph.input)} inputs, {len(model.graph.output)} outputs: expected 1 and {len(widths)}")
    for port, width in zip([*model.graph.input, *model.graph.output], [None, *widths]):
        axes = port.type.tensor_type.shape.dim
        if not axes[0].dim_param:
            raise ValueError(f"{port.name}: the batch axis is fixed")
        if width and [axis.dim_value for axis in axes[1:]] != [width]:
            raise ValueError(f"{port.name}: expected [{width}] values per window")
    return f'{contract["name"]} {contract["version"]}, {len(model.graph.node)} nodes'


def main(paths):
    failed = not paths
    for path in paths:
        try:
            print(f"{path}: ok, {check(path)}")
        except Exception as error:  # any error is reported, and the next file is checked
            print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
