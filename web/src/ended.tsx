// The calls that have ended, newest first.
import { useEffect, useState } from "preact/hooks";
import { emotionClass } from "./emotions";
import { channelName, clock, moment, percent, shortId, signed } from "./format";
import { get } from "./live";
import { type CallSummary, seconds } from "./protocol";
import { callPath } from "./route";
import { inWords } from "./summary";

/** Time between two requests. */
const PERIOD = 5000;

interface Page {
  calls?: CallSummary[];
  nextPageToken?: string;
}

export function EndedCalls() {
  const [page, setPage] = useState<Page>();
  const [older, setOlder] = useState<Page[]>([]);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const load = () =>
      get<Page>("/api/calls?page_size=50")
        .then((found) => {
          setPage(found);
          setProblem("");
        })
        .catch((error: Error) => setProblem(error.message));
    void load();
    const timer = setInterval(load, PERIOD);
    return () => clearInterval(timer);
  }, []);
  const held = [page, ...older].flatMap((it) => it?.calls ?? []);
  const known = new Map(held.map((call) => [call.summaryId, call]));
  // Calls of several clients, or a call with several models, share an id.
  const withId = new Map<string, number>();
  for (const { callId } of known.values()) withId.set(callId, (withId.get(callId) ?? 0) + 1);
  const next = (older.at(-1) ?? page)?.nextPageToken;
  const more = async () => {
    const found = await get<Page>(`/api/calls?page_size=50&page_token=${next}`);
    if (found) setOlder([...older, found]);
  };
  if (problem) return <p class="problem">{problem}</p>;
  if (page && known.size === 0) {
    return (
      <div class="empty" id="calls" tabIndex={-1}>
        <h2>No summaries yet</h2>
        <p>A call with an id has a summary a few seconds after its last stream has ended.</p>
      </div>
    );
  }
  return (
    <div id="calls" tabIndex={-1}>
      <div class="table" role="region" aria-label="Ended calls" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Call</th>
              <th scope="col">Started</th>
              <th scope="col">Length</th>
              <th scope="col">Sounds mostly</th>
              <th scope="col">Valence</th>
              <th scope="col">Talk</th>
              <th scope="col">Ended</th>
            </tr>
          </thead>
          <tbody>
            {[...known.values()].map((call) => (
              <Row
                key={call.summaryId}
                call={call}
                id={withId.get(call.callId) === 1 ? call.callId : call.summaryId}
              />
            ))}
          </tbody>
        </table>
      </div>
      {next && (
        <button type="button" onClick={more}>
          Older calls
        </button>
      )}
    </div>
  );
}

/** A call; `id` is one that no other call of the list has. */
function Row({ call, id }: { call: CallSummary; id: string }) {
  const channels = call.channels ?? [];
  const analysed = channels.filter((channel) => channel.analysed);
  const talk = channels.filter((channel) => channel.talkShare !== undefined);
  const talked = talk.map((it) => `${channelName(it.name ?? "")} ${percent(it.talkShare ?? 0)}`).join(", ") || "–";
  return (
    <tr>
      <th scope="row">
        <a href={callPath(id, "ended")} data-call={id} title={call.callId}>
          {shortId(call.callId)}
        </a>
      </th>
      <td>{call.startTime ? moment(call.startTime) : "–"}</td>
      <td>{clock(seconds(call.duration))}</td>
      <td>
        {analysed.map((channel) => (
          <span key={channel.name} class={`emotion ${emotionClass(channel.dominantEmotion ?? "")}`}>
            <span class="dot" aria-hidden="true" />
            {inWords(channel)}
          </span>
        ))}
      </td>
      <td>{analysed.map((it) => (it.valence === undefined ? "–" : signed(it.valence))).join(" / ")}</td>
      <td class="cut" title={talked}>
        {talked}
      </td>
      <td>{call.endReason}</td>
    </tr>
  );
}
