// The keys of the page.
import { signal } from "@preact/signals";
import { setTheme, theme } from "./emotions";
import { closeCall, route } from "./route";

export const helpOpen = signal(false);

export const KEYS: [string, string][] = [
  ["/", "Search"],
  ["J, K or arrow keys", "Next and previous call"],
  ["Enter", "Open the call"],
  ["Esc", "Close the call or the dialog"],
  ["T", "Light, dark or as the system"],
  ["?", "This list"],
];

export function startKeys(): void {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    const typing = target.matches("input, textarea, select");
    if (event.key === "Escape") {
      if (typing) target.blur();
      else if (!document.querySelector("dialog[open]") && route.value.callId) closeCall();
      return;
    }
    if (typing || document.querySelector("dialog[open]")) return;
    if (handle(event.key)) event.preventDefault();
  });
}

function handle(key: string): boolean {
  switch (key) {
    case "/":
      document.querySelector<HTMLElement>("#search")?.focus();
      return true;
    case "?":
      helpOpen.value = true;
      return true;
    case "t":
    case "T":
      nextTheme();
      return true;
    case "j":
    case "ArrowRight":
    case "ArrowDown":
      return move(key, 1);
    case "k":
    case "ArrowLeft":
    case "ArrowUp":
      return move(key, -1);
    default:
      return false;
  }
}

export function nextTheme(): void {
  setTheme(theme.value === "system" ? "dark" : theme.value === "dark" ? "light" : "system");
}

/** Moves the focus between cards; arrow keys do so from a card only, and scroll elsewhere. */
function move(key: string, step: number): boolean {
  const cards = [...document.querySelectorAll<HTMLElement>(".cards [data-call]")];
  const at = cards.indexOf(document.activeElement as HTMLElement);
  if (at < 0 && key.startsWith("Arrow")) return false;
  const rows = key === "ArrowDown" || key === "ArrowUp" ? columns(cards) : 1;
  const next = cards[at < 0 ? 0 : Math.min(cards.length - 1, Math.max(0, at + step * rows))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
  return true;
}

function columns(cards: HTMLElement[]): number {
  const top = cards[0]?.getBoundingClientRect().top;
  const at = cards.findIndex((card) => card.getBoundingClientRect().top !== top);
  return at < 0 ? cards.length : at;
}
