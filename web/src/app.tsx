// The frame of the page: bar, alerts, filters, cards, panel.
import { useRef } from "preact/hooks";
import { AlertList } from "./alerts";
import { Card } from "./card";
import { Detail } from "./detail";
import { EndedCalls } from "./ended";
import { capital, emotionClass, KNOWN, theme, word } from "./emotions";
import { count } from "./format";
import { helpOpen, KEYS, nextTheme } from "./keys";
import { readiness, setToken } from "./live";
import { Modal } from "./modal";
import { route } from "./route";
import * as store from "./store";
import { DropTarget, TryButtons } from "./try";

export function App() {
  const { view, callId } = route.value;
  return (
    <div class={callId ? "page with-panel" : "page"}>
      <a class="skip" href="#calls" onClick={skip}>
        Skip to the calls
      </a>
      <Bar />
      <main id="main">
        <AlertList />
        <Toolbar />
        {view === "ended" ? <EndedCalls /> : <LiveCalls />}
        <Notice />
      </main>
      {callId && <Detail key={`${view} ${callId}`} id={callId} view={view} />}
      <Locked />
      <Help />
      <DropTarget />
      <p class="hidden" aria-live="assertive">
        {store.announcement}
      </p>
    </div>
  );
}

function skip(event: Event) {
  event.preventDefault();
  document.getElementById("calls")?.focus();
}

function Bar() {
  const words: Record<store.Status, string> = {
    connecting: "Connecting",
    live: "Live",
    behind: "Catching up",
    lost: "Reconnecting",
    locked: "Locked",
  };
  const status = store.status.value;
  const themes = { system: "As the system", light: "Light", dark: "Dark" };
  return (
    <header class="bar">
      <h1>
        <img src="/assets/icon.svg" alt="" width="26" height="26" />
        <span class="brand">affectd</span>
      </h1>
      <p class={`status ${status}`} role="status" title={store.statusText.value}>
        <span class="pulse" aria-hidden="true" />
        {words[status]}
      </p>
      <p class="figure wide">
        <b>{store.openCalls}</b> open {store.openCalls.value === 1 ? "call" : "calls"}
      </p>
      <p class="figure wide">
        <b>{Math.round(store.rate.value)}</b> windows/s
      </p>
      <div class="actions">
        <TryButtons />
        <button type="button" class="quiet" onClick={nextTheme} title="Theme (T)">
          <span class={`theme-icon ${theme.value}`} aria-hidden="true" />
          <span class="hidden">Theme: {themes[theme.value]}</span>
        </button>
        <button type="button" class="quiet wide" onClick={() => (helpOpen.value = true)} title="Keys (?)">
          <span aria-hidden="true">?</span>
          <span class="hidden">Keys</span>
        </button>
      </div>
    </header>
  );
}

function Toolbar() {
  const { view } = route.value;
  return (
    <div class="toolbar">
      <nav class="tabs" aria-label="Calls">
        <a href="#/" aria-current={view === "live" ? "page" : undefined}>
          Live <span class="badge">{store.openCalls}</span>
        </a>
        <a href="#/ended" aria-current={view === "ended" ? "page" : undefined}>
          Ended
        </a>
      </nav>
      {view === "live" && <Filters />}
    </div>
  );
}

