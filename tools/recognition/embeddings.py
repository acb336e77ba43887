"""The embeddings of the large network before its head, computed once for each copy of a corpus.

Input: cached windows. Output: `[windows, 768]` in the order of the windows, 32-bit floats. Invariant: the encoder is frozen, so that
embeddings depend on the mean spectrum of the training data alone.
"""

import numpy as np
import torch

import large
import whisper
import windows
from features import LARGE


def network(roots, work, **sizes):
    """Returns the network with the mean spectrum of CREMA-D's training windows, and without trained heads."""
    result = large.Large(whisper.read(whisper.default_path()), **sizes).eval()
    path = work / "profile.npy"
    if not path.exists():
        parts = [windows.load("crema-d", roots, LARGE, copy, work) for copy in (1, 2)]
        result.prepare(torch.from_numpy(np.concatenate([part["cells"][::20] for part in parts]).astype(np.float32)))
        np.save(path, result.profile.numpy())
    result.profile.copy_(torch.from_numpy(np.load(path)))
    return result


@torch.no_grad()
def load(encoder, corpus, roots, copy, work, size=32):
    """Returns the windows' file and their embeddings, which are computed once."""
    file, path = windows.load(corpus, roots, LARGE, copy, work), work / f"embeddings_{corpus}_{copy}.npy"
    if not path.exists():
        cells, found = file["cells"], []
        for at in range(0, len(cells), size):
            found.append(encoder.embed(torch.from_numpy(cells[at : at + size].astype(np.float32))).numpy())
        np.save(path, np.concatenate(found))
    return file, np.load(path)
