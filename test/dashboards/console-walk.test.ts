import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { z } from "zod";
import { ROUTE_GROUPS } from "../../src/api/route-groups.ts";
import { defineWorkflow } from "../../src/index.ts";
import type { BatchRecord } from "../../src/shared/records.ts";
import { saveBatch } from "../../src/store/batch.ts";
import { announceWorker } from "../../src/store/worker-card.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { axeFaults, openConsole } from "../support/console.ts";
import { send } from "../support/dashboard.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const SCRIPT = "<script>alert(1)</script>";
const MAX_REQUEST_BYTES = 1_000_000;
const MAX_HEAP_BYTES = 200 * 1024 * 1024;
/** Of the same page with a hundred of what it shows. */
const MAX_RATIO = 2;

/** Many steps, some of which fail. */
const many = defineWorkflow({
  name: "many",
  input: z.object({ steps: z.number(), waits: z.boolean().default(false) }),
  output: z.unknown(),
  run: async (ctx, { steps, waits }) => {
    for (let from = 0; from < steps; from += 50) {
      const work = Array.from({ length: 50 }, (_, n) =>
        ctx
          .run(`step ${from + n}`, () => {
            if ((from + n) % 2500 === 77) throw new Error(SCRIPT);
          })
          .catch(() => {}),
      );
      await Promise.all(work);
    }
    if (waits) await ctx.waitFor("end");
    return steps;
  },
});

describe.runIf(chromiumPath && inject("isFull"))("every page of the console", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("with a fleet at work: wide and narrow, light and dark, by keys, accessible, from this server alone", async () => {
    const { settings, client, runs, work } = await workflowSite();
    await work(many);
    const { openByLink, origin, store } = await openConsole(browser, settings, [many]);
    const run = await runs.start(many, { steps: 100, waits: true }, { runId: "many-open", tags: [SCRIPT] });
    await client.complete(`${SCRIPT} question`);
    const failed = await client.enqueue('#sim {"error":"400"}\nno', { model: MODEL });
    await failed.result().catch(() => {});
    const talk = client.conversation({ id: "talk" });
    await talk.complete(`${SCRIPT} hello`);
    await client.schedules.create({ id: "often", completion: "ping", everyMs: 3_600_000 });
    await saveBatch(store, batchOf("batch_small", 100));
    await waitFor("its wait", async () => (await run.status()).waitsFor.join().includes("end"));

    const pages = [
      ...["/", "/runs", "/runs/many-open", "/jobs", `/jobs/${failed.id}`, "/batches", "/batches/batch_small"],
      ...["/conversations", "/conversations/talk", "/schedules", "/schedules/often", "/workers", "/limits"],
      ...[
        `/limits/${encodeURIComponent(MODEL)}`,
        "/errors",
        "/dead-letters",
        "/spend",
        "/playground",
        "/playground?try=workflow",
      ],
      ...["/runs/none", "/nothing/of/this"].slice(0, 1),
    ];
    for (const options of [
      { viewport: { width: 1280, height: 800 }, colorScheme: "light" },
      { viewport: { width: 320, height: 640 }, colorScheme: "dark", reducedMotion: "reduce" },
    ] as const) {
      const { page, faults } = await openByLink(options);
      for (const path of pages) {
        await page.goto(origin + path);
        await shown(page);
        expect([path, await axeFaults(page)]).toEqual([path, []]);
        const width = await page.evaluate<number>("document.documentElement.scrollWidth");
        expect([path, width]).toEqual([path, options.viewport.width]);
        expect([path, await page.locator("main script").count()]).toEqual([path, 0]);
        // Each element that takes the focus shows it.
        await page.keyboard.press("Tab");
        const outline = await page.evaluate<string>("getComputedStyle(document.activeElement).outlineStyle");
        expect([path, outline === "none"]).toEqual([path, false]);
      }
      // That of a run that is not there, and of the history that is not kept.
      expect(faults.filter((fault) => !/404|status of 503/.test(fault))).toEqual([]);
    }

    const { page } = await openByLink();
    await shown(page);
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    for (const [key, heading] of [
      ["r", "Runs"],
      ["j", "Jobs"],
      ["b", "Batches"],
      ["w", "Workers"],
      ["l", "Limits"],
      ["e", "Errors"],
      ["d", "Dead letters"],
      ["s", "Schedules"],
      ["p", "Playground"],
      ["o", "Overview"],
    ] as const) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.getByRole("heading", { name: heading, exact: true }).waitFor();
    }
    await page.goto(`${origin}/jobs`);
    await shown(page);
    await page.keyboard.press("/");
    await page.keyboard.type("question");
    await page.waitForURL(/text=question/);
    await page.locator("td", { hasText: `${SCRIPT} question` }).waitFor();

    // Every try is a job like any other.
    await page.goto(`${origin}/playground`);
    await page.getByLabel("Prompt", { exact: true }).fill('#sim {"reply":"four"}\nTwo and two?');
    await page.getByLabel("Model").fill(MODEL);
    await page.getByRole("button", { name: "Try it" }).click();
    await page.locator("pre", { hasText: /^four$/ }).waitFor();
    await page.getByText("Of that the model").waitFor();

    await page.goto(`${origin}/limits/${encodeURIComponent(MODEL)}`);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByRole("dialog").getByText("costs nothing").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
    await page.getByRole("button", { name: "Resume" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Resume" }).click();
    await page.getByRole("button", { name: "Pause" }).waitFor();
  });

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
    for (let n = 0; n < 4; n++) await page.keyboard.press("n");
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

  test("an attacker's list: no page, no answer and no action without login, origin, token and scope", async () => {
    const { settings, runs, work } = await workflowSite();
    await work(many);
    const run = await runs.start(many, { steps: 50, waits: true }, { runId: "many-open" });
    await waitFor("its wait", async () => (await run.status()).waitsFor.join().includes("end"));
    const { openByKey, origin } = await openConsole(browser, settings, [many]);
    const routes = ROUTE_GROUPS.filter(({ basePath }) => basePath.startsWith("/api")).flatMap((group) =>
      group.routes.map(({ method, path, scope }) => ({
        ...{ method: method.toUpperCase(), scopes: [scope].flat() },
        path: `${group.basePath}${path}`.replace(/[:*]id/, "many-open").replace(":name", MODEL),
      })),
    );
    const { page } = await openByKey(["read"]);
    const cookies = await page.context().cookies();
    const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
    const csrfToken = await page.evaluate<string>(
      `fetch("/session").then((response) => response.json()).then((session) => session.csrfToken)`,
    );
    const json = { "content-type": "application/json" };
    expect(cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === "Strict")).toBe(true);
    for (const { method, path, scopes } of routes) {
      const what = `${method} ${path}`;
      const ask = async (headers: Record<string, string>) =>
        (await send(origin + path, method, { ...json, ...headers }, method === "POST" ? "{}" : undefined))
          .status;
      expect([what, await ask({})]).toEqual([what, 401]);
      expect([what, await ask({ cookie: "gluellm=x" })]).toEqual([what, 401]);
      expect([what, await ask({ cookie, origin: "http://evil.example" })]).toEqual([what, 403]);
      expect([what, await ask({ cookie, host: "evil.example" })]).toEqual([what, 403]);
      if (method !== "GET") expect([what, await ask({ cookie, origin })]).toEqual([what, 403]);
      if (scopes.includes("read")) continue;
      expect([what, await ask({ cookie, origin, "x-csrf-token": csrfToken })]).toEqual([what, 403]);
    }
    expect((await run.status()).state).toBe("running");
    for (const path of ["/", "/runs", "/playground"]) {
      const { status, headers } = await send(origin + path, "GET", { accept: "text/html" });
      expect([status, headers.location]).toEqual([303, `/login?next=${encodeURIComponent(path)}`]);
    }
    // Files beside the console's own are none of its.
    for (const path of ["/console/../server.ts", "/console/x/main.js", "/console/%2e%2e/package.json"])
      expect((await send(origin + path, "GET", { cookie })).status).toBe(404);
  });
});

