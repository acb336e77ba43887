"""Sends a file as Asterisk does over AudioSocket, at the pace of speech.

usage: audiosocket.py HOST PORT FILE    FILE: 16-bit little-endian samples of one channel at 8 kHz
"""

import socket
import struct
import sys
import threading
import time
import uuid

HANG_UP, UUID, AUDIO = 0x00, 0x01, 0x10


def frame(kind, payload=b""):
    return struct.pack(">BH", kind, len(payload)) + payload


def discard(connection):
    """Reads the silence that comes back, as Asterisk does."""
    while connection.recv(4096):
        pass


def main(host, port, file):
    call = uuid.uuid4()
    with socket.create_connection((host, int(port))) as connection, open(file, "rb") as audio:
        reader = threading.Thread(target=discard, args=[connection])
        reader.start()
        connection.sendall(frame(UUID, call.bytes))
        while piece := audio.read(320):
            connection.sendall(frame(AUDIO, piece))
            time.sleep(0.02)
        connection.sendall(frame(HANG_UP))
        reader.join()
    print(call)


main(*sys.argv[1:])
