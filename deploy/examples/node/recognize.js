// Streams a recording to affectd and prints its events.
//
// usage: node recognize.js FILE [HOST:PORT] [--real-time]    needs: npm ci
// FILE is a WAV file: PCM of 16, 24 or 32 bits, 32-bit floats, mu-law or A-law.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { Readable } = require("node:stream");
const { setTimeout: pause } = require("node:timers/promises");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

// proto-loader compiles the protocol at run time.
const definition = protoLoader.loadSync("affectd/v1/recognition.proto", {
  includeDirs: [path.resolve(__dirname, "../../../proto")],
  longs: Number,
  defaults: true,
});
const { RecognitionService } = grpc.loadPackageDefinition(definition).affectd.v1;

// The encodings by format tag and bits per sample of a WAV header.
const encodings = {
  "1/16": "ENCODING_PCM_S16LE",
  "1/24": "ENCODING_PCM_S24LE",
  "1/32": "ENCODING_PCM_S32LE",
  "3/32": "ENCODING_PCM_F32LE",
  "6/8": "ENCODING_ALAW",
  "7/8": "ENCODING_MULAW",
};

// Returns the format and the samples of a WAV file.
function readWav(name) {
  const bytes = fs.readFileSync(name);
  if (bytes.toString("latin1", 0, 4) !== "RIFF" || bytes.toString("latin1", 8, 12) !== "WAVE") {
    throw new Error(`${name}: not a WAV file`);
  }
  let format;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const id = bytes.toString("latin1", at, at + 4);
    const body = bytes.subarray(at + 8, at + 8 + bytes.readUInt32LE(at + 4));
    if (id === "fmt " && body.length >= 16) {
      // WAVE_FORMAT_EXTENSIBLE holds the format tag in its first bytes of the sub-format.
      const tag = body.readUInt16LE(0) === 0xfffe && body.length >= 26 ? body.readUInt16LE(24) : body.readUInt16LE(0);
      const [channels, sampleRateHz, bits] = [body.readUInt16LE(2), body.readUInt32LE(4), body.readUInt16LE(14)];
      const encoding = encodings[`${tag}/${bits}`];
      if (!encoding) throw new Error(`${name}: WAV format ${tag} of ${bits} bits; send such a file with ENCODING_FILE`);
      format = { encoding, sampleRateHz, channels, frameBytes: (bits / 8) * channels };
    } else if (id === "data" && format) {
      return { format, samples: body };
    }
    at += 8 + body.length + (body.length % 2);
  }
  throw new Error(`${name}: no samples`);
}

// Yields chunks of 100 ms. A live source yields them as they are recorded, and `last` ends the stream.
async function* requests({ format, samples }, realTime) {
  const step = Math.max(1, Math.floor(format.sampleRateHz / 10) * format.frameBytes);
  for (let start = 0; start < samples.length; start += step) {
    const last = start + step >= samples.length;
    yield { chunk: { format, audio: samples.subarray(start, start + step), last } };
    if (realTime) await pause(100);
  }
}

async function main() {
  const words = process.argv.slice(2).filter((word) => word !== "--real-time");
  const [file, server = "127.0.0.1:50051"] = words;
  if (!file) throw new Error("usage: node recognize.js FILE [HOST:PORT] [--real-time]");
  const recording = readWav(file);
  const client = new RecognitionService(server, grpc.credentials.createInsecure());
  try {
    const call = client.recognize();
    // `pipe` waits while the server takes no more audio. Events arrive while chunks are sent.
    Readable.from(requests(recording, process.argv.includes("--real-time"))).pipe(call);
    const seconds = (time) => (time.seconds + time.nanos / 1e9).toFixed(1);
    for await (const { event } of call) {
      console.log(`${seconds(event.start)} - ${seconds(event.end)} s  ${event.emotion}  ${event.confidence.toFixed(2)}`);
    }
  } finally {
    client.close();
  }
}

// A live client reconnects after UNAVAILABLE: it opens a new call with the same streamId and sets firstSample of the
// first chunk to that chunk's position. On ALREADY_EXISTS it tries again for up to 30 s.
main().catch((error) => {
  console.error(error.code in grpc.status ? `${grpc.status[error.code]}: ${error.details}` : error.message);
  process.exitCode = 1;
});
