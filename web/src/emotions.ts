// Words and colours of emotions.
import { signal } from "@preact/signals";

const WORDS: Record<string, string> = {
  anger: "angry",
  disgust: "disgusted",
  fear: "fearful",
  happiness: "happy",
  neutral: "neutral",
  sadness: "sad",
  surprise: "surprised",
  silence: "silent",
  uncertain: "unclear",
};

/** The emotions with a colour of their own, in the order in which the page shows them. */
export const KNOWN = ["anger", "disgust", "fear", "sadness", "neutral", "happiness"];

/** Returns the emotion as an adjective; the label itself where it has none. */
export function word(emotion: string): string {
  return WORDS[emotion] ?? emotion;
}

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Returns the class that gives an element the colour of the emotion. */
export function emotionClass(emotion: string): string {
  if (KNOWN.includes(emotion) || emotion === "silence") return `e-${emotion}`;
  if (emotion === "" || emotion === "uncertain") return "e-none";
  return "e-other";
}

/** Counts the changes of the theme, so that canvases are drawn again. */
export const themeRevision = signal(0);

let palette: Map<string, string> | undefined;

/** Returns the colour of an emotion, or of a named part of the page, in the present theme. */
export function color(name: string): string {
  palette ??= new Map();
  let found = palette.get(name);
  if (found === undefined) {
    const style = getComputedStyle(document.documentElement);
    found = style.getPropertyValue(`--e-${name}`).trim() || style.getPropertyValue(`--${name}`).trim();
    found ||= style.getPropertyValue("--e-other").trim();
    palette.set(name, found);
  }
  return found;
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

export type Theme = "system" | "light" | "dark";

export const theme = signal<Theme>(readTheme());

function readTheme(): Theme {
  const stored = localStorage.getItem("affectd.theme");
  return stored === "light" || stored === "dark" ? stored : "system";
}

export function setTheme(next: Theme): void {
  theme.value = next;
  localStorage.setItem("affectd.theme", next);
  applyTheme();
}

export function applyTheme(): void {
  const system = prefersDark.matches ? "dark" : "light";
  document.documentElement.dataset["theme"] = theme.value === "system" ? system : theme.value;
  palette = undefined;
  themeRevision.value += 1;
}

prefersDark.addEventListener("change", applyTheme);
