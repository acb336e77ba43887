// The feed /api/live, read with fetch so that it can carry a token, and other requests with the same token.
import { signal } from "@preact/signals";
import type { Batch, Snapshot } from "./protocol";
import { applyBatch, applySnapshot, status, statusText } from "./store";

/** The daemon sends a message at least every 2.25 s. */
const STALLED = 10_000;
const [FIRST_PAUSE, LONGEST_PAUSE] = [500, 10_000];

const KEY = "affectd.token";

/** Held for this tab only. */
export const token = signal(sessionStorage.getItem(KEY) ?? "");

/** Why the daemon accepts no work; empty while it does. */
export const readiness = signal("");

/** Is called after each message. */
let changed: () => void = () => {};
let wake: (() => void) | undefined;

export function setToken(next: string): void {
  token.value = next;
  if (next) sessionStorage.setItem(KEY, next);
  else sessionStorage.removeItem(KEY);
  wake?.();
}

export function authorized(headers: Record<string, string> = {}): Record<string, string> {
  return token.value ? { ...headers, authorization: `Bearer ${token.value}` } : headers;
}

/** Reads the feed for as long as the page is open. */
export async function follow(onChange: () => void): Promise<never> {
  changed = onChange;
  let pause = FIRST_PAUSE;
  for (;;) {
    const began = performance.now();
    try {
      await read();
      statusText.value = "the daemon has closed the connection";
    } catch (error) {
      statusText.value = error instanceof Error ? error.message : String(error);
    }
    if (status.value === "locked") {
      await new Promise<void>((resolve) => (wake = resolve));
      status.value = "connecting";
      continue;
    }
    status.value = "lost";
    changed();
    if (performance.now() - began > STALLED) pause = FIRST_PAUSE;
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

async function read(): Promise<void> {
  const stop = new AbortController();
  const response = await fetch("/api/live", { headers: authorized(), signal: stop.signal, cache: "no-store" });
  if (response.status === 401 || response.status === 403) {
    status.value = "locked";
    throw new Error((await response.text()).trim());
  }
  if (!response.ok || !response.body) throw new Error(`/api/live: HTTP ${response.status}`);
  let stalled: ReturnType<typeof setTimeout> | undefined;
  const watch = () => {
    clearTimeout(stalled);
    stalled = setTimeout(() => stop.abort(new Error("no message for 10 s")), STALLED);
  };
  try {
    watch();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      watch();
      const messages = (rest + value).split("\n\n");
      rest = messages.pop() ?? "";
      messages.forEach(handle);
    }
  } finally {
    clearTimeout(stalled);
  }
}

function handle(message: string): void {
  const lines = message.split("\n");
  const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  const data = JSON.parse(field("data") ?? "null");
  switch (field("event")) {
    case "snapshot":
      applySnapshot(data as Snapshot);
      status.value = "live";
      break;
    case "batch":
      applyBatch(data as Batch);
      status.value = "live";
      break;
    case "resync":
      status.value = "behind";
      break;
  }
  changed();
}

/** Returns the JSON of a path; undefined where there is none. */
export async function get<T>(path: string): Promise<T | undefined> {
  const response = await fetch(path, { headers: authorized(), cache: "no-store" });
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error((await response.text()).trim() || `HTTP ${response.status}`);
  return (await response.json()) as T;
}

/** Reads whether the daemon accepts work. */
export async function checkReadiness(): Promise<void> {
  const response = await fetch("/readyz", { cache: "no-store" }).catch(() => undefined);
  readiness.value = response && response.status === 503 ? (await response.text()).trim() : "";
}
