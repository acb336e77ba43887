// A server of the page with made-up calls: node tests/web/mock.mjs [PORT] [CALLS] [EVENTS PER SECOND]
// For looking at the page and for measuring it; the tests use the daemon.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const LABELS = ["anger", "disgust", "fear", "happiness", "neutral", "sadness"];
const SIGN = { anger: -5, disgust: -5, fear: -5, sadness: -5, happiness: 5, neutral: 0 };
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript; charset=utf-8", css: "text/css; charset=utf-8", svg: "image/svg+xml" };
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Returns the same numbers from 0 to 1 for the same seed. */
function random(seed) {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
}

/** Returns a call of eight channels with names of 30 to 256 characters. */
function wideCall(index) {
  const call = madeCall(index, { windows: 0 });
  call.view.call_id = `channels-${index}`;
  const [customer] = call.view.channels;
  const name = (number) => `${number % 2 ? "agent PJSIP/trunk-berlin" : "customer of the branch in the north"}-${number}-`;
  const length = (number) => [30, 40, 60, 256][number % 4];
  call.view.channels = Array.from({ length: 8 }, (_, number) => ({ ...customer, name: name(number).padEnd(length(number), number % 2 ? "x" : " y") }));
  call.windows = call.view.channels.map(() => []);
  for (let number = 0; number < 60; number += 1) grow(call);
  const raised = (number, channel, rule) => ({ ...alert(call, number), rule, channel_name: call.view.channels[channel].name });
  call.alerts = index % 2 ? [] : [raised(100, 5, "anger"), raised(102, 7, "anger")];
  return call;
}

function madeCall(index, { windows }) {
  const next = random(index * 7919 + 17);
  const mood = LABELS[Math.floor(next() * next() * 1.999 * LABELS.length) % LABELS.length];
  const call = {
    view: {
      call_id: `${["CA", "SIP-", "5f"][index % 3]}${(index * 2654435761 % 4294967296).toString(16).padStart(8, "0")}-${1000 + index}`,
      source: ["websocket", "kafka", "grpc"][index % 3],
      since: Date.now() - 1000 * Math.floor(next() * 900),
      stream_ids: [`stream-${index}`],
      attributes: { queue: ["billing", "support", "sales"][index % 3], language: ["en", "de"][index % 2] },
      ended: false,
      summarised: false,
      channels: [
        { name: "customer", analysed: true, model: "crema-d-cnn@1.0.0", labels: LABELS },
        ...(index % 2 ? [{ name: "agent", analysed: false, model: "", labels: [] }] : []),
      ],
    },
    next,
    mood,
    at: Math.floor(next() * 40),
    windows: [[], []],
    alerts: [],
  };
  for (let number = 0; number < windows; number += 1) grow(call);
  return call;
}

/** Adds a window to each channel; returns them with their channel. */
function grow(call) {
  const { next } = call;
  if (next() < 0.04) call.mood = LABELS[Math.floor(next() * LABELS.length)];
  const silent = next() < 0.12;
  const raw = LABELS.map((label) => (label === call.mood ? 1.5 + next() * 2 : next()));
  const sum = raw.reduce((all, value) => all + value, 0);
  const scores = raw.map((value) => Math.round((value / sum) * 1000));
  const best = scores.indexOf(Math.max(...scores));
  call.at += 1;
  const time = { start: call.at - 1, end: call.at + 2 };
  const valence = LABELS.reduce((all, label, index) => all + (SIGN[label] * scores[index]) / 1000, 0);
  const customer = silent
    ? { ...time, emotion: "silence", confidence: 0, speech: 0 }
    : { ...time, emotion: LABELS[best], confidence: scores[best] / 1000, valence, loudness: -38 + next() * 22, speech: 0.5 + next() / 2, scores };
  const talks = silent || next() < 0.3;
  const agent = { ...time, emotion: "", confidence: 0, loudness: talks ? -32 + next() * 12 : -62, speech: talks ? 0.8 : 0 };
  const made = call.view.channels.map((_, channel) => ({ channel, ...(call.view.channels[channel].analysed ? customer : agent) }));
  made.forEach(({ channel, ...window }) => {
    call.windows[channel].push(window);
    if (call.windows[channel].length > 300) call.windows[channel].shift();
  });
  return made.map((window) => ({ call_id: call.view.call_id, ...window }));
}

