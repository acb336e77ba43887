// Trying it: a recording that is dropped on the page, and the microphone.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { authorized, token } from "./live";
import { Modal } from "./modal";
import { type EmotionEvent, seconds } from "./protocol";
import { callPath } from "./route";
import { Call, ownCalls, valences } from "./store";
import { Microphone } from "./microphone";

const problem = signal("");
const busy = signal("");
const listening = signal<Microphone | undefined>(undefined);

export function TryButtons() {
  const input = useRef<HTMLInputElement>(null);
  const microphone = listening.value;
  return (
    <>
      <input
        ref={input}
        type="file"
        class="hidden"
        tabIndex={-1}
        aria-hidden="true"
        accept="audio/*,.wav,.mp3,.flac,.ogg,.opus,.m4a"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) void analyse(file);
          event.currentTarget.value = "";
        }}
      />
      <button type="button" onClick={() => input.current?.click()} disabled={busy.value !== ""}>
        {busy.value || (
          <>
            <span class="short">Recording</span>
            <span class="long">Analyze a recording</span>
          </>
        )}
      </button>
      <button type="button" class={microphone ? "recording" : "primary"} aria-pressed={!!microphone} onClick={speak}>
        {microphone ? "Stop" : "Speak"}
      </button>
    </>
  );
}

async function speak() {
  const microphone = listening.value;
  listening.value = undefined;
  if (microphone) return microphone.stop();
  try {
    const started = await Microphone.start(token.value, (text) => {
      listening.value = undefined;
      if (text) problem.value = text;
    });
    listening.value = started;
    location.hash = callPath(started.callId);
  } catch (error) {
    problem.value = (error as Error).message;
  }
}

/** Sends a recording, and opens it as a call whose windows appear as they are analysed. */
async function analyse(file: File) {
  // The id of the stream, too, so that the daemon's card of it opens the same.
  const id = `${file.name.slice(0, 80)} ${new Date().toLocaleTimeString()}`;
  busy.value = "Analyzing …";
  try {
    const headers = authorized({ accept: "application/x-ndjson", "content-type": "application/octet-stream" });
    const response = await fetch(`/v1/analyze?${new URLSearchParams({ stream_id: id })}`, { method: "POST", headers, body: file });
    if (!response.ok || !response.body) throw new Error(errorText(await response.text(), response.status));
    const call = new Call(id);
    [call.source, call.since, call.ended] = ["recording", Date.now(), true];
    ownCalls.value = new Map([...ownCalls.value, [id, call]]);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = done ? "" : (lines.pop() ?? "");
      for (const line of lines.filter((line) => line.trim() !== "")) add(call, JSON.parse(line));
      if (call.length > 0) location.hash = callPath(id);
      if (done) break;
    }
    if (call.length === 0) throw new Error(`${file.name}: too short for a window`);
  } catch (error) {
    problem.value = (error as Error).message;
  } finally {
    busy.value = "";
  }
}

function errorText(body: string, status: number): string {
  try {
    return (JSON.parse(body) as { error: { message: string } }).error.message;
  } catch {
    return body.trim() || `HTTP ${status}`;
  }
}

function add(call: Call, event: EmotionEvent & { error?: { message: string } }) {
  if (event.error) throw new Error(event.error.message);
  const scores = (event.smoothedScores?.length ? event.smoothedScores : event.scores) ?? [];
  const name = event.channelName || `channel ${event.channel ?? 0}`;
  let at = call.channels.findIndex((channel) => channel.name === name);
  if (at < 0) {
    at = call.channels.length;
    call.channels.push({ name, analysed: true, model: event.model, labels: [], windows: [] });
  }
  const channel = call.channels[at];
  if (channel && scores.length) channel.labels = scores.map((score) => score.emotion);
  const { positive, negative } = valences.value;
  const sign = (label: string) => Number(positive.includes(label)) - Number(negative.includes(label));
  const known = scores.some((score) => sign(score.emotion) !== 0);
  const valence = 5 * scores.reduce((sum, score) => sum + sign(score.emotion) * (score.probability ?? 0), 0);
  call.add(at, {
    start: seconds(event.start),
    end: seconds(event.end),
    emotion: event.emotion,
    confidence: event.confidence ?? 0,
    ...(known ? { valence } : {}),
    scores: scores.map((score) => Math.round((score.probability ?? 0) * 1000)),
  });
}

export function DropTarget() {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const files = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent) => {
      if (!files(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (!event.relatedTarget) setOver(false);
    };
    const drop = (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      const file = event.dataTransfer?.files[0];
      if (file) void analyse(file);
    };
    document.addEventListener("dragenter", enter);
    document.addEventListener("dragover", enter);
    document.addEventListener("dragleave", leave);
    document.addEventListener("drop", drop);
    return () => {
      document.removeEventListener("dragenter", enter);
      document.removeEventListener("dragover", enter);
      document.removeEventListener("dragleave", leave);
      document.removeEventListener("drop", drop);
    };
  }, []);
  const close = () => (problem.value = "");
  return (
    <>
      {over && (
        <div class="drop" aria-hidden="true">
          <p>Drop the recording to analyze it</p>
        </div>
      )}
      <Modal open={problem.value !== ""} label="Error" onClose={close}>
        <h2>That did not work</h2>
        <p class="reason">{problem}</p>
        <button type="button" onClick={close}>
          Close
        </button>
      </Modal>
    </>
  );
}
