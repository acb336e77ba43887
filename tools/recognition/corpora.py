"""Labelled clips of CREMA-D, EMO-DB and TESS, and their parts.

Input: the folders of the corpora. Output: clips with label, speaker and part, and their samples at 16 kHz. Invariants: the
CREMA-D split and the clips left out are those of `affectd train`; EMO-DB's boredom and TESS's surprise are left out,
because the other corpora lack them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
LABELS = ["anger", "disgust", "fear", "happiness", "neutral", "sadness"]
CREMA_D = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
EMO_DB = {"W": "anger", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral"}
TESS = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral", "sad": "sadness"}
LEFT_OUT = {"1006_TIE_NEU_XX", "1013_WSI_DIS_XX", "1017_IWW_FEA_XX", "1040_ITH_SAD_XX"}
# The split of `crema_d` 1.0.0 in the TensorFlow Datasets catalogue; the other speakers train.
VALIDATION = set("1015 1020 1021 1030 1050 1070 1079 1089 1090".split())
TEST = set("1010 1013 1022 1026 1037 1038 1040 1045 1047 1048 1059 1065 1066 1068 1071 1073 1084 1086 1088".split())
# Speakers whose clips choose between variants while their corpus is left out of training. The others only test.
CHOOSING = {"emo-db": {"03", "08", "09", "10", "11"}, "tess": {"OA"}}


@dataclass
class Clip:
    path: Path
    label: int
    speaker: str
    part: str  # train, validation or test


def crema_d(root):
    for path in audio(root):
        if path.stem in LEFT_OUT:
            continue
        speaker, _, emotion, _ = path.stem.split("_")
        part = "test" if speaker in TEST else "validation" if speaker in VALIDATION else "train"
        yield Clip(path, LABELS.index(CREMA_D[emotion]), speaker, part)


def emo_db(root):
    for path in audio(root):
        if path.stem[5] in EMO_DB:
            speaker = path.stem[:2]
            part = "validation" if speaker in CHOOSING["emo-db"] else "test"
            yield Clip(path, LABELS.index(EMO_DB[path.stem[5]]), speaker, part)


def tess(root):
    for path in audio(root):
        emotion = path.stem.split("_")[-1]
        if emotion in TESS:
            speaker = path.stem[:2]
            part = "validation" if speaker in CHOOSING["tess"] else "test"
            yield Clip(path, LABELS.index(TESS[emotion]), speaker, part)


READERS = {"crema-d": crema_d, "emo-db": emo_db, "tess": tess}


def audio(root):
    found = sorted(path for path in Path(root).rglob("*") if path.suffix in {".wav", ".flac", ".mp3"})
    if not found:
        raise SystemExit(f"{root}: no .wav, .flac or .mp3 file")
    return found


def samples(clip):
    """Returns the mono samples at 16 kHz, 32-bit floats."""
    values, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
    mono = values.mean(1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE)
