// Measures the page: node bench.mjs [CALLS] [EVENTS PER SECOND] [SECONDS]
// Prints frames per second, the longest tasks of the page, the time of the main thread, and the processor time of the browser.
import { readdirSync, readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { launch, open } from "./browser.mjs";
import { start } from "./mock.mjs";

const [calls = 500, rate = 1000, length = 15] = process.argv.slice(2).map(Number);
const server = await start({ calls, rate, alerts: 8 });
const browser = await launch();
const { page } = await open(await browser.newContext({ viewport: { width: 1440, height: 900 } }), server.url);
await page.waitForSelector(".card .emotion");
await page.evaluate(() => new Promise((done) => setTimeout(done, 3000)));
const tools = await page.context().newCDPSession(page);
await tools.send("Performance.enable");
const metrics = async () => Object.fromEntries((await tools.send("Performance.getMetrics")).metrics.map(({ name, value }) => [name, value]));
const before = await metrics();
const cpuBefore = processorSeconds();
const measured = await page.evaluate(async (milliseconds) => {
  const [times, tasks] = [[], []];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
  const drawn = { ...globalThis.affectd.drawnFrames };
  const began = performance.now();
  for (let now = began; now - began < milliseconds; ) {
    now = await new Promise((done) => requestAnimationFrame(done));
    times.push(now);
  }
  const gaps = times.slice(1).map((time, index) => time - times[index]).sort((a, b) => a - b);
  const canvases = globalThis.affectd.drawnFrames.canvases - drawn.canvases;
  return { frames: times.length, p95: gaps[Math.floor(gaps.length * 0.95)], longest: gaps.at(-1), tasks: tasks.length, longestTask: Math.max(0, ...tasks), canvases, text: document.querySelector(".bar").innerText };
}, length * 1000);
const after = await metrics();
const cpu = processorSeconds() - cpuBefore;
const busy = ((after.TaskDuration - before.TaskDuration) / (after.Timestamp - before.Timestamp)) * 100;
console.log(`${calls} calls, ${rate} events/s, ${length} s: ${measured.text.replace(/\s+/g, " ")}`);
console.log(`${(measured.frames / length).toFixed(1)} frames/s, 95 % of the gaps below ${measured.p95.toFixed(1)} ms, longest ${measured.longest.toFixed(1)} ms`);
console.log(`${measured.tasks} tasks over 50 ms, longest ${measured.longestTask.toFixed(0)} ms; ${(measured.canvases / length).toFixed(0)} canvases/s; main thread ${busy.toFixed(0)} % busy`);
// Where other processes take the processor, fewer frames are drawn than the browser could draw with it; this shows what it used.
console.log(`${(cpu / length).toFixed(2)} cores used by all processes of the browser; load of the machine ${loadavg()[0].toFixed(1)} on ${cpus().length} cores`);
await browser.close();
server.stop();

/** Returns the processor time of the browser's processes (Linux). */
function processorSeconds() {
  const started = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(status);
  const all = new Map(started.filter(Boolean).map((entry) => [entry.pid, entry]));
  const isOurs = (entry) => entry !== undefined && (entry.pid === process.pid || isOurs(all.get(entry.parent)));
  return [...all.values()].filter((entry) => entry.pid !== process.pid && isOurs(entry)).reduce((sum, entry) => sum + entry.seconds, 0);
}

function status(name) {
  try {
    // The name of a program may contain spaces; the fields follow its closing parenthesis.
    const fields = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").pop().split(" ");
    return { pid: Number(name), parent: Number(fields[1]), seconds: (Number(fields[11]) + Number(fields[12])) / 100 };
  } catch {
    return undefined;
  }
}
