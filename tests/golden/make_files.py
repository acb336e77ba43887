#!/usr/bin/env python3
"""Generates the compressed files of tests/audio/files.rs: 0.5 s of a 440 Hz tone at half of full scale, 16 kHz.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 soundfile==0.14.0
    venv/bin/python tests/golden/make_files.py

The second channel of the FLAC and the Opus file is the inverted tone. All files are written by libsndfile.
"""

from pathlib import Path

import numpy as np
import soundfile

FOLDER = Path(__file__).parent
RATE = 16000

tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)
soundfile.write(FOLDER / "tone.flac", np.stack([tone, -tone], axis=1), RATE, subtype="PCM_16")
soundfile.write(FOLDER / "tone.opus", np.stack([tone, -tone], axis=1), RATE, format="OGG", subtype="OPUS")
soundfile.write(FOLDER / "tone.ogg", tone, RATE, subtype="VORBIS")
soundfile.write(FOLDER / "tone.mp3", tone, RATE, subtype="MPEG_LAYER_III")
