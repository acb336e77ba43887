"""The cache of log-mel windows: clips as they are, and random variants of them.

Input: a front end, the folder of a corpus, the number of a copy. Output: an `.npz` file with the windows (16-bit floats), labels,
clips, speakers and parts. Invariants: copy 0 is the clips as they are; other copies hold one random variant of each clip
that may train, the same variant for every front end; the same front end, corpus and copy give the same file.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

import augment
import corpora
from features import starts


def variant(clip, front, copy, rooms, voices):
    """Returns the windows of one clip."""
    samples = corpora.samples(clip)
    if copy:
        rng = np.random.default_rng([copy, *clip.path.stem.encode()])
        samples = augment.augment(rng, samples, rooms, voices)
        peak = np.abs(samples).max()
        samples = samples / peak * 10 ** rng.uniform(-1.5, 0) if peak else samples
        first = [int(rng.integers(0, max(1, len(samples) - 48000 + 1)))]
    else:
        first = starts(len(samples))
    return [front.log_mel(samples[at:]).astype(np.float16) for at in first]


def build(corpus, root, front, copy, path, processes=2):
    clips = [clip for clip in corpora.READERS[corpus](root) if not copy or clip.part == "train" or corpus != "crema-d"]
    rng = np.random.default_rng([copy, len(corpus)])
    rooms = [augment.room(rng) for _ in range(200)] if copy else []
    voices = [corpora.samples(clips[at]) for at in rng.integers(0, len(clips), 200)] if copy else []
    with ProcessPoolExecutor(processes) as pool:
        found = list(pool.map(partial(variant, front=front, copy=copy, rooms=rooms, voices=voices), clips, chunksize=50))
    index = np.repeat(np.arange(len(clips)), [len(windows) for windows in found])
    cells = np.stack([window for windows in found for window in windows])
    of = lambda field: np.array([getattr(clips[at], field) for at in index])
    np.savez(path, cells=cells, clip=index, label=of("label"), speaker=of("speaker"), part=of("part"))


def build_noise(root, front, copy, path, count=600):
    """Writes windows without speech, with the label -1; the babble is mixed from training speakers of CREMA-D."""
    clips = [clip for clip in corpora.crema_d(root) if clip.part == "train"]
    rng = np.random.default_rng([copy, 77])
    voices = [corpora.samples(clips[at]) for at in rng.integers(0, len(clips), 200)]
    found = []
    for _ in range(count):
        samples = augment.no_speech(rng, voices)
        samples = augment.equalized(rng, samples) if rng.random() < 0.4 else samples
        samples = samples / np.abs(samples).max() * 10 ** rng.uniform(-1.5, 0)
        found.append(front.log_mel(samples).astype(np.float16))
    index, empty = np.arange(count), np.full(count, "")
    np.savez(path, cells=np.stack(found), clip=index, label=np.full(count, -1), speaker=empty, part=np.full(count, "train"))


def load(corpus, roots, front, copy, cache):
    """Returns the file of one copy, which is built once; the root of `noise` is that of CREMA-D."""
    path = cache / f"windows_{front.name}_{corpus}_{copy}.npz"
    if not path.exists():
        builder = build_noise if corpus == "noise" else partial(build, corpus)
        builder(roots[corpus], front, copy, path)
    return np.load(path)


def may_train(file):
    """Returns which windows may train: those of the training speakers in a corpus that has some, else all."""
    train = file["part"] == "train"
    return train if train.any() else np.ones(len(train), bool)
