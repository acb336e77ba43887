"""Streams a recording to affectd and prints its events.

usage: recognize.py FILE [HOST:PORT] [--real-time]    needs: pip install grpcio grpcio-tools
FILE is a WAV file (PCM of 16, 24 or 32 bits), or raw PCM (*.pcm: 16 bits, mono, 16 kHz).
"""
import pathlib
import sys
import time
import wave
import grpc
import grpc_tools

# grpcio-tools compiles the protocol at run time: affectd's own messages and Google's well-known types.
root = pathlib.Path(__file__).resolve().parents[3]
sys.path += [str(root / "proto"), str(pathlib.Path(grpc_tools.__file__).parent / "_proto")]
audio = grpc.protos("affectd/v1/audio.proto")
recognition, services = grpc.protos_and_services("affectd/v1/recognition.proto")
encodings = {2: audio.ENCODING_PCM_S16LE, 3: audio.ENCODING_PCM_S24LE, 4: audio.ENCODING_PCM_S32LE}
real_time = "--real-time" in sys.argv
path, server = ([word for word in sys.argv[1:] if word != "--real-time"] + ["127.0.0.1:50051"])[:2]

if path.endswith(".pcm"):
    width, rate, channels, data = 2, 16_000, 1, pathlib.Path(path).read_bytes()
else:
    with wave.open(path) as file:
        width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
        data = file.readframes(file.getnframes())

def requests():
    """Yields chunks of 100 ms. A live source yields them as they are recorded, and `last` ends the stream."""
    form = audio.AudioFormat(encoding=encodings[width], sample_rate_hz=rate, channels=channels)
    step = rate // 10 * channels * width
    for start in range(0, len(data), step):
        last = start + step >= len(data)
        chunk = audio.AudioChunk(format=form, audio=data[start:start + step], last=last)
        yield recognition.RecognizeRequest(chunk=chunk)
        time.sleep(0.1 if real_time else 0)

# A live client reconnects after UNAVAILABLE: it opens a new call with the same stream_id and sets first_sample of the
# first chunk to that chunk's position. On ALREADY_EXISTS it tries again for up to 30 s.
with grpc.insecure_channel(server) as channel:
    try:
        for response in services.RecognitionServiceStub(channel).Recognize(requests()):
            event, seconds = response.event, lambda time: f"{time.ToMilliseconds() / 1000:.1f}"
            print(f"{seconds(event.start)} - {seconds(event.end)} s  {event.emotion}  {event.confidence:.2f}")
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
