#!/usr/bin/env python3
"""Makes the golden arrays of tests/features/golden.rs with librosa, torchaudio and kaldi-native-fbank, and those of
tests/audio/resample_golden.rs with soxr.

    python3 -m venv venv
    venv/bin/pip install librosa==0.11.0 numpy==2.4.6 scipy==1.17.1 soxr==1.1.0 soundfile==0.14.0 \\
        torch==2.11.0 torchaudio==2.11.0 kaldi-native-fbank==1.22.3
    venv/bin/python tests/golden/make_golden.py

Writes to the folder of this file: signal_RATE.npy (int16, full scale 32768), and for each case NAME.json (the argument of
`affectd features --options`) and NAME.npy (float32, [frames, coefficients]); resample_RATE.npy (int16, synthesized speech
from deploy/samples) and resample_RATE_mfcc.npy (float32, [frames, 12], c1 to c12 at 16 kHz).
"""

import json
from pathlib import Path

import kaldi_native_fbank as knf
import librosa
import numpy as np
import soundfile
import soxr
import torch
import torchaudio

FOLDER = Path(__file__).parent

CONTRACT = {
    "win_length": 400, "hop_length": 160, "n_fft": 512, "window": "hann", "n_mels": 40,
    "f_min_hz": 20.0, "f_max_hz": 7400.0, "mel_scale": "slaney", "mel_norm": "slaney",
    "power": 2.0, "log": "ln", "log_floor": 1e-10, "n_mfcc": 40, "dct_norm": "ortho", "deltas": 0,
}
KALDI = CONTRACT | {
    "window": "povey", "mel_scale": "kaldi", "mel_norm": "none", "pre_emphasis": 0.97, "remove_dc": True,
    "log_floor": 1.1920929e-07}
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
    "odd_length_16k": (16000, "mfcc", CONTRACT | {"n_fft": 441, "n_mfcc": 13}),
    "deltas_16k": (16000, "mfcc", CONTRACT | {"n_mfcc": 13, "deltas": 2}),
    "kaldi_16k": (16000, "mfcc", CONTRACT | {
        "window": "povey", "mel_scale": "htk", "mel_norm": "none", "n_mels": 23, "n_mfcc": 13,
        "pre_emphasis": 0.97, "remove_dc": True}),
}

TORCHAUDIO = {
    "torchaudio_16k": (16000, "mfcc", WITH_OFFSET),
    "torchaudio_htk_8k": (8000, "mfcc", WITH_OFFSET | {
        "win_length": 200, "hop_length": 80, "n_fft": 256, "n_mels": 32, "n_mfcc": 13, "f_max_hz": 3800.0,
        "mel_scale": "htk", "mel_norm": "none"}),
}

KALDI_NATIVE = {
    "kaldi_native_16k": (16000, "mfcc", KALDI | {"n_mels": 23, "n_mfcc": 13}),
    "kaldi_native_fbank_16k": (16000, "log_mel", KALDI | {"n_mels": 80, "n_mfcc": 0, "f_max_hz": 8000.0}),
    "kaldi_native_8k": (8000, "mfcc", KALDI | {
        "win_length": 200, "hop_length": 80, "n_fft": 256, "n_mels": 23, "n_mfcc": 20, "f_max_hz": 3700.0}),
}

RESAMPLED = {48000: 7400.0, 44100: 7400.0, 24414: 7400.0, 22050: 7400.0, 8000: 3800.0}


def signal(rate: int) -> np.ndarray:
    """Returns 0.6 s as int16: two chirps with noise and a DC offset, and 40 ms of digital silence in the middle."""
    t = np.arange(int(0.6 * rate)) / rate
    rising = 0.3 * np.sin(2 * np.pi * (100.0 * t + 0.5 * (0.4 * rate - 100.0) / 0.6 * t**2))
    falling = 0.2 * np.sin(2 * np.pi * (900.0 * t - 0.5 * 1200.0 * t**2))
    noise = 0.02 * np.random.default_rng(20240501).standard_normal(len(t))
    samples = 0.01 + rising + falling + noise
    samples[int(0.3 * rate): int(0.34 * rate)] = 0.0
    return np.round(samples * 32768).astype(np.int16)


def kaldi_mel_energies(y: np.ndarray, rate: int, o: dict) -> np.ndarray:
    """Computes mel energies with Kaldi's order of operations in a frame (DC removal, pre-emphasis, taper), which librosa lacks."""
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