function Filters() {
  const emotions = [...new Set([...KNOWN, ...Object.keys(store.counts.value)])].filter(
    (emotion) => emotion !== "" && (KNOWN.includes(emotion) || (store.counts.value[emotion] ?? 0) > 0),
  );
  const set = (change: () => void) => {
    change();
    store.arrange();
  };
  const toggle = (emotion: string) => {
    const next = new Set(store.emotions.value);
    if (!next.delete(emotion)) next.add(emotion);
    set(() => (store.emotions.value = next));
  };
  return (
    <div class="filters" role="group" aria-label="Filters">
      <input
        id="search"
        type="search"
        aria-label="Search calls"
        placeholder="Search call or attribute"
        value={store.search.value}
        onInput={(event) => set(() => (store.search.value = event.currentTarget.value))}
      />
      <div class="chips">
        {emotions.map((emotion) => (
          <button
            type="button"
            key={emotion}
            class={`chip ${emotionClass(emotion)}`}
            aria-pressed={store.emotions.value.has(emotion)}
            onClick={() => toggle(emotion)}
          >
            <span class="dot" aria-hidden="true" />
            {capital(word(emotion))}
            <span class="number">{store.counts.value[emotion] ?? 0}</span>
          </button>
        ))}
        <button
          type="button"
          class="chip"
          aria-pressed={store.onlyAlerts.value}
          onClick={() => set(() => (store.onlyAlerts.value = !store.onlyAlerts.value))}
        >
          With alerts
        </button>
      </div>
      <label class="order">
        <span class="wide">Order </span>
        <select
          aria-label="Order"
          value={store.order.value}
          onChange={(event) => set(() => (store.order.value = event.currentTarget.value as store.Order))}
        >
          <option value="attention">Needs attention</option>
          <option value="newest">Newest</option>
          <option value="longest">Longest</option>
        </select>
      </label>
    </div>
  );
}

function clearFilters() {
  store.search.value = "";
  store.emotions.value = new Set();
  store.onlyAlerts.value = false;
  store.arrange();
}

function LiveCalls() {
  const ids = store.shown.value;
  // The ids stay the same where another call takes the place of one.
  void store.replaced.value;
  if (ids.length === 0) return <Empty />;
  return (
    <ul class="cards" id="calls" tabIndex={-1} aria-label="Live calls">
      {ids.map((id) => {
        const call = store.calls.get(id);
        return call && <Card key={id} call={call} />;
      })}
    </ul>
  );
}

function Empty() {
  if (store.filtered.value) {
    return (
      <div class="empty" id="calls" tabIndex={-1}>
        <h2>No call passes the filters</h2>
        <button type="button" onClick={clearFilters}>
          Clear the filters
        </button>
      </div>
    );
  }
  if (store.status.value !== "live") return <div class="empty" id="calls" tabIndex={-1} aria-busy="true" />;
  return (
    <div class="empty" id="calls" tabIndex={-1}>
      <h2>No open calls</h2>
      {readiness.value && <p class="problem">affectd is {readiness}</p>}
      <p>Calls appear here as soon as their first window has been analysed.</p>
      <p>To try it, drop a recording on this page, or speak.</p>
      <pre>affectd send deploy/samples/angry.wav</pre>
    </div>
  );
}

function Notice() {
  const { hidden, missed, version } = store;
  return (
    <footer class="notice">
      {hidden.value > 0 && <p>{count(hidden.value, "more call")} open than the page shows.</p>}
      {missed.value > 0 && <p>{count(missed.value, "window")} not shown: the page was too slow.</p>}
      <p>
        Labels describe sound, not feelings, and about every third is wrong. No decision about a person may rest on them.
      </p>
      <p>
        affectd {version} · <a href="/readyz">/readyz</a> · <a href="/livez">/livez</a> ·{" "}
        <a href="/metrics">/metrics</a> · <a href="/assets/licenses.txt">licences</a>
      </p>
    </footer>
  );
}

function Locked() {
  const input = useRef<HTMLInputElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    const token = input.current?.value.trim();
    if (token) setToken(token);
  };
  return (
    <Modal open={store.status.value === "locked"} label="Token">
      <form class="locked" onSubmit={submit}>
        <h2>This page needs a token</h2>
        <p class="reason">{store.statusText}</p>
        <label for="token">Token with the scope “read”</label>
        <input id="token" ref={input} type="password" autocomplete="off" required />
        <p class="hint">It is held by this browser tab until the tab is closed.</p>
        <button type="submit" class="primary">
          Show the calls
        </button>
      </form>
    </Modal>
  );
}

function Help() {
  const close = () => (helpOpen.value = false);
  return (
    <Modal open={helpOpen.value} label="Keys" onClose={close}>
      <h2>Keys</h2>
      <dl class="keys">
        {KEYS.map(([key, action]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{action}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={close}>
        Close
      </button>
    </Modal>
  );
}
