"""Checks ONNX files with onnx.checker: python tests/check_onnx.py FILE...

Needs onnx 1.19.0 (pip install onnx==1.19.0). Prints a line a file; ends with 1 where a file is not a valid model, has no
contract, or gives no probabilities. Never runs the graph.
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
        raise ValueError(f"opset {versions}, IR {model.ir_version}: want 17 and 8")
    for value, sizes in ((model.graph.input, None), (model.graph.output, [len(contract["labels"])])):
        [port] = value
        axes = port.type.tensor_type.shape.dim
        if not axes[0].dim_param:
            raise ValueError(f"{port.name}: the batch axis is fixed")
        if sizes and [axis.dim_value for axis in axes[1:]] != sizes:
            raise ValueError(f"{port.name}: does not have {sizes} values a window")
    return f'{contract["name"]} {contract["version"]}, {len(model.graph.node)} nodes'


def main(paths):
    failed = not paths
    for path in paths:
        try:
            print(f"{path}: ok, {check(path)}")
        except Exception as error:  # every reason is reported, and the next file still checked
            print(f"{path}: {type(error).__name__}: {error}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
