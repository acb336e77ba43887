// The page: follows the feed and shows the calls.
import { render } from "preact";
import "./style.css";
import { App } from "./app";
import { applyTheme, themeRevision } from "./emotions";
import { checkReadiness, follow } from "./live";
import { startKeys } from "./keys";
import { arrange, openCalls } from "./store";
import { drawnFrames, redrawAll, requestDraw } from "./strip";

/** Time between two changes of the order of the calls, unless calls come or go. */
const ARRANGE = 2000;
/** Time between two requests whether the daemon accepts work, while there are no calls. */
const READINESS = 5000;

themeRevision.subscribe(redrawAll);
applyTheme();
const root = document.getElementById("app");
if (root) render(<App />, root);
startKeys();
setInterval(() => {
  // A list that moves under the pointer cannot be used.
  if (!document.querySelector(".cards:hover, .cards :focus-visible")) arrange();
}, ARRANGE);
setInterval(() => {
  if (openCalls.value === 0 && !document.hidden) void checkReadiness();
}, READINESS);
// For measurements with the tools of a browser.
(globalThis as { affectd?: object }).affectd = { drawnFrames };
void follow(requestDraw);
