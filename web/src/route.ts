// What the page shows, as the fragment of its address says: #/, #/ended, #/call/ID.
import { signal } from "@preact/signals";

export interface Route {
  view: "live" | "ended";
  /** The call in the panel. */
  callId?: string;
}

export const route = signal(read());

function read(): Route {
  const [, first, id] = location.hash.split("/");
  const view = first === "ended" ? "ended" : "live";
  const callId = first === "call" || first === "ended" ? id : undefined;
  try {
    return callId ? { view, callId: decodeURIComponent(callId) } : { view };
  } catch {
    return { view };
  }
}

addEventListener("hashchange", () => {
  route.value = read();
});

export function callPath(id: string, view: Route["view"] = "live"): string {
  return `#/${view === "ended" ? "ended" : "call"}/${encodeURIComponent(id)}`;
}

/** Closes the panel and returns the focus to the card that opened it. */
export function closeCall(): void {
  const { view, callId } = route.value;
  location.hash = view === "ended" ? "#/ended" : "#/";
  if (callId) {
    requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-call="${CSS.escape(callId)}"]`)?.focus());
  }
}
