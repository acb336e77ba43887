"""Streams a recording to affectd and prints its events.

usage: recognize.py FILE [HOST:PORT]    needs: pip install grpcio grpcio-tools
FILE is a WAV file (PCM of 16, 24 or 32 bits), or raw PCM (*.pcm: 16 bits, mono, 16 kHz).
"""
import pathlib
import sys
import wave
import grpc
import grpc_tools

# grpcio-tools compiles the protocol at run time: affectd's own messages and Google's well-known types.
root = pathlib.Path(__file__).resolve().parents[3]
sys.path += [str(root / "proto"), str(pathlib.Path(grpc_tools.__file__).parent / "_proto")]
audio = grpc.protos("affectd/v1/audio.proto")
recognition, services = grpc.protos_and_services("affectd/v1/recognition.proto")
encodings = {2: audio.ENCODING_PCM_S16LE, 3: audio.ENCODING_PCM_S24LE, 4: audio.ENCODING_PCM_S32LE}

def requests(path):
    """Yields chunks of 100 ms. A live source yields them as they are recorded."""
    if path.endswith(".pcm"):
        width, rate, channels, data = 2, 16_000, 1, pathlib.Path(path).read_bytes()
    else:
        with wave.open(path) as file:
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
            data = file.readframes(file.getnframes())
    form = audio.AudioFormat(encoding=encodings[width], sample_rate_hz=rate, channels=channels)
    step = rate // 10 * channels * width
    for start in range(0, len(data), step):
        last = start + step >= len(data)
        chunk = audio.AudioChunk(format=form, audio=data[start:start + step], last=last)
        yield recognition.RecognizeRequest(chunk=chunk)

server = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051"
with grpc.insecure_channel(server) as channel:
    for response in services.RecognitionServiceStub(channel).Recognize(requests(sys.argv[1])):
        event, seconds = response.event, lambda time: f"{time.ToMilliseconds() / 1000:.1f}"
        print(f"{seconds(event.start)} - {seconds(event.end)} s  {event.emotion}  {event.confidence:.2f}")
