// The page with made-up calls: alerts first, filters, keys, widths and themes, and canvases that are drawn only while visible.
import { check, checkAccessibility, checkWidth, focused, open } from "./browser.mjs";
import { start } from "./mock.mjs";

const LOOKS = [
  { name: "desktop, light", width: 1440, height: 900, colorScheme: "light" },
  { name: "desktop, dark", width: 1440, height: 900, colorScheme: "dark" },
  { name: "phone, light", width: 390, height: 844, colorScheme: "light" },
  { name: "phone, dark", width: 390, height: 844, colorScheme: "dark" },
];

/** Checks every look; `shots` names a folder for screenshots, or is undefined. */
export async function checkMadeUp(browser, shots) {
  const server = await start({ calls: 40, rate: 20, alerts: 5 });
  try {
    for (const { name, width, height, colorScheme } of LOOKS) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
      // The daemon no longer holds the windows of an ended call.
      const { page, problems } = await open(context, server.url, /status of 404/);
      const shot = async (part) => shots && page.screenshot({ path: `${shots}/${name.replace(", ", "-")}-${part}.png` });
      await page.waitForSelector(".card .emotion");
      await checkAccessibility(page, name);
      await checkWidth(page, name);
      await shot("calls");
      const card = page.locator(".card").first();
      const id = await card.getAttribute("data-call");
      await card.click();
      await page.waitForSelector(".panel .chart canvas");
      await checkAccessibility(page, `${name}, a call`);
      await checkWidth(page, `${name}, a call`);
      await shot("call");
      await page.keyboard.press("Escape");
      await page.waitForSelector(".panel", { state: "detached" });
      await page.waitForFunction((id) => document.activeElement?.getAttribute("data-call") === id, id);
      if (name === "desktop, light") await checkUse(page);
      check(problems.length === 0, `${name}: ${problems.join("\n")}`);
      await context.close();
    }
  } finally {
    server.stop();
  }
}

async function checkUse(page) {
  const first = await page.locator(".alerts .alert").first().getAttribute("class");
  check(first.includes("high"), "an alert of high priority is the first");
  const top = page.locator(".card").first();
  check((await top.getAttribute("class")).includes("alert-high"), "a call with an alert of high priority is the first");
  check((await page.locator(".card").count()) === 40, "all calls are shown");
  check(/(Angry|Disgusted|Fearful|Happy|Neutral|Sad) \d+ %|Silent/.test(await top.innerText()), "an emotion is named in words");

  await checkKeys(page);

  const emotion = page.locator(".chip", { hasText: "Angry" });
  await emotion.click();
  check((await emotion.getAttribute("aria-pressed")) === "true", "a filter shows that it is on");
  check((await page.locator(".card").count()) < 40, "a filter leaves calls out");
  await emotion.click();
  await page.locator(".chip", { hasText: "With alerts" }).click();
  check((await page.locator(".card").count()) === 5, "the calls with alerts are five");
  await page.fill("#search", "no such call");
  await page.getByRole("button", { name: "Clear the filters" }).click();
  check((await page.locator(".card").count()) === 40, "without filters all calls are shown");

  await checkVisible(page);
  await checkEnded(page);
}

/** Calls with one id are both in the list of ended calls, and each opens its own summary. */
async function checkEnded(page) {
  await page.getByRole("link", { name: "Ended", exact: true }).click();
  for (const name of ["one", "two"]) {
    await page.locator("tbody tr", { hasText: name }).getByRole("link").click();
    const summary = page.locator(".panel .summary", { hasText: name });
    await summary.waitFor();
    check((await page.locator(".panel h2").innerText()) === "shared", "the panel names the call");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".panel", { state: "detached" });
  }
}

async function checkKeys(page) {
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("/");
  check((await focused(page)) === "search", "/ goes to the search");
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  const one = await focused(page);
  await page.keyboard.press("ArrowRight");
  const two = await focused(page);
  check(one !== "" && two !== "" && one !== two, `J and the arrow keys go from call to call: ${one}, ${two}`);
  await page.keyboard.press("Enter");
  await page.waitForSelector(".panel");
  check((await page.locator(".panel h2").innerText()) === two, "Enter opens the call");
  await page.keyboard.press("Escape");
  await page.waitForSelector(".panel", { state: "detached" });
  await page.keyboard.press("?");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog[open]", { state: "detached" });
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  const before = await theme();
  await page.keyboard.press("t");
  check((await theme()) !== before, "T changes the theme");
  await page.keyboard.press("t");
}

/** Canvases are drawn while they are visible, and not otherwise. */
async function checkVisible(page) {
  const drawn = () => page.evaluate(() => globalThis.affectd.drawnFrames.canvases);
  const before = await drawn();
  await page.waitForFunction((before) => globalThis.affectd.drawnFrames.canvases > before + 5, before);
  await page.evaluate(() => (document.querySelector(".cards").style.display = "none"));
  await page.waitForFunction(() => document.querySelector(".cards").getClientRects().length === 0);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const hidden = await drawn();
  // Two batches of the feed.
  await page.evaluate(() => new Promise((done) => setTimeout(done, 600)));
  check((await drawn()) === hidden, "canvases that are not visible are not drawn");
}
