// The calls, as the feed describes them. Windows are plain arrays: signals change only for what is visible.
import { batch, computed, signal } from "@preact/signals";
import type { AlertView, Batch, CallView, ChannelView, FullCall, Snapshot, WindowView } from "./protocol";

/** Windows of one channel that are held. */
const MOST_WINDOWS = 600;
/** Windows whose mean valence decides the order. */
const RECENT = 10;

export interface Channel extends ChannelView {
  windows: WindowView[];
}

export class Call {
  readonly id: string;
  source = "";
  since = 0;
  streamIds: string[] = [];
  attributes: Record<string, string> = {};
  ended = false;
  /** Whether the daemon holds its summary. */
  summarised = false;
  channels: Channel[] = [];
  alerts: AlertView[] = [];
  /** Changes when the call is to be shown again. */
  readonly revision = signal(0);
  /** Whether it has changed since it was shown. */
  dirty = true;

  constructor(id: string) {
    this.id = id;
  }

  describe(view: CallView): void {
    this.source = view.source;
    this.since = view.since;
    this.streamIds = view.stream_ids;
    this.attributes = view.attributes;
    this.ended = view.ended;
    this.summarised = view.summarised;
    this.channels = view.channels.map((channel, index) => {
      const known = this.channels[index];
      return known ? Object.assign(known, channel) : { ...channel, windows: [] };
    });
    this.dirty = true;
  }

  add(channel: number, window: WindowView): void {
    const windows = this.channels[channel]?.windows;
    if (!windows) return;
    windows.push(window);
    if (windows.length > MOST_WINDOWS) windows.splice(0, windows.length - MOST_WINDOWS);
    this.dirty = true;
  }

  /** Takes windows and alerts of the daemon. */
  fill(full: FullCall): void {
    this.describe(full);
    full.windows.forEach((windows, index) => {
      const channel = this.channels[index];
      if (channel) channel.windows = merge(channel.windows, windows);
    });
    this.alerts = full.alerts;
  }

  get length(): number {
    return Math.max(0, ...this.channels.map((channel) => channel.windows.at(-1)?.end ?? 0));
  }

  get raised(): AlertView[] {
    return this.alerts.filter((alert) => alert.state === "raised");
  }

  /** Returns the present emotion of the analysed channel with the lowest valence; empty where there is none. */
  get emotion(): string {
    const last = this.channels.filter((it) => it.analysed).map((it) => it.windows.at(-1));
    const known = last.filter((window) => window !== undefined && window.emotion !== "");
    known.sort((a, b) => (a?.valence ?? 9) - (b?.valence ?? 9));
    return known[0]?.emotion ?? "";
  }

  /** Returns the mean valence of the last windows of the channel in which it is lowest. */
  get valence(): number {
    const means = this.channels.map((channel) => recentValence(channel)).filter((mean) => mean !== undefined);
    return means.length ? Math.min(...means) : 0;
  }

  get text(): string {
    return [this.id, this.source, ...this.streamIds, ...Object.values(this.attributes)].join(" ").toLowerCase();
  }
}

/** Returns the windows of a channel: those of the daemon, which hold no scores in a snapshot, and older ones that are known. */
function merge(known: WindowView[], fresh: WindowView[]): WindowView[] {
  const first = fresh[0]?.start ?? Infinity;
  const scored = new Map(known.filter((window) => window.scores).map((window) => [window.start, window]));
  const older = known.filter((window) => window.start < first);
  return [...older, ...fresh.map((window) => (window.scores ? window : (scored.get(window.start) ?? window)))];
}

/** Returns the mean valence of a channel's last windows with speech. */
export function recentValence(channel: Channel): number | undefined {
  let [sum, number] = [0, 0];
  for (const window of channel.windows.slice(-RECENT)) {
    if (window.valence === undefined || window.emotion === "silence") continue;
    sum += window.valence;
    number += 1;
  }
  return number ? sum / number : undefined;
}

export type Order = "attention" | "newest" | "longest";
export type Status = "connecting" | "live" | "behind" | "lost" | "locked";

export const calls = new Map<string, Call>();
/** Changes when another call takes the place of one with its id. */
export const replaced = signal(0);
/** Calls that are not on the board of the daemon: recordings that this page sent. */
export const ownCalls = signal<ReadonlyMap<string, Call>>(new Map());
/** Labels with a valence. */
export const valences = signal<Snapshot["valences"]>({ positive: [], negative: [] });
export const status = signal<Status>("connecting");
export const statusText = signal("");
export const version = signal("");
export const hidden = signal(0);
export const missed = signal(0);
/** Windows per second, over the last two seconds. */
export const rate = signal(0);
/** Raised alerts: high priority first, then the newest. */
export const alerts = signal<AlertView[]>([]);
/** Text for screen readers. */
export const announcement = signal("");

