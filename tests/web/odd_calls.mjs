// The page with calls that are unusual: many channels with long names, and an id that is used again.
import { check, checkAccessibility, checkWidth, open } from "./browser.mjs";
import { start } from "./mock.mjs";

export async function checkOddCalls(browser, shots) {
  await checkManyChannels(browser, shots);
  await checkUsedAgain(browser, shots);
}

/** Strips and values stay in their cards, and a card names the alerts of channels and counts the channels that it does not show. */
async function checkManyChannels(browser, shots) {
  const server = await start({ calls: 1, wide: 2, rate: 20, alerts: 0 });
  try {
    for (const [name, width, colorScheme] of [["desktop", 1440, "light"], ["tablet", 1024, "dark"], ["phone", 390, "light"], ["phone-dark", 390, "dark"]]) {
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, reducedMotion: "reduce" });
      const { page, problems } = await open(context, server.url);
      const shot = async (part) => shots && page.screenshot({ path: `${shots}/channels-${name}-${part}.png`, fullPage: true });
      await page.waitForSelector(".card.alert-high .emotion");
      await checkWidth(page, `long names, ${name}`);
      await checkInside(page, ".card");
      const card = page.locator(".card.alert-high");
      const who = card.locator(".who");
      check((await who.count()) === 4, "a card shows four channels");
      const titles = await who.evaluateAll((all) => all.map((it) => it.title));
      check(titles.some((title) => title.length === 256), "the title of a name that is cut is the whole name");
      check(["-5-", "-7-"].every((part) => titles.some((title) => title.includes(part))), "channels with an alert are shown before others");
      check((await card.locator(".more").innerText()) === "and 4 more channels", "the others are counted");
      const tag = await card.locator(".tag.high").getAttribute("title");
      check(/^anger: agent [^,;]*-5-[^,;]*, agent [^,;]*-7-[^,;]*$/.test(tag), `an alert names its rule and its channels: ${tag}`);
      await checkAccessibility(page, `long names, ${name}`);
      await shot("calls");
      await card.click();
      await page.waitForSelector(".panel .chart canvas");
      check((await page.locator(".panel .channel-detail").count()) === 8, "the panel shows all channels");
      await checkWidth(page, `long names, ${name}, a call`);
      await checkInside(page, ".panel");
      await shot("call");
      check(problems.length === 0, `long names, ${name}: ${problems.join("\n")}`);
      await context.close();
    }
  } finally {
    server.stop();
  }
}

/** Checks that the strips and the numbers of channels end within the boxes that hold them. */
async function checkInside(page, box) {
  const beyond = await page.evaluate((box) => {
    const parts = [...document.querySelectorAll(`${box} .strip, ${box} .valence, ${box} .emotion, ${box} .chart`)];
    return parts.filter((part) => part.getBoundingClientRect().right > part.closest(box).getBoundingClientRect().right).length;
  }, box);
  check(beyond === 0, `${beyond} parts lie beyond their ${box}`);
}

/** A call that has the id of an ended one takes its place, in the list and in the panel, which shows its own summary. */
async function checkUsedAgain(browser, shots) {
  const summaries = {};
  const server = await start({ calls: 0, summaries });
  const view = (since, queue) => ({
    call_id: "again", source: "grpc", since, stream_ids: [`stream-${queue}`], attributes: { queue }, ended: false, summarised: false,
    channels: [{ name: "customer", analysed: true, model: "m@1", labels: ["anger", "neutral"] }],
  });
  const windows = (from, to) =>
    Array.from({ length: to - from }, (_, index) => ({ call_id: "again", channel: 0, start: from + index, end: from + index + 1, emotion: "neutral", confidence: 0.9, valence: 0 }));
  const summary = (queue) => ({ summaryId: "same", callId: "again", duration: "1s", endReason: `reason-${queue}`, channels: [] });
  try {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" });
    // The daemon of this test holds no windows with scores.
    const { page, problems } = await open(context, `${server.url}/#/call/again`, /status of 404/);
    await page.waitForSelector(".status.live");
    const old = view(1, "old");
    server.send({ calls: [old], windows: windows(0, 30) });
    await page.waitForSelector(".card .time >> text=00:30");
    summaries.again = summary("old");
    server.send({ calls: [{ ...old, ended: true, summarised: true }], ended: ["again"] });
    await page.waitForSelector(".panel .summary >> text=reason-old");

    const fresh = view(2, "new");
    server.send({ calls: [fresh], windows: windows(0, 5) });
    await page.waitForSelector(".card .time >> text=00:05");
    await page.waitForSelector(".panel .facts >> text=new");
    const text = await page.locator(".panel").innerText();
    check(!text.includes("old") && text.includes("00:05"), `the panel shows the later call: ${text}`);
    // It has ended, and the daemon still holds the summary of the call before.
    server.send({ calls: [{ ...fresh, ended: true }], ended: ["again"] });
    await page.waitForSelector(".panel .hint >> text=Its summary follows");
    check((await page.locator(".panel .summary").count()) === 0, "no summary of an earlier call is shown");
    summaries.again = summary("new");
    server.send({ calls: [{ ...fresh, ended: true, summarised: true }] });
    await page.waitForSelector(".panel .summary >> text=reason-new");
    check((await page.locator(".card").count()) === 1, "there is one card");
    if (shots) await page.screenshot({ path: `${shots}/used-again.png` });
    check(problems.length === 0, `an id that is used again: ${problems.join("\n")}`);
    await context.close();
  } finally {
    server.stop();
  }
}
