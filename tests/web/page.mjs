// Checks the page in a browser: node page.mjs URL TOKEN RECORDING [FOLDER FOR SCREENSHOTS]
// URL is that of a daemon with authentication, TOKEN has the scopes read and recognize, RECORDING is a WAV file with speech.
import { basename } from "node:path";
import { check, checkAccessibility, launch, open } from "./browser.mjs";
import { checkMadeUp } from "./made_up.mjs";
import { checkOddCalls } from "./odd_calls.mjs";

const [url, token, recording, shots] = process.argv.slice(2);

async function checkDaemon(browser) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  // The first request has no token, and a call is requested before its first window, as is a summary before the end of the call.
  const { page, problems } = await open(context, url, /status of 40[14]/);
  await page.waitForSelector("dialog[open] #token");
  await checkAccessibility(page, "the token is missing");
  await page.fill("#token", token);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".status.live");
  await page.waitForSelector("text=No open calls");

  await page.setInputFiles('input[type="file"]', recording);
  await page.waitForSelector(".panel .bars");
  check((await page.locator(".panel h2").innerText()).startsWith(basename(recording)), "the recording is opened as a call");
  check(/\d+ %/.test(await page.locator(".panel .bars").first().innerText()), "its probabilities are shown");
  if (shots) await page.screenshot({ path: `${shots}/recording.png` });
  await page.getByRole("button", { name: "Close" }).click();

  await page.getByRole("button", { name: "Speak" }).click();
  await page.waitForSelector(".card[data-call^=microphone-] .emotion");
  const id = await page.locator(".card[data-call^=microphone-]").getAttribute("data-call");
  await page.waitForSelector(".panel .bars");
  check((await page.locator(".panel h2").innerText()) === id, "the microphone is opened as a call");
  if (shots) await page.screenshot({ path: `${shots}/microphone.png` });
  await page.getByRole("button", { name: "Stop" }).click();
  await page.waitForSelector(".panel .summary");
  check(/Length/.test(await page.locator(".panel .summary").innerText()), "its summary follows");
  if (shots) await page.screenshot({ path: `${shots}/summary.png` });
  await checkAccessibility(page, "a summary");
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "Ended", exact: true }).click();
  await page.waitForSelector(`tbody [data-call="${id}"]`);
  await checkAccessibility(page, "ended calls");
  if (shots) await page.screenshot({ path: `${shots}/ended.png` });
  check(problems.length === 0, problems.join("\n"));
  await context.close();
}

const browser = await launch([
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  `--use-file-for-fake-audio-capture=${recording}`,
]);
try {
  if (url !== "-") await checkDaemon(browser);
  await checkMadeUp(browser, shots);
  await checkOddCalls(browser, shots);
} finally {
  await browser.close();
}
