"""Calls of two tracks over /ingest/twilio with streamdouble, all at once.

usage: streamdouble_calls.py PORT COUNT FILE    FILE: 8-bit mu-law samples of one channel at 8 kHz

Each call has the parameter `number`. Prints the violations of the protocol of each call as a JSON list.
"""

import asyncio
import json
import sys

from streamdouble import api
from streamdouble.session import SessionConfig

# 20 ms.
FRAME = 160


async def call(url, number, frames):
    config = SessionConfig(
        custom_parameters={"number": str(number)},
        fork=True,
        tracks=["inbound", "outbound"],
        agent_frames=list(reversed(frames)),
        strict_fork=True,
        connect_timeout_s=60.0,
        quiet_period_s=0.1,
    )
    return (await api.call(url, frames=frames, config=config)).violations


async def main(port, count, file):
    with open(file, "rb") as opened:
        audio = opened.read()
    frames = [audio[at : at + FRAME] for at in range(0, len(audio), FRAME)]
    url = f"ws://127.0.0.1:{port}/ingest/twilio"
    print(json.dumps(await asyncio.gather(*(call(url, number, frames) for number in range(count)))))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
