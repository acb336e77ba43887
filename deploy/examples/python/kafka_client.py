"""Streams a WAV file of 16-bit PCM through Kafka and prints the events. The daemon needs kafka.value_format = "json".

usage: pip install confluent-kafka; python kafka_client.py BROKERS FILE.wav
"""
import json
import sys
import uuid
import wave

from confluent_kafka import Consumer, Producer

brokers, path = sys.argv[1:3]
stream = str(uuid.uuid4())

consumer = Consumer({"bootstrap.servers": brokers, "group.id": stream, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False, "isolation.level": "read_committed"})
consumer.subscribe(["affectd.emotions"])

producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
with wave.open(path) as recording:
    rate, channels = recording.getframerate(), recording.getnchannels()
    content_type = f"audio/L16;rate={rate};channels={channels};endianness=little-endian"
    frames = recording.getnframes()
    step = rate // 10
    for first in range(0, frames, step):
        headers = {"content-type": content_type, "affectd-first-sample": str(first)}
        if first + step >= frames:
            headers["affectd-last"] = "true"
        producer.produce("affectd.audio", recording.readframes(step), stream, headers=list(headers.items()))
        producer.poll(0)
producer.flush()

# Nothing marks the last event of a stream: the client ends when none has come for ten seconds.
while (record := consumer.poll(10)) is not None:
    if record.error() is None and record.key() == stream.encode():
        event = json.loads(record.value())
        print(event["start"], event["end"], event["emotion"], f"{event['confidence']:.2f}", flush=True)
consumer.close()