function alert(call, number) {
  const high = number % 2 === 0;
  return {
    alert_id: `alert-${number}`, state: "raised", priority: high ? "high" : "low", call_id: call.view.call_id,
    rule: ["customer angry", "long silence", "valence falls", "agent interrupts"][number % 4],
    channel_name: ["customer", "", "customer", "agent"][number % 4],
    start: Math.max(0, call.at - 14), end: null, value: [0.82, 21, -2.6, 5][number % 4], threshold: [0.7, 15, -2, 4][number % 4], event_ids: [],
  };
}

/** Summaries of two calls with one id, which different clients have sent. */
const ENDED = ["one", "two"].map((name) => ({ summaryId: `summary-${name}`, callId: "shared", duration: "60s", endReason: name, channels: [] }));

/** Starts the server; returns its address and a function that stops it. */
export async function start({ port = 0, calls: number = 24, rate = 48, alerts = 3, wide = 0, summaries = {}, dist } = {}) {
  const folder = dist ?? fileURLToPath(new URL("../../web/dist/", import.meta.url));
  const calls = Array.from({ length: number }, (_, index) => madeCall(index, { windows: 60 }));
  calls.push(...Array.from({ length: wide }, (_, index) => wideCall(index)));
  for (let index = 0; index < Math.min(alerts, calls.length); index += 1) {
    const call = calls[(index * 5 + 2) % calls.length];
    call.alerts.push(alert(call, index));
  }
  const clients = new Set();
  let at = 0;
  let due = 0;
  /** Sends a batch with these changes. */
  const send = (changes) => {
    const nothing = { calls: [], windows: [], ended: [], removed: [], alerts: [], missed: 0, hidden: 0 };
    const text = `event: batch\ndata: ${JSON.stringify({ time: Date.now(), ...nothing, ...changes })}\n\n`;
    for (const client of clients) client.write(text);
  };
  const timer = setInterval(() => {
    const windows = [];
    for (due += rate / 4; calls.length > 0 && windows.length < due; at += 1) windows.push(...grow(calls[at % calls.length]));
    due -= windows.length;
    send({ windows });
  }, 250);
  const full = (call, most, scores) => ({
    ...call.view,
    windows: call.view.channels.map((_, index) => call.windows[index].slice(-most).map((window) => (scores ? window : { ...window, scores: undefined }))),
    alerts: call.alerts,
  });
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(request.url.split("?")[0]);
    if (path === "/api/live") {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      const snapshot = { version: "0.1.0", time: Date.now(), hidden: 0, valences: { positive: ["happiness"], negative: ["anger", "disgust", "fear", "sadness"] }, calls: calls.map((call) => full(call, 48, false)) };
      response.write(`event: snapshot\ndata: ${JSON.stringify(snapshot)}\n\n`);
      clients.add(response);
      response.on("close", () => clients.delete(response));
      return;
    }
    const call = calls.find((one) => path === `/api/live/${one.view.call_id}`);
    if (call) return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(full(call, 300, true)));
    const ended = path === "/api/calls" ? { calls: ENDED } : (ENDED.find((one) => path === `/api/calls/${one.summaryId}`) ?? summaries[path.replace("/api/calls/", "")]);
    if (ended) return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(ended));
    const name = path === "/" ? "index.html" : path.replace("/assets/", "");
    try {
      const content = await readFile(`${folder}/${name}`);
      response.writeHead(200, { "content-type": TYPES[name.split(".").pop()], "content-security-policy": POLICY });
      response.end(content);
    } catch {
      response.writeHead(404).end("not found\n");
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  const stop = () => {
    clearInterval(timer);
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, send, stop };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port, calls, rate] = process.argv.slice(2).map(Number);
  const { url } = await start({ port: port || 8090, calls: calls || 24, rate: rate || 48 });
  console.log(url);
}
