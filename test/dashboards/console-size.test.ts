import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { saveBatch } from "../../src/store/batch.ts";
import { announceWorker } from "../../src/store/worker-card.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { openConsole } from "../support/console.ts";
import { batchOf, many } from "../support/console-contents.ts";
import { workflowSite } from "../support/workflow-site.ts";

const MAX_REQUEST_BYTES = 1_000_000;
const MAX_HEAP_BYTES = 200 * 1024 * 1024;
/** Of the same page with a hundred of what it shows. */
const MAX_RATIO = 2;

describe.runIf(chromiumPath && inject("isFull"))("pages of the console with much to show", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("10,000 steps, a batch of 100,000 rows and 1,000 workers are as quick as a hundred", async () => {
    const { settings, runs, work } = await workflowSite();
    await work(many);
    for (const steps of [100, 10_000])
      await (await runs.start(many, { steps }, { runId: `many-${steps}` })).result();
    const { openByLink, origin, store } = await openConsole(browser, settings, [many]);
    await saveBatch(store, batchOf("batch_small", 100));
    await saveBatch(store, batchOf("batch_large", 100_000));
    const { page } = await openByLink();
    await page.addInitScript({ content: NOTE_PAINT });
    let largest = 0;
    page.on("response", (response) => {
      response
        .body()
        .then((body) => {
          largest = Math.max(largest, body.length);
        })
        .catch(() => {});
    });
    const ratioOf = async (small: string, large: string) => {
      const times = { [small]: [] as number[], [large]: [] as number[] };
      for (let n = 0; n < 6; n++)
        for (const path of [small, large]) times[path]?.push(await paintMs(page, origin + path));
      return Math.min(...(times[large] ?? [])) / Math.min(...(times[small] ?? []));
    };
    expect(await ratioOf("/runs/many-100", "/runs/many-10000")).toBeLessThanOrEqual(MAX_RATIO);
    // The last failure of all is a key away.
    await page.goto(`${origin}/runs/many-10000`);
    await page.locator(".bar-row[data-row]").first().waitFor();
    // Keys that come faster than the page is drawn count too.
    await page.evaluate(`for (let n = 0; n < 4; n++) press("n")`);
    await page.getByRole("heading", { name: "step 7577" }).waitFor();
    expect(await page.locator(".bar-row").count()).toBeLessThan(120);
    expect(await delayMs(page)).toBeLessThan(500);

    expect(await ratioOf("/batches/batch_small", "/batches/batch_large")).toBeLessThanOrEqual(MAX_RATIO);
    await page.getByText("100,000").first().waitFor();

    const announce = (count: number) =>
      Promise.all(Array.from({ length: count }, (_, n) => announceWorker(store, `worker-${n}`, cardOf(n))));
    await announce(100);
    const few = [];
    for (let n = 0; n < 4; n++) few.push(await paintMs(page, `${origin}/workers`));
    const alive = setInterval(() => void announce(1000), 4000);
    onTestFinished(() => clearInterval(alive));
    await announce(1000);
    const lots = [];
    for (let n = 0; n < 4; n++) lots.push(await paintMs(page, `${origin}/workers`));
    await page.getByText(/1,00\d alive/).waitFor();
    expect(await page.locator("[data-row]").count()).toBeLessThan(120);
    expect(Math.min(...lots) / Math.min(...few)).toBeLessThanOrEqual(MAX_RATIO);

    expect(largest).toBeLessThan(MAX_REQUEST_BYTES);
    const metrics = await page.context().newCDPSession(page);
    await metrics.send("Performance.enable");
    const { metrics: values } = await metrics.send("Performance.getMetrics");
    expect(values.find(({ name }) => name === "JSHeapUsedSize")?.value).toBeLessThan(MAX_HEAP_BYTES);
  });
});

/** Milliseconds from the beginning of a navigation to the frame after the first row or tile is there. */
async function paintMs(page: Page, url: string): Promise<number> {
  await page.goto(url);
  await page.locator(PAINTED).first().waitFor();
  return page.evaluate<number>("window.painted");
}

const PAINTED = "[data-row], .tile";
/** For each page, before its own scripts. */
const NOTE_PAINT = `let note;
  window.press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  window.painted = new Promise((done) => (note = done));
  new MutationObserver(() => {
    if (document.querySelector(${JSON.stringify(PAINTED)})) requestAnimationFrame(() => note(performance.now()));
  }).observe(document, { childList: true, subtree: true });`;

/** Milliseconds from a key to the frame after it. */
function delayMs(page: Page): Promise<number> {
  return page.evaluate<number>(`new Promise((done) => {
    const begun = performance.now();
    press("j");
    requestAnimationFrame(() => done(performance.now() - begun));
  })`);
}

function cardOf(n: number) {
  return {
    ...{ host: `host-${n}`, pid: n + 1, queueGlobs: ["*"], isMemoryLow: false, tools: ["look_up"] },
    ...{ entries: { simulator: "f" }, workflows: ["many"], versions: { many: 1 }, activities: [] },
    jobs: { active: n % 7, ended: n },
  };
}
