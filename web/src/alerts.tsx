// The raised alerts, above everything else.
import { channelName, clock, short, shortId } from "./format";
import type { AlertView } from "./protocol";
import { callPath } from "./route";
import * as store from "./store";

/** Alerts that are shown; the number of the others is named. */
const MOST = 8;

export function AlertList() {
  const alerts = store.alerts.value;
  if (alerts.length === 0) return null;
  const high = alerts.filter((alert) => alert.priority === "high").length;
  return (
    <section class="alerts" aria-labelledby="alerts">
      <h2 id="alerts">
        Alerts <span class="badge">{alerts.length}</span>
        {high > 0 && <span class="badge high">{high} high</span>}
      </h2>
      <ul>
        {alerts.slice(0, MOST).map((alert) => (
          <li key={alert.alert_id}>
            <a class={`alert ${alert.priority}`} href={callPath(alert.call_id)}>
              <AlertText alert={alert} />
              <span class="call" title={alert.call_id}>
                {shortId(alert.call_id)}
              </span>
            </a>
          </li>
        ))}
      </ul>
      {alerts.length > MOST && <p class="more">and {alerts.length - MOST} more, shown on their calls</p>}
    </section>
  );
}

export function AlertText({ alert }: { alert: AlertView }) {
  const time = alert.end === null ? `since ${clock(alert.start)}` : `${clock(alert.start)} to ${clock(alert.end)}`;
  return (
    <>
      <span class="rule">
        <span class="mark" aria-hidden="true" />
        {alert.rule}
        <span class="hidden">, {alert.priority} priority</span>
      </span>
      <span class="where">
        <span class="who" title={channelName(alert.channel_name)}>
          {channelName(alert.channel_name) || "call"}
        </span>{" "}
        · {short(alert.value)} (threshold {short(alert.threshold)}) · {time}
      </span>
    </>
  );
}
