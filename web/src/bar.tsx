// A share as a bar with its name and number.
import { capital, emotionClass, word } from "./emotions";
import { percent } from "./format";

export function Bar({ label, share }: { label: string; share: number }) {
  return (
    <li class={emotionClass(label)}>
      <span class="label">
        <span class="dot" aria-hidden="true" />
        {capital(word(label))}
      </span>
      <span class="track" aria-hidden="true">
        <span class="fill" style={{ width: `${share * 100}%` }} />
      </span>
      <span class="number">{percent(share)}</span>
    </li>
  );
}
