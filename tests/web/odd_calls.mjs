// The page with calls that are unusual: many channels with long names.
import { check, checkAccessibility, checkWidth, open } from "./browser.mjs";
import { start } from "./mock.mjs";

export async function checkOddCalls(browser, shots) {
  await checkManyChannels(browser, shots);
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
