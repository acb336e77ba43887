#!/usr/bin/env python3
"""Makes the golden arrays of tests/features_golden.rs with librosa, an implementation of its own.

    python3 -m venv venv && venv/bin/pip install librosa==0.11.0 numpy==2.4.6 scipy==1.17.1
    venv/bin/python tests/golden/make_golden.py

Written beside this file: signal_RATE.npy (int16, full scale 32768), and for each case NAME.json (what the features
command takes by --options) and NAME.npy (float32, [frames, coefficients]).
"""

import json
from pathlib import Path

import librosa
import numpy as np

FOLDER = Path(__file__).parent

CONTRACT = {
    "win_length": 400, "hop_length": 160, "n_fft": 512, "window": "hann", "n_mels": 40,
    "f_min_hz": 20.0, "f_max_hz": 7400.0, "mel_scale": "slaney", "mel_norm": "slaney",
    "power": 2.0, "log": "ln", "log_floor": 1e-10, "n_mfcc": 40, "dct_norm": "ortho", "deltas": 0,
}
WITH_OFFSET = {key: value for key, value in CONTRACT.items() if key != "log_floor"} | {"log_offset": 1e-6}

CASES = {
    "contract_16k": (16000, "mfcc", CONTRACT),
    "telephone_8k": (8000, "mfcc", CONTRACT | {
        "win_length": 200, "hop_length": 80, "n_fft": 256, "n_mels": 32, "n_mfcc": 13, "f_max_hz": 3800.0}),
    "htk_offset_16k": (16000, "mfcc", WITH_OFFSET | {
        "mel_scale": "htk", "mel_norm": "none", "f_min_hz": 0.0, "f_max_hz": 8000.0, "n_mfcc": 20,
        "dct_norm": "none"}),
    "log_mel_db_16k": (16000, "log_mel", CONTRACT | {
        "window": "hamming", "log": "db", "power": 1.0, "n_fft": 400, "n_mels": 64, "n_mfcc": 0}),
    "deltas_16k": (16000, "mfcc", CONTRACT | {"n_mfcc": 13, "deltas": 2}),
    "kaldi_16k": (16000, "mfcc", CONTRACT | {
        "window": "povey", "mel_scale": "htk", "mel_norm": "none", "n_mels": 23, "n_mfcc": 13,
        "pre_emphasis": 0.97, "remove_dc": True}),
}


def signal(rate: int) -> np.ndarray:
    """0.6 s: two chirps in noise, on a constant, with 40 ms of digital silence in the middle; int16."""
    t = np.arange(int(0.6 * rate)) / rate
    rising = 0.3 * np.sin(2 * np.pi * (100.0 * t + 0.5 * (0.4 * rate - 100.0) / 0.6 * t**2))
    falling = 0.2 * np.sin(2 * np.pi * (900.0 * t - 0.5 * 1200.0 * t**2))
    noise = 0.02 * np.random.default_rng(20240501).standard_normal(len(t))
    samples = 0.01 + rising + falling + noise
    samples[int(0.3 * rate): int(0.34 * rate)] = 0.0
    return np.round(samples * 32768).astype(np.int16)


def kaldi_mel_energies(y: np.ndarray, rate: int, o: dict) -> np.ndarray:
    """Kaldi's order within a frame (mean out, pre-emphasis, taper), written plainly; librosa has no such option."""
    symmetric_hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(o["win_length"]) / (o["win_length"] - 1))
    left = (o["n_fft"] - o["win_length"]) // 2
    columns = []
    for start in range(0, len(y) - o["n_fft"] + 1, o["hop_length"]):
        x = y[start + left: start + left + o["win_length"]].astype(np.float64)
        x = x - x.mean()
        x = x - o["pre_emphasis"] * np.concatenate([x[:1], x[:-1]])
        columns.append(np.abs(np.fft.rfft(x * symmetric_hann**0.85, o["n_fft"])) ** o["power"])
    return mel_filters(rate, o) @ np.array(columns).T


def mel_filters(rate: int, o: dict) -> np.ndarray:
    return librosa.filters.mel(
        sr=rate, n_fft=o["n_fft"], n_mels=o["n_mels"], fmin=o["f_min_hz"], fmax=o["f_max_hz"],
        htk=o["mel_scale"] == "htk", norm="slaney" if o["mel_norm"] == "slaney" else None)


def mel_energies(y: np.ndarray, rate: int, o: dict) -> np.ndarray:
    if o["window"] == "povey":
        return kaldi_mel_energies(y, rate, o)
    return librosa.feature.melspectrogram(
        y=y, sr=rate, n_fft=o["n_fft"], hop_length=o["hop_length"], win_length=o["win_length"],
        window=o["window"], center=False, power=o["power"], n_mels=o["n_mels"], fmin=o["f_min_hz"],
        fmax=o["f_max_hz"], htk=o["mel_scale"] == "htk", norm="slaney" if o["mel_norm"] == "slaney" else None)


def features(y: np.ndarray, rate: int, model_input: str, o: dict) -> np.ndarray:
    energies = mel_energies(y, rate, o)
    if "log_floor" in o:
        decibel = librosa.power_to_db(energies, ref=1.0, amin=o["log_floor"], top_db=None)
    else:
        decibel = 10.0 * np.log10(energies + o["log_offset"])
    frames = decibel if o["log"] == "db" else decibel * np.log(10.0) / 10.0
    if model_input == "mfcc":
        norm = "ortho" if o["dct_norm"] == "ortho" else None
        frames = librosa.feature.mfcc(S=frames, n_mfcc=o["n_mfcc"], dct_type=2, norm=norm)
    orders = range(1, o["deltas"] + 1)
    deltas = [librosa.feature.delta(frames, width=9, order=order, mode="nearest") for order in orders]
    return np.concatenate([frames, *deltas]).T.astype(np.float32)


def main() -> None:
    for rate in (8000, 16000):
        np.save(FOLDER / f"signal_{rate}.npy", signal(rate))
    for name, (rate, model_input, options) in CASES.items():
        y = signal(rate).astype(np.float32) / 32768
        golden = np.ascontiguousarray(features(y, rate, model_input, options))
        np.save(FOLDER / f"{name}.npy", golden)
        written = {"sample_rate_hz": rate, "input": model_input, "mfcc": options}
        (FOLDER / f"{name}.json").write_text(json.dumps(written, indent=2) + "\n")
        print(name, golden.shape, float(golden.min()), float(golden.max()))


main()
