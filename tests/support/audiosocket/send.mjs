// Sends audio as Asterisk does, with the encoder of asterisk-audiosocket, over one connection for each UUID, and prints how many frames of silence
// came back on each.
// usage: node send.mjs PORT FILE UUID…    FILE: 16-bit little-endian samples at 8 kHz
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { FrameParser, FrameType, encodeAudio, encodeFrame, encodeHangup } from "asterisk-audiosocket";

const [port, file, ...uuids] = process.argv.slice(2);
const audio = readFileSync(file);

for (const uuid of uuids) {
  const socket = connect(Number(port), "127.0.0.1");
  const parser = new FrameParser();
  let silence = 0;
  socket.on("data", (data) => {
    parser.push(data);
    for (const frame of parser.drain()) {
      if (frame.type === FrameType.AUDIO && frame.payload.length === 320) silence += 1;
      // Some silence has come back, so the call may end.
      if (silence === 3) socket.write(encodeHangup());
    }
  });
  socket.on("close", () => console.log(silence));
  socket.write(encodeFrame(FrameType.UUID, Buffer.from(uuid.replaceAll("-", ""), "hex")));
  for (let at = 0; at < audio.length; at += 320) socket.write(encodeAudio(audio.subarray(at, at + 320)));
}