def torchaudio_features(y: np.ndarray, rate: int, model_input: str, o: dict) -> np.ndarray:
    """Computes features with torchaudio.transforms.MFCC, whose logarithm adds 1e-6."""
    assert model_input == "mfcc" and o["log_offset"] == 1e-6
    transform = torchaudio.transforms.MFCC(
        sample_rate=rate, n_mfcc=o["n_mfcc"], norm="ortho", log_mels=True, melkwargs={
            "n_fft": o["n_fft"], "win_length": o["win_length"], "hop_length": o["hop_length"], "center": False,
            "power": o["power"], "n_mels": o["n_mels"], "f_min": o["f_min_hz"], "f_max": o["f_max_hz"],
            "mel_scale": o["mel_scale"], "norm": "slaney" if o["mel_norm"] == "slaney" else None})
    return transform(torch.from_numpy(y)).numpy().T.astype(np.float32)


def kaldi_native_features(y: np.ndarray, rate: int, model_input: str, o: dict) -> np.ndarray:
    """Computes features with kaldi-native-fbank, which aligns the taper with the start of a frame and not with its centre."""
    kaldi = knf.MfccOptions() if model_input == "mfcc" else knf.FbankOptions()
    kaldi.frame_opts.samp_freq = rate
    kaldi.frame_opts.dither = 0.0
    kaldi.frame_opts.preemph_coeff = o["pre_emphasis"]
    kaldi.frame_opts.remove_dc_offset = o["remove_dc"]
    kaldi.frame_opts.window_type = o["window"]
    kaldi.mel_opts.num_bins = o["n_mels"]
    kaldi.mel_opts.low_freq = o["f_min_hz"]
    kaldi.mel_opts.high_freq = o["f_max_hz"]
    kaldi.use_energy = False
    if model_input == "mfcc":
        kaldi.num_ceps = o["n_mfcc"]
        kaldi.cepstral_lifter = 0.0
    computer = knf.OnlineMfcc(kaldi) if model_input == "mfcc" else knf.OnlineFbank(kaldi)
    computer.accept_waveform(rate, y[(o["n_fft"] - o["win_length"]) // 2:].tolist())
    computer.input_finished()
    frames = 1 + (len(y) - o["n_fft"]) // o["hop_length"]
    return np.stack([computer.get_frame(t) for t in range(frames)]).astype(np.float32)


def resampled(rate: int, f_max_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns 0.5 s of synthesized speech at `rate`, and its coefficients c1 to c12 after resampling to 16 kHz with soxr."""
    speech, speech_rate = soundfile.read(FOLDER.parents[1] / "deploy/samples/cheerful.wav", dtype="float32")
    wide = soxr.resample(speech, speech_rate, rate, "VHQ")
    # Noise above half the target rate must not alias into the bands.
    wide += 1e-3 * np.random.default_rng(20240502).standard_normal(len(wide)).astype(np.float32)
    part = np.round(wide[int(1.1 * rate): int(1.6 * rate)] * 32768).astype(np.int16)
    y = part.astype(np.float32) / 32768
    at_16k = librosa.resample(y, orig_sr=rate, target_sr=16000, res_type="soxr_vhq")
    return part, features(at_16k, 16000, "mfcc", CONTRACT | {"f_max_hz": f_max_hz})[:, 1:13]


def main() -> None:
    for rate in (8000, 16000):
        np.save(FOLDER / f"signal_{rate}.npy", signal(rate))
    for cases, compute in ((CASES, features), (TORCHAUDIO, torchaudio_features), (KALDI_NATIVE, kaldi_native_features)):
        for name, (rate, model_input, options) in cases.items():
            y = signal(rate).astype(np.float32) / 32768
            golden = np.ascontiguousarray(compute(y, rate, model_input, options))
            np.save(FOLDER / f"{name}.npy", golden)
            written = {"sample_rate_hz": rate, "input": model_input, "mfcc": options}
            (FOLDER / f"{name}.json").write_text(json.dumps(written, indent=2) + "\n")
            print(name, golden.shape, float(golden.min()), float(golden.max()))
    for rate, f_max_hz in RESAMPLED.items():
        source, cepstrum = resampled(rate, f_max_hz)
        np.save(FOLDER / f"resample_{rate}.npy", source)
        np.save(FOLDER / f"resample_{rate}_mfcc.npy", np.ascontiguousarray(cepstrum))
        print(f"resample_{rate}", source.shape, cepstrum.shape)


main()
