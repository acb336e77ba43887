// The card of a call in the list.
import { memo } from "preact/compat";
import { useEffect, useRef } from "preact/hooks";
import { capital, emotionClass, word } from "./emotions";
import { channelName, clock, count, percent, shortId, signed } from "./format";
import type { AlertView } from "./protocol";
import { callPath, route } from "./route";
import { type Call, type Channel, recentValence } from "./store";
import { attach } from "./strip";

/** Channels that a card shows at most. */
const MOST_CHANNELS = 4;

/** A channel and its place in the call. */
interface Placed {
  channel: Channel;
  index: number;
}

export const Card = memo(function Card({ call }: { call: Call }) {
  // The card is rendered again when the revision changes, which it does only while the card is visible.
  void call.revision.value;
  const raised = call.raised;
  const level = raised.some((alert) => alert.priority === "high") ? "high" : raised.length ? "low" : "";
  const [shown, others] = divide(call);
  const alertText = inWords(raised, call.channels.length > 1);
  const open = route.value.callId === call.id;
  return (
    <li>
      <a
        class={`card ${level && `alert-${level}`} ${call.ended ? "over" : ""}`}
        href={callPath(call.id)}
        data-call={call.id}
        aria-current={open ? "true" : undefined}
      >
        <span class="head">
          <span class="name" title={call.id}>
            {shortId(call.id)}
          </span>
          {call.ended && <span class="tag">ended</span>}
          <span class="time">{clock(call.length)}</span>
        </span>
        {raised.length > 0 && (
          <span class={`tag ${level}`} title={alertText}>
            <span class="hidden">Alert: </span>
            {alertText}
          </span>
        )}
        {shown.map(({ channel, index }) => (
          <span class={call.channels.length === 1 ? "channel single" : "channel"} key={channel.name}>
            <ChannelLine channel={channel} />
            <StripCanvas call={call} index={index} />
          </span>
        ))}
        {others.length > 0 && (
          <span class="more" title={others.map(({ channel }) => channelName(channel.name)).join("\n")}>
            and {count(others.length, "more channel")}
          </span>
        )}
      </a>
    </li>
  );
});

/** Returns the channels that the card shows, and the others. Those with a raised alert come first; the order of the call remains. */
function divide(call: Call): [Placed[], Placed[]] {
  const names = new Set(call.raised.map((alert) => alert.channel_name));
  const all = call.channels.map((channel, index) => ({ channel, index }));
  const rank = ({ channel }: Placed) => (names.has(channel.name) ? 0 : 1);
  const first = new Set(all.toSorted((a, b) => rank(a) - rank(b)).slice(0, MOST_CHANNELS));
  return [all.filter((it) => first.has(it)), all.filter((it) => !first.has(it))];
}

/** Returns each rule, with the channels in which it applies where `named`. */
function inWords(alerts: AlertView[], named: boolean): string {
  const rules = new Map<string, string[]>();
  for (const { rule, channel_name: name } of alerts) {
    rules.set(rule, [...(rules.get(rule) ?? []), ...(name === "" || !named ? [] : [channelName(name)])]);
  }
  const parts = [...rules].map(([rule, channels]) => (channels.length ? `${rule}: ${channels.join(", ")}` : rule));
  return parts.join("; ");
}

/** The name of a channel and what it sounds like now, in words. */
export function ChannelLine({ channel }: { channel: Channel }) {
  const last = channel.windows.at(-1);
  const valence = recentValence(channel);
  return (
    <span class="line">
      <span class="who" title={channelName(channel.name)}>
        {channelName(channel.name)}
      </span>
      <span class={`emotion ${emotionClass(last?.emotion ?? "")}`}>
        <span class="dot" aria-hidden="true" />
        {present(channel)}
      </span>
      {valence !== undefined && (
        <span class="valence" title="Mean valence of the last ten windows, from −5 to +5">
          <span class="hidden">valence </span>
          {signed(valence)}
        </span>
      )}
    </span>
  );
}

function present({ analysed, windows }: Channel): string {
  const last = windows.at(-1);
  if (!last) return "no window yet";
  if (last.emotion === "") {
    if (last.speech === undefined) return analysed ? "not analysed" : "not analysed for emotion";
    return last.speech > 0.05 ? "Speaks" : "Silent";
  }
  if (last.emotion === "silence") return "Silent";
  return `${capital(word(last.emotion))} ${percent(last.confidence)}`;
}

export function StripCanvas({ call, index }: { call: Call; index: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => (canvas.current ? attach(canvas.current, call, index) : undefined), [call, index]);
  return <canvas ref={canvas} class="strip" aria-hidden="true" />;
}
