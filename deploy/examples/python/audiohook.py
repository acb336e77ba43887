"""Sends a file as Genesys Cloud does over AudioHook, at the pace of speech, and prints the messages of the server.

pip install websockets
usage: audiohook.py URL KEY:SECRET FILE    FILE: 8-bit mu-law samples of two interleaved channels at 8 kHz
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
import uuid
from urllib.parse import urlsplit

import websockets

MEDIA = [{"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}]


def signed(url, key, secret, organization, session):
    """The headers of the request, with its signature (RFC 9421)."""
    parts = urlsplit(url)
    headers = {"Audiohook-Organization-Id": organization, "Audiohook-Session-Id": session,
               "Audiohook-Correlation-Id": str(uuid.uuid4()), "X-API-KEY": key}
    covered = {"@request-target": parts.path, "@authority": parts.netloc.lower(),
               **{name.lower(): value for name, value in headers.items()}}
    now, nonce = int(time.time()), base64.b64encode(os.urandom(18)).decode()
    names = " ".join(f'"{name}"' for name in covered)
    parameters = f'({names});keyid="{key}";nonce="{nonce}";alg="hmac-sha256";created={now};expires={now + 10}'
    base = "\n".join(f'"{name}": {value}' for name, value in {**covered, "@signature-params": parameters}.items())
    digest = hmac.digest(base64.b64decode(secret), base.encode(), hashlib.sha256)
    signature = base64.b64encode(digest).decode()
    return headers | {"Signature-Input": f"sig1={parameters}", "Signature": f"sig1=:{signature}:"}


async def main(url, credentials, file):
    key, secret = credentials.split(":", 1)
    organization, session, conversation = (str(uuid.uuid4()) for _ in range(3))
    async with websockets.connect(url, additional_headers=signed(url, key, secret, organization, session)) as socket:
        numbers, sent = {"seq": 0, "serverseq": 0}, 0

        async def send(kind, parameters):
            numbers["seq"] += 1
            message = {"version": "2", "id": session, "type": kind, **numbers, "position": f"PT{sent / 16000}S", "parameters": parameters}
            await socket.send(json.dumps(message))

        async def receive():
            text = await socket.recv()
            numbers["serverseq"] = json.loads(text)["seq"]
            print(text, flush=True)

        participant = {"id": str(uuid.uuid4()), "ani": "", "aniName": "", "dnis": ""}
        await send("open", {"organizationId": organization, "conversationId": conversation, "participant": participant, "media": MEDIA})
        await receive()
        with open(file, "rb") as audio:
            while piece := audio.read(3200):
                await socket.send(piece)
                sent += len(piece)
                await asyncio.sleep(0.2)
        await send("close", {"reason": "end"})
        await receive()


asyncio.run(main(*sys.argv[1:]))
