// The strips: one canvas for each channel, drawn in requestAnimationFrame and only while it is visible.
import { batch } from "@preact/signals";
import { color } from "./emotions";
import type { Call, Channel } from "./store";

/** Windows that a strip shows, and the place of each in pixels. */
const WINDOWS = 48;
/** The range of loudness that fills a strip, in LUFS. */
const [QUIETEST, LOUDEST] = [-50, -12];

interface Strip {
  canvas: HTMLCanvasElement;
  call: Call;
  index: number;
  /** The revision of the windows that was drawn. */
  drawn: unknown;
}

const strips = new Map<Element, Strip>();
const visible = new Set<Strip>();
const visibleCalls = new Map<Element, Call>();
let requested = false;
/** Frames that were drawn and canvases in them, for measurements. */
export const drawnFrames = { frames: 0, canvases: 0 };

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const strip = strips.get(entry.target);
      if (!strip) continue;
      if (entry.isIntersecting) {
        visible.add(strip);
        visibleCalls.set(entry.target, strip.call);
      } else {
        visible.delete(strip);
        visibleCalls.delete(entry.target);
      }
    }
    requestDraw();
  },
  { rootMargin: "100px" },
);

/** Draws the strip of a channel from now on; the result ends this. */
export function attach(canvas: HTMLCanvasElement, call: Call, index: number): () => void {
  strips.set(canvas, { canvas, call, index, drawn: undefined });
  seen.observe(canvas);
  return () => {
    const strip = strips.get(canvas);
    if (strip) visible.delete(strip);
    visibleCalls.delete(canvas);
    strips.delete(canvas);
    seen.unobserve(canvas);
  };
}

/** Draws all visible strips again: the theme or the layout has changed. */
export function redrawAll(): void {
  for (const strip of strips.values()) strip.drawn = undefined;
  requestDraw();
}

/** Draws what has changed, with the next frame. */
export function requestDraw(): void {
  if (requested || document.hidden) return;
  requested = true;
  requestAnimationFrame(draw);
}

document.addEventListener("visibilitychange", requestDraw);
addEventListener("resize", redrawAll);

function draw(): void {
  requested = false;
  drawnFrames.frames += 1;
  batch(() => {
    for (const call of new Set(visibleCalls.values())) {
      if (!call.dirty) continue;
      call.dirty = false;
      call.revision.value += 1;
    }
  });
  for (const strip of visible) {
    const channel = strip.call.channels[strip.index];
    const last = channel?.windows.at(-1);
    if (!channel || (strip.drawn !== undefined && strip.drawn === last)) continue;
    strip.drawn = last;
    drawnFrames.canvases += 1;
    drawStrip(strip.canvas, channel);
  }
}

function drawStrip(canvas: HTMLCanvasElement, channel: Channel): void {
  const scale = Math.min(devicePixelRatio || 1, 2);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const place = width / WINDOWS;
  const bar = Math.max(1.5, place - Math.min(2, place / 3));
  const windows = channel.windows.slice(-WINDOWS);
  const left = width - windows.length * place;
  context.fillStyle = color("strip-rest");
  for (let index = 0; index < WINDOWS - windows.length; index += 1) {
    context.fillRect(index * place, height / 2 - 0.5, bar, 1);
  }
  windows.forEach((window, index) => {
    const silent = window.emotion === "silence" || (window.emotion === "" && (window.speech ?? 1) < 0.05);
    const tall = silent ? 2 : Math.max(4, height * loudnessShare(window.loudness));
    context.fillStyle = window.emotion === "" ? color("strip-plain") : color(silent ? "strip-rest" : window.emotion);
    context.globalAlpha = silent || window.emotion === "" ? 1 : 0.45 + 0.55 * window.confidence;
    context.beginPath();
    context.roundRect(left + index * place, (height - tall) / 2, bar, tall, Math.min(bar / 2, 2));
    context.fill();
  });
  context.globalAlpha = 1;
}

/** Returns the part of the height that a loudness fills; three quarters where it was not measured. */
function loudnessShare(loudness: number | undefined): number {
  if (loudness === undefined) return 0.75;
  const share = (loudness - QUIETEST) / (LOUDEST - QUIETEST);
  return 0.12 + 0.88 * Math.min(1, Math.max(0, share));
}
