#!/usr/bin/env python3
"""Generates the compressed files of tests/audio/encoded.rs and the independent readings of all decoders.

    python3 tests/golden/make_encoded.py files       (needs oggdec, sox, and ffmpeg with libmp3lame, libopus and libvorbis)
    AFFECTD_WRITE_GRID=/tmp/grid cargo test --test audio grid
    python3 tests/golden/make_encoded.py readings /tmp/grid

The first command writes tests/golden/encoded/. The last one decodes these files and those that the test of the
uncompressed formats wrote with ffmpeg, and stores what it read in tests/golden/readings.txt. One line per file:

    NAME RATE CHANNELS FRAMES HASH POINTS

HASH is the 64-bit FNV-1a hash of the interleaved 32-bit floats, or "-" where decoders may round. POINTS are then the
samples of 16 frames, evenly spaced, all channels of a frame together.
"""

import math
import subprocess
import sys
from array import array
from pathlib import Path

GOLDEN = Path(__file__).parent
ENCODED = GOLDEN / "encoded"
POINTS = 16
LAYOUTS = ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"]
LOSSLESS = {".wav", ".rifx", ".rf64", ".w64", ".aiff", ".aifc", ".au", ".caf", ".flac", ".oga", ".mka"}

# name: (rate, channels, seconds, arguments of ffmpeg)
FILES = {
    "mono_8k.mp3": (8000, 1, 0.5, "-c:a libmp3lame -b:a 16k"),
    "stereo_22k.mp3": (22050, 2, 0.4, "-c:a libmp3lame -b:a 48k"),
    "stereo_44k_cbr.mp3": (44100, 2, 0.3, "-c:a libmp3lame -b:a 64k"),
    "mono_48k_vbr.mp3": (48000, 1, 0.3, "-c:a libmp3lame -q:a 7"),
    "mono_16k_untagged.mp3": (16000, 1, 0.5, "-c:a libmp3lame -q:a 7 -write_xing 0 -id3v2_version 0"),
    "stereo_44k.mp2": (44100, 2, 0.2, "-c:a mp2 -b:a 96k"),
    "mono_24k.mp2": (24000, 1, 0.3, "-c:a mp2 -b:a 32k"),
    "mono_8k.flac": (8000, 1, 0.4, "-c:a flac"),
    "stereo_44k_24bit.flac": (44100, 2, 0.2, "-c:a flac -sample_fmt s32 -frame_size 1024"),
    "six_48k.flac": (48000, 6, 0.1, "-c:a flac -frame_size 1152"),
    "stereo_16k.oga": (16000, 2, 0.3, "-c:a flac -f ogg"),
    "stereo_16k_pages.oga": (16000, 2, 0.5, "-c:a flac -frame_size 512 -page_duration 30000 -f ogg"),
    "mono_8k.ogg": (8000, 1, 0.5, "-c:a libvorbis -q:a 1"),
    "stereo_44k.ogg": (44100, 2, 0.3, "-c:a libvorbis -q:a 1"),
    "stereo_44k.m4a": (44100, 2, 0.3, "-c:a aac -b:a 64k"),
    "stereo_44k_parts.mp4": (44100, 2, 0.5, "-c:a aac -b:a 48k -movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 100000"),
    "mono_48k_opus.mp4": (48000, 1, 0.3, "-c:a libopus -b:a 32k"),
    "mono_24k_mp2.mp4": (24000, 1, 0.2, "-c:a mp2 -b:a 32k"),
    "stereo_16k_alac.caf": (16000, 2, 0.3, "-c:a alac"),
    "mono_48k_opus.caf": (48000, 1, 0.3, "-c:a libopus -b:a 24k"),
    "mono_16k.aac": (16000, 1, 0.4, "-c:a aac -b:a 32k -f adts"),
    "stereo_48k.webm": (48000, 2, 0.3, "-c:a libopus -b:a 48k -f webm"),
    "mono_16k_vorbis.webm": (16000, 1, 0.4, "-c:a libvorbis -q:a 1 -f webm"),
    "stereo_16k.mka": (16000, 2, 0.2, "-c:a flac -f matroska"),
    "mono_16k_8bit.mka": (16000, 1, 0.1, "-c:a pcm_u8 -f matroska"),
    "stereo_16k_big.mka": (16000, 2, 0.1, "-c:a pcm_s16be -f matroska"),
    "six_8k_24bit.mka": (8000, 6, 0.05, "-c:a pcm_s24le -f matroska"),
    "stereo_8k_float.mka": (8000, 2, 0.1, "-c:a pcm_f32le -f matroska"),
    "mono_8k_double.mka": (8000, 1, 0.1, "-c:a pcm_f64le -f matroska"),
    "stereo_16k_mp3.mkv": (16000, 2, 0.3, "-c:a libmp3lame -b:a 32k -f matroska"),
    "mono_24k_mp2.mkv": (24000, 1, 0.2, "-c:a mp2 -b:a 32k -f matroska"),
    "mono_16k_ima.adpcm": (16000, 1, 0.3, "-c:a adpcm_ima_wav -f wav"),
    "stereo_22k_ima.adpcm": (22050, 2, 0.2, "-c:a adpcm_ima_wav -f wav"),
    "mono_8k_ms.adpcm": (8000, 1, 0.4, "-c:a adpcm_ms -f wav"),
    "stereo_16k_ms.adpcm": (16000, 2, 0.3, "-c:a adpcm_ms -f wav"),
} | {
    f"channels_{count}.opus": (48000, count, 0.2, f"-c:a libopus -b:a {24 * count}k -mapping_family {int(count > 2)}")
    for count in range(1, 9)
}


