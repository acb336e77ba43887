"""Calls over /v1/listen with deepgram-sdk, all at once.

usage: deepgram_calls.py PORT TOKEN COUNT FILE    FILE: 8-bit mu-law samples of two channels at 8 kHz

Each call is named by its number. Prints the number of events of each call as a JSON list.
"""

import asyncio
import json
import sys

from deepgram import AsyncDeepgramClient
from deepgram.environment import DeepgramClientEnvironment

# 100 ms of two channels.
PIECE = 1600


async def call(client, number, audio):
    parameters = {"call_id": f"call-{number}", "events": "true"}
    options = {"additional_query_parameters": parameters}
    connected = client.listen.v1.connect(
        model="nova-3", encoding="mulaw", sample_rate=8000, channels=2, request_options=options
    )
    async with connected as connection:
        for at in range(0, len(audio), PIECE):
            await connection.send_media(audio[at : at + PIECE])
            await asyncio.sleep(0.1)
        await connection.send_keep_alive()
        await connection.send_finalize()
        await connection.send_close_stream()
        events = 0
        async for _ in connection:
            events += 1
        return events


async def main(port, token, count, file):
    with open(file, "rb") as opened:
        audio = opened.read()
    server, address = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    environment = DeepgramClientEnvironment(
        base=server, production=address, agent=address, agent_rest=server
    )
    client = AsyncDeepgramClient(api_key=token, environment=environment)
    print(json.dumps(await asyncio.gather(*(call(client, number, audio) for number in range(count)))))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
