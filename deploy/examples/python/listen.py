"""Sends a file over WebSocket at the pace of speech and prints the events.

pip install websockets
usage: listen.py URL TOKEN FILE    FILE: 8-bit mu-law samples of one channel at 8 kHz
"""

import asyncio
import sys

import websockets

QUERY = "?encoding=mulaw&sample_rate=8000&events=true"


async def send(socket, file):
    with open(file, "rb") as audio:
        while piece := audio.read(800):
            await socket.send(piece)
            await asyncio.sleep(0.1)
    await socket.send('{"type":"CloseStream"}')


async def main(url, token, file):
    headers = {"Authorization": f"Token {token}"}
    async with websockets.connect(url + QUERY, additional_headers=headers) as socket:
        sending = asyncio.create_task(send(socket, file))
        async for event in socket:
            print(event, flush=True)
        await sending


asyncio.run(main(*sys.argv[1:]))
