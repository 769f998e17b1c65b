import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { ROUTE_GROUPS } from "../../src/api/route-groups.ts";
import { saveBatch } from "../../src/store/batch.ts";
import { saveTenant } from "../../src/store/tenant.ts";
import { saveUser } from "../../src/store/user.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { axeFaults, openConsole } from "../support/console.ts";
import { batchOf, many, SCRIPT } from "../support/console-contents.ts";
import { send } from "../support/dashboard.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

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
    await saveTenant(store, "acme", { weight: 2, rpm: 600, maxQueuedJobs: 100, maxCostUsdPerDay: 5 });
    await store.redis.hset(store.keys.tenants, "broken", "{");
    await saveUser(store, "ada@example.org", { role: "viewer" });
    await waitFor("its wait", async () => (await run.status()).waitsFor.join().includes("end"));

    const pages = [
      ...["/", "/runs", "/runs/many-open", "/jobs", `/jobs/${failed.id}`, "/batches", "/batches/batch_small"],
      ...["/conversations", "/conversations/talk", "/schedules", "/schedules/often", "/workers", "/limits"],
      ...[
        `/limits/${encodeURIComponent(MODEL)}`,
        "/errors",
        "/dead-letters",
        "/spend",
        "/tenants",
        "/access",
        "/audit",
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
      ["t", "Tenants"],
      ["a", "Access"],
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
