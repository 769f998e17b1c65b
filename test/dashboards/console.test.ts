import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow } from "../../src/index.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { axeFaults, openConsole } from "../support/console.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>";

/** Asks, fails at one step, and waits for a signal. */
const review = defineWorkflow({
  name: "review",
  input: z.object({ topic: z.string() }),
  output: z.unknown(),
  run: async (ctx, { topic }) => {
    await ctx.complete("draft", `#sim {"reply":"an answer with ${SCRIPT.replaceAll('"', "'")}"}\n${topic}`);
    await ctx.complete("wrong", '#sim {"error":"400"}\nno').catch(() => {});
    return await ctx.waitFor("approval");
  },
});

describe.runIf(chromiumPath)("the console in a browser", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("shows a run, its steps and their contents as text, live; an action asks first; axe, policy and network have nothing to say", async () => {
    const { settings, runs, work } = await workflowSite();
    const run = await runs.start(review, { topic: SCRIPT }, { runId: "review-1", tags: ["<b>tag</b>"] });
    await work(review);
    await waitFor("its wait", async () => (await run.status()).waitsFor.join().includes("approval"));
    const { openByLink, origin } = await openConsole(browser, settings, [review]);
    const { page, faults } = await openByLink();
    await page.getByRole("status").getByText("All is well").waitFor();
    // The token is in no address that a history keeps.
    expect(page.url()).toBe(`${origin}/`);
    expect(await axeFaults(page)).toEqual([]);

    await page.getByRole("link", { name: "review-1" }).first().click();
    await page.getByText('signal "approval"').waitFor();
    await page.locator("[data-failed]").waitFor();
    await page.keyboard.press("n");
    await page.getByRole("heading", { name: "wrong" }).waitFor();
    await page.getByText("invalid_request").first().waitFor();
    await page.getByRole("button", { name: /^draft/ }).click();
    await page.locator("pre").getByText(`an answer with ${SCRIPT}`).first().waitFor();
    expect(await page.locator("main script, main img").count()).toBe(0);
    expect(await axeFaults(page)).toEqual([]);

    // What it will do and cost comes before it is done.
    await page.getByRole("button", { name: "Cancel run" }).click();
    await page.getByRole("dialog").getByText("cancelling costs nothing").waitFor();
    await page.keyboard.press("Escape");
    expect((await run.status()).state).toBe("running");
    await page.getByRole("button", { name: "Signal" }).click();
    await page.getByLabel("Data (JSON)").fill('{"by":"me"}');
    await page.getByRole("dialog").getByRole("button", { name: "Signal" }).click();
    // Live: nobody loads the page again.
    await page.locator(".head .badge", { hasText: "succeeded" }).waitFor();
    expect(await run.result()).toEqual({ by: "me" });

    await page.keyboard.press("g");
    await page.keyboard.press("j");
    await page.getByRole("heading", { name: "Jobs" }).waitFor();
    await page.locator("[data-row]").first().waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.getByText("Its life").waitFor();
    await page.goto(`${origin}/jobs?queue=${encodeURIComponent(MODEL)}&text=script`);
    await page.locator("td").getByText(SCRIPT).first().waitFor();
    // No history is kept here.
    expect(faults.filter((fault) => !/status of 503/.test(fault))).toEqual([]);
  });

  test("a key sees and does what its scopes allow", async () => {
    const { settings, runs, work } = await workflowSite();
    await work(review);
    const run = await runs.start(review, { topic: "a secret" }, { runId: "review-2" });
    await waitFor("its wait", async () => (await run.status()).waitsFor.join().includes("approval"));
    const { openByKey, origin } = await openConsole(browser, settings, [review]);
    const { page } = await openByKey(["read"], {
      viewport: { width: 320, height: 640 },
      colorScheme: "dark",
    });
    await page.goto(`${origin}/runs/review-2`);
    await page.getByRole("button", { name: /^draft/ }).click();
    await page.getByText("need the scope “content”").waitFor();
    expect(await page.getByText("a secret").count()).toBe(0);
    expect(await page.getByRole("button", { name: /Cancel run|Signal|Fork/ }).count()).toBe(0);
    expect(await axeFaults(page)).toEqual([]);
    // Nothing is wider than the screen.
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(320);
    // The server holds the same, whatever a page is made to send.
    const status = (path: string, headers: Record<string, string>) =>
      page.evaluate(
        ([at, given]) => fetch(at, { method: "POST", body: "{}", headers: given }).then((r) => r.status),
        [path, headers] as const,
      );
    const json = { "content-type": "application/json" };
    expect(await status("/api/runs/review-2/cancel", json)).toBe(403);
    const csrfToken = await page.evaluate<string>(
      `fetch("/session").then((response) => response.json()).then((session) => session.csrfToken)`,
    );
    expect(await status("/api/runs/review-2/cancel", { ...json, "x-csrf-token": csrfToken })).toBe(403);
    expect((await run.status()).state).toBe("running");
  });
});