/** Waits until a page has what it asked for. */
async function shown(page: Page): Promise<void> {
  await page.locator("main h1").waitFor();
  await page.locator("[aria-busy]").first().waitFor({ state: "detached" });
}

/** Milliseconds from the beginning of a navigation to the frame after the first row or tile is there. */
async function paintMs(page: Page, url: string): Promise<number> {
  await page.goto(url);
  await page.locator(PAINTED).first().waitFor();
  return page.evaluate<number>("window.painted");
}

const PAINTED = "[data-row], .tile";
/** For each page, before its own scripts. */
const NOTE_PAINT = `let note;
  window.painted = new Promise((done) => (note = done));
  new MutationObserver(() => {
    if (document.querySelector(${JSON.stringify(PAINTED)})) requestAnimationFrame(() => note(performance.now()));
  }).observe(document, { childList: true, subtree: true });`;

/** Milliseconds from a key to the frame after it. */
function delayMs(page: Page): Promise<number> {
  return page.evaluate<number>(`new Promise((done) => {
    const begun = performance.now();
    dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true }));
    requestAnimationFrame(() => done(performance.now() - begun));
  })`);
}

function batchOf(id: string, total: number): Partial<BatchRecord> & { id: string } {
  const failures = JSON.stringify([
    { code: "invalid_request", message: SCRIPT, rows: 3, customIds: ["row-1"] },
  ]);
  return {
    ...{ id, total, failures, status: "in_progress", input: "in.jsonl", output: "out.jsonl" },
    ...{
      succeeded: total / 2,
      failed: 3,
      inFlight: 10,
      rowsPerSecond: 12,
      costUsd: 1.5,
      createdAt: Date.now(),
    },
  };
}

function cardOf(n: number) {
  return {
    ...{ host: `host-${n}`, pid: n + 1, queueGlobs: ["*"], isMemoryLow: false, tools: ["look_up"] },
    ...{ entries: { simulator: "f" }, workflows: ["many"], versions: { many: 1 }, activities: [] },
    jobs: { active: n % 7, ended: n },
  };
}
