"""Random changes of a recording that do not change its emotion: voice, room, microphone, codec, noise and silence.

Input: samples at 16 kHz, full scale 1. Output: samples at 16 kHz, possibly of another length. Invariants: all noise is made
here, except babble, which is mixed from the clips that the caller passes; the same generator state gives the same samples.
"""

import io

import numpy as np
import soundfile
import soxr
from scipy.fft import next_fast_len
from scipy.signal import fftconvolve

RATE = 16000
SOUND = 343.0  # m/s


def room(rng):
    """Returns the impulse response of a shoebox room by the image method (Allen and Berkley, 1979), direct sound first."""
    size = rng.uniform([2.5, 2.5, 2.2], [9, 7, 4])
    source, microphone = (rng.uniform(0.4, size - 0.4) for _ in range(2))
    reflection = rng.uniform(0.35, 0.88)
    order = np.arange(-6, 7)
    response = np.zeros(RATE // 2, np.float32)
    axes = []
    for axis in range(3):
        even = 2 * order * size[axis] + source[axis] - microphone[axis]
        odd = 2 * order * size[axis] - source[axis] - microphone[axis]
        axes.append((np.concatenate([even, odd]), np.concatenate([abs(2 * order), abs(2 * order - 1)])))
    (x, nx), (y, ny), (z, nz) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2)
    bounces = nx[:, None, None] + ny[None, :, None] + nz[None, None, :]
    at = ((distance - distance.min()) / SOUND * RATE).astype(int)
    kept = at < len(response)
    np.add.at(response, at[kept], (reflection**bounces / np.maximum(distance, 0.1))[kept])
    return response / response.max()


def coloured(rng, count):
    """Returns noise whose power changes by +1 to -9 dB per octave, with unit power."""
    length = next_fast_len(count + count % 2, True)
    slope = np.maximum(np.arange(length // 2 + 1), 1) ** rng.uniform(-0.2, 1.5)
    return unit(np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) / slope, length)[:count])


def hum(rng, count):
    time = np.arange(count) / RATE
    base = rng.choice([50, 60]) * rng.uniform(0.99, 1.01)
    return unit(sum(rng.uniform(0, 1) / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6)) for k in range(1, 9)))


