import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { startWorker } from "../../src/host/one-process.ts";
import { defineTool, defineWorkflow } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { axeFaults, openConsole } from "../support/console.ts";
import { testStore } from "../support/redis.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>";

/** Asks, fails at one step, and waits for a signal. */
const review = defineWorkflow({
  name: "review",
  input: z.object({ topic: z.string() }),
  output: z.unknown(),
  signals: { approval: z.object({ by: z.string() }) },
  run: async (ctx, { topic }) => {
    await ctx.complete("draft", `#sim {"reply":"an answer with ${SCRIPT.replaceAll('"', "'")}"}\n${topic}`);
    await ctx.complete("wrong", '#sim {"error":"400"}\nno').catch(() => {});
    return await ctx.waitFor("approval");
  },
});

const refund = defineTool({
  name: "refund",
  description: "Pays money back.",
  parameters: z.object({ usd: z.number(), note: z.string() }),
  needsApproval: true,
  execute: ({ usd }) => `refunded ${usd}`,
});

describe.runIf(chromiumPath)("the console in a browser", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test("shows a run, its steps and their contents as text, live; an action asks first; axe, policy and network have nothing to say", {
    tags: "long",
  }, async () => {
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
    // A form of the signal's schema.
    await page.getByLabel("by").fill("me");
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

  test("a key sees and does what its scopes allow", { tags: "long" }, async () => {
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

  test("calls of tools that wait for a person are shown, allowed and rejected, by who may", {
    tags: "long",
  }, async () => {
    const { settings, client } = await workflowSite();
    const tools = new Map([[refund.name, refund]]);
    const logger = createLogger({ level: "silent", json: true });
    const worker = await startWorker({ store: testStore(settings.namespace), settings, logger, tools });
    onTestFinished(() => worker.close());
    const toolCalls = [50, 60].map((usd) => ({ name: "refund", arguments: { usd, note: SCRIPT } }));
    const turns = JSON.stringify({ turns: [{ toolCalls }, { reply: "done" }] });
    const job = await client.enqueue(`Money back.\n#sim ${turns}`, { model: MODEL, tools: ["refund"] });
    await waitFor("its wait", async () => (await job.status()).state === "suspended");
    const { openByLink, openByKey, origin } = await openConsole(browser, settings);
    const { page, faults } = await openByLink({
      viewport: { width: 320, height: 640 },
      colorScheme: "dark",
    });
    await page.getByText("a person's answer on refund").waitFor();
    expect(await axeFaults(page)).toEqual([]);
    await page.goto(`${origin}/jobs/${job.id}`);
    const questions = page.locator(".question");
    await questions.nth(1).waitFor();
    expect(await questions.locator("pre").allTextContents()).toEqual(
      toolCalls.map((call) => JSON.stringify(call.arguments, null, 2)),
    );
    // It waits for a person, not for another try.
    await page.getByText("sleep, signal, person").waitFor();
    expect(await page.locator("main script, main img").count()).toBe(0);
    expect(await axeFaults(page)).toEqual([]);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(320);

    // Who may read alone sees that somebody is asked, and neither arguments nor buttons.
    const reader = await openByKey(["read"]);
    await reader.page.goto(`${origin}/jobs/${job.id}`);
    const asked = reader.page.locator(".question");
    await asked.nth(1).waitFor();
    expect(await asked.locator("pre, button").count()).toBe(0);

    // What it will do comes before it is done.
    const answer = async (name: string, says: string, reason?: string) => {
      await questions.first().getByRole("button", { name }).click();
      const dialog = page.getByRole("dialog", { name });
      await dialog.getByText(says).waitFor();
      if (reason !== undefined) await dialog.getByLabel("Reason").fill(reason);
      await dialog.getByRole("button", { name }).click();
    };
    await answer("Approve", '"usd": 50');
    await page.getByText("The call is allowed.").waitFor();
    await waitFor("one question less", async () => (await questions.count()) === 1);
    await answer("Reject", "The model reads why", "twice");
    await page.locator(".head .badge", { hasText: "succeeded" }).waitFor();
    expect((await job.result()).toolExecutionHistory).toMatchObject([
      { result: "refunded 50", approval: { approved: true } },
      { error: { message: "a person did not allow this call: twice" } },
    ]);
    expect(faults.filter((fault) => !/status of 503/.test(fault))).toEqual([]);
  });
});
