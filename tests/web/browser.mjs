// What the scripts of the page share: the browser, checks, and the report of axe.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const BROWSER = process.env.AFFECTD_TEST_CHROMIUM ?? "/usr/bin/chromium";
// A sandbox needs rights that a container lacks; the graphics of a machine without a display are drawn by the processor.
const FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];

export function launch(flags = []) {
  return chromium.launch({ executablePath: BROWSER, args: [...FLAGS, ...flags] });
}

export function check(holds, text) {
  if (!holds) throw new Error(text);
}

/** Returns a page whose errors and refused resources end the script; those that `allowed` matches do not. */
export async function open(context, url, allowed = /^$/) {
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const problems = [];
  page.on("pageerror", (error) => problems.push(`error of the page: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !allowed.test(message.text())) problems.push(`console: ${message.text()}`);
  });
  await page.goto(url, { waitUntil: "commit" });
  return { page, problems };
}

/** Checks a page with axe: nothing serious or critical. */
export async function checkAccessibility(page, name) {
  if (!(await page.evaluate(() => "axe" in globalThis))) {
    // Evaluated by the protocol of the browser, which the policy of the page does not concern.
    await page.evaluate(await readFile(require.resolve("axe-core/axe.min.js"), "utf8"));
  }
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const text = serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
  check(serious.length === 0, `${name}: ${text.join("\n")}`);
}

export async function checkWidth(page, name) {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(excess <= 0, `${name}: the page is ${excess} px wider than the window`);
}

export async function focused(page) {
  return page.evaluate(() => document.activeElement?.getAttribute("data-call") ?? document.activeElement?.id ?? "");
}