def signal(rate: int, channels: int, seconds: float) -> bytes:
    """A tone of its own per channel, with a second one that fades in, as interleaved 32-bit floats."""
    samples = array("f")
    for index in range(int(rate * seconds)):
        angle, share = 2 * math.pi * index / rate, index / (rate * seconds)
        for channel in range(channels):
            low, high = math.sin((220 + 90 * channel) * angle), math.sin((1500 + 170 * channel) * angle)
            samples.append(0.3 * low + 0.2 * share * high)
    return samples.tobytes()


def write_files() -> None:
    ENCODED.mkdir(exist_ok=True)
    for name, (rate, channels, seconds, arguments) in FILES.items():
        layout = ["-ac", str(channels), "-channel_layout", LAYOUTS[channels - 1]]
        source = ["-f", "f32le", "-ar", str(rate), *layout, "-i", "-"]
        exact = ["-bitexact", "-map_metadata", "-1"]
        command = ["ffmpeg", "-v", "error", "-y", *source, *arguments.split(), *exact, str(ENCODED / name)]
        subprocess.run(command, input=signal(rate, channels, seconds), check=True)


def fnv(samples: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in samples:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def reading(path: Path) -> str:
    # Opus decodes with libopus, Vorbis in Ogg with libvorbis, and the others with decoders of ffmpeg.
    is_opus = path.suffix in (".opus", ".webm") and "vorbis" not in path.name or path.stem.endswith("_opus")
    decoder = ["-c:a", "libopus"] if is_opus else []
    probe = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=sample_rate,channels", "-of", "csv=p=0"]
    rate, channels = subprocess.run([*probe, path], capture_output=True, text=True, check=True).stdout.strip().strip(",").split(",")[:2]
    command = ["ffmpeg", "-v", "error", *decoder, "-i", str(path), "-f", "f32le", "-c:a", "pcm_f32le", "-"]
    if path.suffix == ".ogg":
        command = ["oggdec", "--quiet", "--raw", "--output", "-", str(path)]
    if path.suffix == ".rifx":
        # ffmpeg takes these samples for little-endian ones. sox computes with integers of 32 bits, and rounds floats.
        command = ["sox", "-t", "wav", str(path), "-t", "f64", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    if path.suffix == ".ogg":
        raw = array("f", (sample / 32768 for sample in array("h", raw))).tobytes()
    if path.suffix == ".rifx":
        raw = array("f", array("d", raw)).tobytes()
    samples, width = array("f", raw), int(channels)
    frames = len(samples) // width
    if path.suffix in LOSSLESS and not is_opus and not (path.suffix == ".rifx" and path.name.startswith("float")):
        return f"{path.name} {rate} {channels} {frames} {fnv(raw):016x}"
    picked = [index * frames // POINTS * width + channel for index in range(POINTS) for channel in range(width)]
    points = " ".join(f"{samples[index]:.6f}" for index in picked)
    return f"{path.name} {rate} {channels} {frames} - {points}"


def main() -> None:
    if sys.argv[1:2] == ["files"]:
        write_files()
        return
    paths = [*sorted(ENCODED.iterdir()), *sorted(Path(sys.argv[2]).iterdir())]
    (GOLDEN / "readings.txt").write_text("".join(reading(path) + "\n" for path in paths))


main()