def clicks(rng, count):
    train = np.zeros(count)
    train[rng.integers(0, count, max(1, count // rng.integers(800, 8000)))] = rng.standard_normal()
    return unit(fftconvolve(train, rng.standard_normal(64) * np.exp(-np.arange(64) / 12))[:count])


def music(rng, count):
    """Returns chords of decaying tones, changed every 0.2 to 0.6 s."""
    time, result, start = np.arange(count) / RATE, np.zeros(count), 0
    while start < count:
        end = min(count, start + int(rng.uniform(0.2, 0.6) * RATE))
        part = time[start:end] - time[start]
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        for interval in (0, rng.choice([3, 4]), 7):
            pitch = root * 2 ** (interval / 12)
            result[start:end] += sum(np.sin(2 * np.pi * pitch * k * part) / k for k in (1, 2, 3)) * np.exp(-3 * part)
        start = end
    return unit(result)


def babble(rng, count, voices):
    mixed = np.zeros(count)
    for _ in range(rng.integers(3, 8)):
        voice = voices[rng.integers(len(voices))]
        mixed += unit(np.resize(np.roll(voice, rng.integers(len(voice))), count))
    return unit(mixed)


def unit(samples):
    return samples / (np.sqrt(np.mean(samples**2)) + 1e-9)


def power(samples):
    """Returns the mean power of the 25 ms frames within 30 dB of the loudest."""
    frames = samples[: len(samples) // 400 * 400].reshape(-1, 400)
    energy = (frames**2).mean(1)
    return energy[energy >= energy.max() * 1e-3].mean() + 1e-12


def with_noise(rng, samples, voices):
    count, kind = len(samples), rng.random()
    if kind < 0.6:
        noise = coloured(rng, count)
    elif kind < 0.75:
        noise = babble(rng, count, voices)
    else:
        noise = [hum, clicks, music][rng.integers(3)](rng, count)
    lowest = 5 if kind < 0.75 else 12
    return samples + noise * np.sqrt(power(samples) * 10 ** (-rng.uniform(lowest, 50) / 10))


def equalized(rng, samples):
    """Filters with a random smooth response: tilt, curvature and three bells of up to 6 dB."""
    octave = np.log2(np.maximum(np.fft.rfftfreq(1024, 1 / RATE), 60) / 1000)
    gain = rng.uniform(-4, 4) * octave + rng.uniform(-1, 1) * octave**2
    for _ in range(3):
        gain += rng.uniform(-6, 6) * np.exp(-0.5 * ((octave - rng.uniform(-3, 3)) / rng.uniform(0.3, 1)) ** 2)
    taps = np.roll(np.fft.irfft(10 ** (gain / 20), 1024), 512) * np.hanning(1024)
    return fftconvolve(samples, taps, "same")


def telephone(rng, samples):
    """Passes 300 to 3,400 Hz at 8 kHz through µ-law, A-law or GSM 06.10."""
    narrow = soxr.resample(samples, RATE, 8000)
    frequency = np.fft.rfftfreq(512, 1 / 8000)
    band = ((frequency > rng.uniform(100, 320)) & (frequency < rng.uniform(3200, 3800))).astype(float)
    narrow = fftconvolve(narrow, np.roll(np.fft.irfft(band, 512), 256) * np.hanning(512), "same")
    decoded = coded(narrow, 8000, "WAV", ["ULAW", "ALAW", "GSM610"][rng.integers(3)])[: len(narrow)]
    return soxr.resample(decoded, 8000, RATE)


def coded(samples, rate, container, codec, **options):
    """Encodes and decodes the samples with libsndfile."""
    scale = 0.9 / max(1e-6, np.abs(samples).max())
    memory = io.BytesIO()
    soundfile.write(memory, samples * scale, rate, format=container, subtype=codec, **options)
    memory.seek(0)
    decoded, _ = soundfile.read(memory, dtype="float32")
    return decoded / scale


def compressed(rng, samples):
    if rng.random() < 0.5:
        return coded(samples, RATE, "MP3", "MPEG_LAYER_III", compression_level=rng.uniform(0.3, 0.99))
    return coded(samples, RATE, "OGG", "OPUS", compression_level=rng.uniform(0.5, 1.0))


def gated(rng, samples):
    """Sets the quiet 10 ms frames to digital silence, as clean studio recordings and noise gates have it."""
    count = len(samples) // 160
    energy = (samples[: count * 160].reshape(count, 160) ** 2).mean(1)
    open_frames = energy > energy.max() * 10 ** (-rng.uniform(25, 55) / 10)
    open_frames = np.convolve(open_frames, np.ones(5), "same") > 0
    gate = np.repeat(open_frames, 160).astype(np.float32)
    return samples * np.pad(gate, (0, len(samples) - len(gate)), mode="edge")


def framed(rng, samples):
    """Starts the clip later or earlier: a lead of digital silence, or up to 15 % cut off."""
    kind = rng.random()
    if kind < 0.3:
        return np.pad(samples, (int(rng.uniform(0, 0.8) * RATE), 0))
    return samples[int(rng.uniform(0, 0.15) * len(samples)) :] if kind < 0.6 else samples


def pauses(rng, samples):
    """Shortens or lengthens the quiet parts: repeats or leaves out 20 ms frames that are 30 dB below the loudest."""
    count = len(samples) // 320
    frames = samples[: count * 320].reshape(count, 320)
    energy = (frames**2).mean(1)
    quiet = energy < energy.max() * 1e-3
    repeats = np.where(quiet, rng.poisson(rng.choice([0.3, 0.6, 1.6]), count), 1)
    return np.repeat(frames, repeats, 0).ravel()


def augment(rng, samples, rooms, voices):
    """Returns a random variant; the probabilities leave about one clip in a hundred unchanged."""
    if rng.random() < 0.6:  # tempo, pitch and vocal tract together
        samples = soxr.resample(samples, RATE * rng.uniform(0.85, 1.18), RATE)
    if rng.random() < 0.25:
        samples = pauses(rng, samples)
    samples = framed(rng, samples)
    if rng.random() < 0.35:
        samples = fftconvolve(samples, rooms[rng.integers(len(rooms))])[: len(samples)]
    if rng.random() < 0.7:
        samples = equalized(rng, samples)
    gate = rng.random() < 0.4
    if gate:
        samples = gated(rng, samples)
    if rng.random() < (0.35 if gate else 0.7):
        samples = with_noise(rng, samples, voices)
    codec = rng.random()
    if codec < 0.15:
        samples = telephone(rng, samples)
    elif codec < 0.27:
        samples = compressed(rng, samples)
    if rng.random() < 0.05:
        samples = np.clip(samples, *(np.abs(samples).max() * rng.uniform(0.3, 0.8) * np.array([-1, 1])))
    return samples.astype(np.float32)


def tones(rng, count):
    """Returns one to four steady, gliding or pulsed tones."""
    time, result = np.arange(count) / RATE, np.zeros(count)
    for _ in range(rng.integers(1, 5)):
        phase = 2 * np.pi * np.cumsum(np.linspace(*(60 * 2 ** rng.uniform(0, 6, 2)), count)) / RATE
        steady = 2 * np.pi * 60 * 2 ** rng.uniform(0, 6) * time
        tone = np.sin(phase if rng.random() < 0.3 else steady)
        pulses = np.sin(2 * np.pi * rng.uniform(0.5, 6) * time) > rng.uniform(-0.8, 0.8)
        result += rng.uniform(0.2, 1) * tone * (pulses if rng.random() < 0.4 else 1)
    return unit(result)


def no_speech(rng, voices, count=48000):
    """Returns 3 s without a single voice: noise, hum, clicks, music, tones or babble, or two of them."""
    kinds = [coloured, hum, clicks, music, tones, lambda rng, count: babble(rng, count, voices)]
    one, two = (kinds[rng.integers(len(kinds))](rng, count) for _ in range(2))
    mixed = one + two * 10 ** rng.uniform(-2, 0) if rng.random() < 0.5 else one
    swell = np.interp(np.arange(count), np.linspace(0, count, 8), 10 ** rng.uniform(-0.8, 0, 8))
    return (mixed * (swell if rng.random() < 0.4 else 1)).astype(np.float32)
