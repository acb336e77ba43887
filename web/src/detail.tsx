// The panel of one call: now, over time, alerts, and its summary once it has ended.
import { useEffect, useRef, useState } from "preact/hooks";
import { AlertText } from "./alerts";
import { ChannelLine, StripCanvas } from "./card";
import { LoudnessChart, Probabilities, Valence } from "./charts";
import { Bar } from "./bar";
import { clock } from "./format";
import { get } from "./live";
import type { CallSummary, FullCall } from "./protocol";
import { closeCall, type Route } from "./route";
import { type Call, calls, type Channel, ownCalls, replaced } from "./store";
import { Summary } from "./summary";

/** How often a summary is requested while the call lingers. */
const RETRY = 2000;
const MOST_TRIES = 30;

/** A summary, and the call that was held when it was requested. */
interface Found {
  call: Call | undefined;
  summary: CallSummary;
}

export function Detail({ id, view }: { id: string; view: Route["view"] }) {
  const own = ownCalls.value.get(id);
  // The daemon holds an ended call for a minute; the panel does for as long as it is open.
  const last = useRef<Call>(undefined);
  const call = own ?? heldCall(id, view) ?? last.current;
  last.current = call;
  void replaced.value;
  void call?.revision.value;
  const heading = useRef<HTMLHeadingElement>(null);
  const [found, setFound] = useState<Found>();
  // Another call may have taken the place of the one with this id.
  const summary = found?.call === call ? found?.summary : undefined;
  const [problem, setProblem] = useState("");
  const [missing, setMissing] = useState(false);
  const [, redraw] = useState(0);
  // Before that, the daemon may hold the summary of an earlier call with this id.
  const due = call?.summarised ?? true;
  useEffect(() => heading.current?.focus(), []);
  useEffect(() => {
    // The list of the page holds no probabilities of windows before it was opened; the daemon does.
    if (own || !call) return;
    get<FullCall>(`/api/live/${encodeURIComponent(id)}`)
      .then((full) => full?.since === call.since && call.fill(full))
      .then(() => redraw((value) => value + 1))
      .catch((error: Error) => setProblem(error.message));
  }, [id, call]);
  useEffect(() => {
    if (own || !due || summary) return;
    let timer: ReturnType<typeof setTimeout>;
    let [tries, stopped] = [0, false];
    const ask = async () => {
      try {
        const summary = await get<CallSummary>(`/api/calls/${encodeURIComponent(id)}`);
        if (stopped) return;
        if (summary) return setFound({ call, summary });
        setMissing(true);
        tries += 1;
        if (tries < MOST_TRIES) timer = setTimeout(ask, RETRY);
      } catch (error) {
        setProblem((error as Error).message);
      }
    };
    void ask();
    return () => {
      stopped = true;
      clearTimeout(timer);
    };
  }, [id, call, due, summary]);
  useEffect(() => {
    // Charts of an open call are drawn again while the panel is open, also where its card is not visible.
    const timer = setInterval(() => redraw((value) => value + 1), 500);
    return () => clearInterval(timer);
  }, []);
  return (
    <aside class="panel" aria-labelledby="call-heading">
      <header>
        <h2 id="call-heading" tabIndex={-1} ref={heading} title={summary?.callId ?? id}>
          {summary?.callId ?? id}
        </h2>
        <button type="button" class="quiet" onClick={closeCall} title="Close (Esc)">
          <span aria-hidden="true">✕</span>
          <span class="hidden">Close</span>
        </button>
      </header>
      <div class="content" tabIndex={0} role="group" aria-label="Call">
        {problem && <p class="problem">{problem}</p>}
        {missing && !call && !summary && (
          <p class="hint">No window of this call has been analysed yet, or the daemon no longer holds it.</p>
        )}
        {call && <Facts call={call} />}
        {call && call.alerts.length > 0 && <CallAlerts call={call} />}
        {call?.channels.map((channel, index) => (
          <ChannelDetail key={channel.name} call={call} channel={channel} index={index} />
        ))}
        {summary && <Summary summary={summary} />}
        {call?.ended && !summary && !own && !problem && (
          <p class="hint">The call has ended. Its summary follows, if it has one.</p>
        )}
      </div>
    </aside>
  );
}

/** Returns the call of the daemon that the panel shows. In the list of ended calls it is one with a summary: a call that is open has the id of an earlier one. */
function heldCall(id: string, view: Route["view"]): Call | undefined {
  const call = calls.get(id);
  return view === "live" || call?.summarised ? call : undefined;
}

function Facts({ call }: { call: Call }) {
  const facts: [string, string][] = [
    ["Length", clock(call.length)],
    ["State", call.ended ? "ended" : "open"],
  ];
  if (call.source) facts.push(["Source", call.source]);
  const [first, ...more] = call.streamIds;
  if (first && first !== call.id) facts.push([more.length ? "Streams" : "Stream", call.streamIds.join(", ")]);
  const model = call.channels.find((channel) => channel.model)?.model;
  if (model) facts.push(["Model", model]);
  return (
    <dl class="facts">
      {[...facts, ...Object.entries(call.attributes)].map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function CallAlerts({ call }: { call: Call }) {
  return (
    <section>
      <h3>Alerts</h3>
      <ul class="call-alerts">
        {call.alerts.toReversed().map((alert) => (
          <li key={alert.alert_id} class={`alert ${alert.state === "raised" ? alert.priority : "cleared"}`}>
            <AlertText alert={alert} />
          </li>
        ))}
      </ul>
    </section>
  );
}

function ChannelDetail({ call, channel, index }: { call: Call; channel: Channel; index: number }) {
  const measured = channel.windows.some((window) => window.loudness !== undefined);
  const scored = channel.windows.some((window) => window.scores?.length);
  const valued = channel.windows.some((window) => window.valence !== undefined);
  return (
    <section class="channel-detail">
      <ChannelLine channel={channel} />
      <StripCanvas call={call} index={index} />
      {scored && (
        <>
          <h4>Probabilities of the last window with speech, and over time</h4>
          <Bars channel={channel} />
          <Probabilities channel={channel} />
        </>
      )}
      {valued && (
        <>
          <h4>Valence, −5 to +5</h4>
          <Valence channel={channel} />
        </>
      )}
      {measured && (
        <>
          <h4>Loudness, LUFS</h4>
          <LoudnessChart channel={channel} />
        </>
      )}
    </section>
  );
}

/** The probabilities of the last window with speech, in words and numbers. */
function Bars({ channel }: { channel: Channel }) {
  const last = channel.windows.findLast((window) => window.scores?.length);
  if (!last?.scores) return null;
  const bars = channel.labels.map((label, index) => ({ label, share: (last.scores?.[index] ?? 0) / 1000 }));
  return (
    <ul class="bars">
      {bars.map(({ label, share }) => (
        <Bar key={label} label={label} share={share} />
      ))}
    </ul>
  );
}
