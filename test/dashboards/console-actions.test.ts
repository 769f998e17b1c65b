import OpenAI, { toFile } from "openai";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { z } from "zod";
import { startWorker } from "../../src/host/one-process.ts";
import { defineTool, defineWorkflow } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { makeKey, openApi } from "../support/api.ts";
import { chromiumPath, launchChromium } from "../support/chromium.ts";
import { openConsole } from "../support/console.ts";
import { testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const CHAT = "/v1/chat/completions";
const PRICES = { [MODEL]: { inputPerMillion: 1000, outputPerMillion: 1000 } };
/** Is refused once, and answered then. */
const once = (about: string) => `${about}\n#sim {"error":"400","errorTimes":1,"reply":"well"}`;

const lookUp = defineTool({
  name: "look_up",
  description: "Looks something up.",
  parameters: z.object({ what: z.string() }),
  execute: ({ what }) => `found ${what}`,
});
const greet = defineWorkflow({
  name: "greet",
  input: z.object({ name: z.string().describe("Whom to greet"), times: z.int().min(1).default(1) }),
  output: z.string(),
  signals: { consent: z.object({ agreed: z.boolean(), by: z.string() }) },
  run: async (ctx, { name, times }) => {
    const { finalResponse } = await ctx.complete("greet", `#sim {"reply":"hello"}\n${name}`);
    const consent = await ctx.waitFor<{ agreed: boolean; by: string }>("consent");
    return `${finalResponse} ${name} ${times} by ${consent.by}`;
  },
});

describe.runIf(chromiumPath && inject("isFull"))("actions of the console", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  /** A fleet with a service, a console on it, and a page of who may do everything. */
  async function opened(latencyMs = 2) {
    const parts = await workflowSite(
      { latencyMs },
      { GLUELLM_DATA_DIR: temporaryFolder(), GLUELLM_PRICES: JSON.stringify(PRICES) },
    );
    const { settings } = parts;
    const { url, store } = await openApi(settings);
    const logger = createLogger({ level: "silent", json: true });
    const tools = new Map([[lookUp.name, lookUp]]);
    const worker = await startWorker({
      ...{ store: testStore(settings.namespace), settings, logger, tools, workflows: [greet] },
    });
    onTestFinished(() => worker.close());
    const { openByLink, origin } = await openConsole(browser, settings, [greet]);
    const { page, faults } = await openByLink();
    const { token } = await makeKey(store, { scopes: ["batch", "read"] });
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 });
    const submit = async (contents: readonly string[]) => {
      const lines = contents.map((content, n) => {
        const body = { model: MODEL, messages: [{ role: "user", content }], max_tokens: 50 };
        return `${JSON.stringify({ custom_id: `row-${n}`, method: "POST", url: CHAT, body })}\n`;
      });
      const file = await toFile(Buffer.from(lines.join("")), "in.jsonl");
      const { id } = await openai.files.create({ file, purpose: "batch" });
      return openai.batches.create({ input_file_id: id, endpoint: CHAT, completion_window: "24h" });
    };
    return { ...parts, store, page, faults, origin, submit };
  }

  /** Presses a button, sees what its dialog says, and confirms it. */
  async function act(page: Page, name: string, says: readonly RegExp[], row?: string): Promise<void> {
    const place = row === undefined ? page.locator("main") : page.locator("tr", { hasText: row }).first();
    await place.getByRole("button", { name, exact: true }).first().click();
    const dialog = page.getByRole("dialog", { name, exact: true });
    for (const text of says) await dialog.getByText(text).first().waitFor();
    await dialog.getByRole("button", { name, exact: true }).click();
    await dialog.waitFor({ state: "detached" });
  }

  const notice = (page: Page, text: RegExp) => page.locator(".notice", { hasText: text }).waitFor();
  const badge = (page: Page, text: string) => page.locator(".head .badge", { hasText: text }).waitFor();

  test("dead letters are replayed as a group, with an edit, and dropped; each says before for how many and how much", async () => {
    const { client, page, origin, site, faults } = await opened();
    const failing = async (prompt: string) => {
      const job = await client.enqueue(prompt, { model: MODEL });
      await job.result().catch(() => {});
      return job;
    };
    const jobs = [await failing(once("one")), await failing(once("two"))];
    await waitFor("letters", async () => (await client.deadLetters.list()).length === 2);
    await page.goto(`${origin}/dead-letters`);
    await act(page, "Replay", [/2 letters, their next calls for at most about \$\d/], "jobs of");
    await notice(page, /2 letters are replayed/);
    for (const job of jobs) expect((await job.result()).finalResponse).toBe("well");
    await page.getByText("Nothing failed for good.").waitFor();

    const bad = await failing('#sim {"error":"400"}\nwrong');
    await page.getByRole("button", { name: "Replay" }).first().waitFor();
    await page.goto(`${origin}/dead-letters/${bad.id}`);
    await page.getByRole("button", { name: "Replay" }).click();
    const dialog = page.getByRole("dialog", { name: "Replay" });
    await dialog.getByText(/1 letter, their next calls for at most about \$\d/).waitFor();
    const edit = { messages: [{ role: "user", content: '#sim {"reply":"mended"}\nright' }] };
    await dialog.getByLabel(/Changes of the request/).fill(JSON.stringify(edit));
    await dialog.getByRole("button", { name: "Replay" }).click();
    await notice(page, /1 letter is replayed/);
    await waitFor("the mended call", () =>
      site.simulator.journal.entries().some(({ lastUserText }) => lastUserText.includes("right")),
    );

    await failing('#sim {"error":"400"}\nworse');
    await page.goto(`${origin}/dead-letters?kind=job`);
    await act(page, "Drop", [/cannot be replayed then/, /costs nothing/, /1 letter/], "jobs of");
    await notice(page, /1 letter is dropped/);
    expect(await client.deadLetters.list()).toEqual([]);
    // What is not there any more is told so.
    expect(faults.filter((fault) => !/status of 404/.test(fault))).toEqual([]);
  });

  test("batches are paused, resumed, cancelled, and their failed rows sent again, here and as dead letters", async () => {
    const { page, origin, submit, site, client } = await opened(200);
    const { id } = await submit(Array.from({ length: 400 }, (_, n) => `row ${n}`));
    await page.goto(`${origin}/batches/${id}`);
    await badge(page, "in progress");
    await waitFor("some answers", () => site.paidCalls().size > 5);
    await act(page, "Pause", [/No further row is sent/, /costs nothing/]);
    await badge(page, "paused");
    await act(page, "Resume", [/rows? left (is|are) sent, for about \$\d/]);
    await badge(page, "in progress");
    await act(page, "Cancel", [/rows? not sent yet never (is|are)/, /\$\d\S* that it has cost are spent/]);
    await badge(page, "cancelled");
    expect(site.paidCalls().size).toBeLessThan(400);

    site.simulator.setLatency({ latencyMs: 2, jitterMs: 0 });
    const failed = await submit(["fine", once("row")]);
    await page.goto(`${origin}/batches/${failed.id}`);
    await badge(page, "completed");
    await act(page, "Retry failed rows", [/A new batch sends the 1 row without an answer, for about \$\d/]);
    await page.waitForURL((url) => !url.pathname.endsWith(failed.id) && url.pathname.includes("/batches/"));
    await badge(page, "completed");
    await page.getByRole("link", { name: failed.id }).waitFor();

    const letter = await submit(["fine", once("letter")]);
    await waitFor("its letter", async () => (await client.deadLetters.list({ id: letter.id })).length === 1);
    await page.goto(`${origin}/dead-letters?kind=batch`);
    const says = [/in a new batch/, /1 letter with 1 row, their next calls for at most about \$\d/];
    await act(page, "Replay", says, letter.id);
    await notice(page, /1 letter is replayed/);
    await waitFor("no letter", async () => (await client.deadLetters.list({ kind: "batch" })).length === 0);
  });

  test("the playground tries a tool and a workflow; a signal has a form of its schema", async () => {
    const { page, origin, client } = await opened();
    await page.goto(`${origin}/playground`);
    const turns = [{ toolCalls: [{ name: "look_up", arguments: { what: "tides" } }] }, { reply: "at noon" }];
    await page.getByLabel("Prompt", { exact: true }).fill(`When?\n#sim ${JSON.stringify({ turns })}`);
    await page.getByLabel("Model").fill(MODEL);
    await page.getByLabel("look_up").check();
    await page.getByRole("button", { name: "Try it" }).click();
    await page.locator("figure", { hasText: "Tool look_up" }).getByText("found tides").waitFor();
    await page.locator("pre", { hasText: /^at noon$/ }).waitFor();
    await page.locator("dl.facts > div", { hasText: "Cost" }).getByText(/^\$\d/).waitFor();

    await page.goto(`${origin}/playground?try=workflow`);
    await page.getByLabel("Workflow").selectOption("greet");
    await page.getByLabel("name").fill("Ada");
    await page.getByLabel("times").fill("2");
    await page.getByRole("button", { name: "Start it" }).click();
    const started = page.locator(".panel", { hasText: 'signal "consent"' });
    await started.locator("dl.facts > div", { hasText: "Cost" }).getByText(/^\$\d/).waitFor();
    await started.getByRole("link").click();
    await page.getByText('signal "consent"').first().waitFor();
    await page.getByRole("button", { name: "Signal" }).click();
    const dialog = page.getByRole("dialog", { name: "Signal" });
    expect(await dialog.getByLabel("Name").inputValue()).toBe("consent");
    await dialog.getByLabel("agreed").check();
    await dialog.getByLabel("by").fill("Grace");
    await dialog.getByRole("button", { name: "Signal" }).click();
    await badge(page, "succeeded");
    const id = new URL(page.url()).pathname.split("/").at(-1) ?? "";
    expect(await client.workflows.open(id).result()).toBe("hello Ada 2 by Grace");
    // The run's steps tell where its time went, local ones too.
    await page.goto(`${origin}/runs?tag=playground&version=1&workflow=greet&text=run-`);
    await page.getByRole("link", { name: id }).waitFor();
    expect(await page.getByLabel("Version").inputValue()).toBe("1");
  });

  test("a page asks for nothing while nothing changes, at once when something does, and by itself when its stream is cut", async () => {
    const { page, origin, client } = await opened();
    const asked: number[] = [];
    page.on("request", (request) => {
      if (request.url().includes("/api/run-search")) asked.push(Date.now());
    });
    await page.goto(`${origin}/runs`);
    await page.getByText("No runs fit.").waitFor();
    await page.waitForTimeout(4000);
    asked.length = 0;
    await page.waitForTimeout(8000);
    // Every two seconds would be four.
    expect(asked.length).toBeLessThanOrEqual(1);
    const run = await client.workflows.start(greet, { name: "Ada" }, { runId: "live-1" });
    await page.getByRole("link", { name: "live-1" }).waitFor();
    await run.cancel();

    await page.route("**/api/live", (route) => route.abort());
    await page.reload();
    await page.getByRole("link", { name: "live-1" }).waitFor();
    asked.length = 0;
    await waitFor("three questions", () => asked.length >= 3);
  });
});