export const search = signal("");
export const emotions = signal<ReadonlySet<string>>(new Set());
export const onlyAlerts = signal(false);
export const order = signal<Order>("attention");

/** Ids of the calls that pass the filters, in their order. */
export const shown = signal<string[]>([]);
export const openCalls = signal(0);
/** Open calls by their present emotion. */
export const counts = signal<Record<string, number>>({});
export const filtered = computed(() => search.value !== "" || emotions.value.size > 0 || onlyAlerts.value);

let arrived: { at: number; windows: number }[] = [];

export function applySnapshot(snapshot: Snapshot): void {
  const present = new Set(snapshot.calls.map((call) => call.call_id));
  for (const id of calls.keys()) if (!present.has(id)) calls.delete(id);
  for (const full of snapshot.calls) callOf(full).fill(full);
  batch(() => {
    version.value = snapshot.version;
    hidden.value = snapshot.hidden;
    valences.value = snapshot.valences;
    collectAlerts();
    arrange();
  });
}

export function applyBatch(change: Batch): void {
  for (const id of change.removed) calls.delete(id);
  for (const view of change.calls) callOf(view).describe(view);
  for (const window of change.windows) calls.get(window.call_id)?.add(window.channel, window);
  for (const id of change.ended) {
    const call = calls.get(id);
    if (call) [call.ended, call.dirty] = [true, true];
  }
  for (const alert of change.alerts) applyAlert(alert);
  batch(() => {
    hidden.value = change.hidden;
    missed.value += change.missed;
    measure(change.windows.length);
    if (change.calls.length || change.removed.length || change.ended.length || change.alerts.length) {
      collectAlerts();
      arrange();
    }
  });
}

/** Returns the call of a description. It is a new one where the call of this id began at another time. */
function callOf({ call_id: id, since }: CallView): Call {
  let call = calls.get(id);
  if (call && call.since === since) return call;
  if (call) replaced.value += 1;
  calls.set(id, (call = new Call(id)));
  return call;
}

function applyAlert(alert: AlertView): void {
  const call = calls.get(alert.call_id);
  if (call) {
    call.alerts = [...call.alerts.filter((other) => other.alert_id !== alert.alert_id), alert];
    call.dirty = true;
  }
  if (alert.state === "raised") {
    announcement.value = `Alert, ${alert.priority} priority: ${alert.rule}, call ${alert.call_id}`;
  }
}

function collectAlerts(): void {
  const raised = [...calls.values()].filter((call) => !call.ended).flatMap((call) => call.raised);
  const rank = (alert: AlertView) => (alert.priority === "high" ? 0 : 1);
  alerts.value = raised.sort((a, b) => rank(a) - rank(b) || b.start - a.start);
}

function measure(windows: number): void {
  const now = performance.now();
  arrived = [...arrived.filter((entry) => now - entry.at < 2000), { at: now, windows }];
  rate.value = arrived.reduce((sum, entry) => sum + entry.windows, 0) / 2;
}

/** Sorts and filters the calls, and counts the emotions. */
export function arrange(): void {
  const text = search.value.trim().toLowerCase();
  const found: { call: Call; key: number[] }[] = [];
  const count: Record<string, number> = {};
  let open = 0;
  for (const call of calls.values()) {
    const emotion = call.emotion;
    if (!call.ended) {
      open += 1;
      count[emotion] = (count[emotion] ?? 0) + 1;
    }
    if (emotions.value.size > 0 && !emotions.value.has(emotion)) continue;
    if (onlyAlerts.value && call.raised.length === 0) continue;
    if (text !== "" && !call.text.includes(text)) continue;
    found.push({ call, key: key(call) });
  }
  found.sort((a, b) => compare(a.key, b.key));
  const ids = found.map(({ call }) => call.id);
  batch(() => {
    openCalls.value = open;
    counts.value = count;
    if (ids.length !== shown.value.length || ids.some((id, index) => id !== shown.value[index])) shown.value = ids;
  });
}

function key(call: Call): number[] {
  const ended = call.ended ? 1 : 0;
  if (order.value === "newest") return [ended, -call.since];
  if (order.value === "longest") return [ended, -call.length];
  const raised = call.raised;
  const rank = raised.some((alert) => alert.priority === "high") ? 0 : raised.length ? 1 : 2;
  // Halves of a point, so that calls which hardly differ keep their places.
  return [ended, rank, Math.round(call.valence * 2), call.since];
}

function compare(a: number[], b: number[]): number {
  for (let index = 0; index < a.length; index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
