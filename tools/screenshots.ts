// Writes the pictures of docs/console.md: pages of the console over a fleet at work, with runs, batches and failures that are real but
// for their provider, which is the simulator. Needs Chromium.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { z } from "zod";
import { startDashboard } from "../src/cli/compose.ts";
import { HistoryConsumer } from "../src/history/consumer.ts";
import { openRedis, startWorker } from "../src/host/one-process.ts";
import { Agent, defineTool, defineWorkflow, GlueLLM, type WorkflowContext } from "../src/index.ts";
import { CloseStack } from "../src/shared/close-stack.ts";
import { createLogger } from "../src/shared/logger.ts";
import { loadSettings, withSettings } from "../src/shared/settings.ts";
import { startSimulator } from "../src/simulator/simulator.ts";
import { launchChromium } from "../test/support/chromium.ts";

const ROOT = join(import.meta.dirname, "..");
const PICTURES = join(ROOT, "docs", "pictures");
const SIZE = { width: 1280, height: 800 };
const MODEL = "simulator:gpt-demo";
const SMALL = "simulator:small-demo";
/** USD. */
const PRICES = { inputPerMillion: 0.4, outputPerMillion: 1.6 };

const scripted = (reply: string, prompt: string) => `#sim ${JSON.stringify({ reply })}\n${prompt}`;

const lookUp = defineTool({
  name: "look_up",
  description: "Looks a word up.",
  parameters: z.object({ word: z.string() }),
  execute: async ({ word }) => `${word}: the rise and fall of the sea`,
});

/** Plans, researches side by side, tries a wrong turn, writes, and waits for an editor. */
const report = defineWorkflow({
  name: "report",
  input: z.object({ topic: z.string(), chapters: z.array(z.string()) }),
  output: z.unknown(),
  signals: {
    approval: z.object({
      approved: z.boolean(),
      note: z.string().default("").describe("What the next edition should have"),
    }),
  },
  run: async (ctx, { topic, chapters }) => {
    await ctx.complete("plan", scripted(`Chapters: ${chapters.join(", ")}.`, `Plan a report on ${topic}.`));
    const branches = chapters.map((chapter) => [
      chapter,
      async (branch: WorkflowContext) => {
        const facts = await branch.complete("research", `Facts on ${chapter} of ${topic}, with sources.`);
        await branch.complete("check", `Check: ${facts.finalResponse}`, { model: SMALL });
        return branch.complete("draft", `Write the chapter ${chapter}: ${facts.finalResponse}`);
      },
    ]);
    await ctx.branches(Object.fromEntries(branches));
    await ctx.complete("sources", '#sim {"error":"400"}\nList the sources.').catch(() => {});
    await ctx.run("lay out", () => new Promise<void>((done) => setTimeout(done, 700)));
    await ctx.sleep("settle", 1200);
    await ctx.complete("write", scripted("Tides follow the moon …", "Join the chapters."));
    return ctx.waitFor("approval");
  },
});

await using parts = new CloseStack();
const folder = mkdtempSync(join(tmpdir(), "gluellm-screenshots-"));
parts.defer(async () => rmSync(folder, { recursive: true, force: true }));
const faults = JSON.stringify({ "500": 0.04 });
const simulator = await startSimulator({
  port: 0,
  latencyMs: 900,
  jitterMs: 700,
  rpm: 900,
  tpm: 200_000,
  faults,
});
parts.defer(() => simulator.close());
const env = {
  ...process.env,
  SIMULATOR_BASE_URL: `${simulator.url}/v1`,
  GLUELLM_DEFAULT_MODEL: MODEL,
  GLUELLM_DATA_DIR: folder,
  GLUELLM_REDIS_URL: "",
  GLUELLM_TRACE_URL: "http://localhost:16686/trace/{traceId}",
};
const settings = withSettings(loadSettings({ env, cwd: folder }), {
  namespace: "production",
  limits: { [MODEL]: { rpm: 400, tpm: 60_000 }, [SMALL]: { rpm: 500, tpm: 40_000 } },
  prices: { [MODEL]: PRICES, [SMALL]: PRICES },
});
const logger = createLogger({ level: "silent", json: true });
const host = parts.use(await openRedis(settings, logger));
const { store } = host;
for (let n = 0; n < 2; n++) {
  const tools = new Map([[lookUp.name, lookUp]]);
  const worker = await startWorker({ store, settings, logger, workflows: [report], tools });
  parts.defer(() => worker.close());
}
const history = new HistoryConsumer({ store, settings, logger });
parts.defer(() => history.close());
const dashboard = await startDashboard({
  ...{ redisTarget: host.target, logger, settings, store, workflows: [report], port: 0, isPortFixed: true },
});
parts.defer(() => dashboard.close());
const redisUrl = "socketPath" in host.target ? `unix://${host.target.socketPath}` : host.target.url;
const client = new GlueLLM({
  mode: "fleet",
  settings: withSettings(settings, { redisUrl }),
  workflows: [report],
});
parts.defer(() => client.close());
const browser = await launchChromium();
parts.defer(() => browser.close());
mkdirSync(PICTURES, { recursive: true });

const chapters = ["moon", "sun", "coasts", "ports"];
const first = await client.workflows.start(report, { topic: "tides", chapters }, { tags: ["weekly"] });
await settled(first);
const agent = (name: string) =>
  new Agent({ name, description: `speaks as ${name}`, systemPrompt: `You are ${name}.` });
const debate = await client.workflows.start("debate", {
  input: "Should the harbour get a tidal power plant?",
  participants: [agent("engineer"), agent("fisher"), agent("economist")],
  judge: agent("judge"),
  maxRounds: 2,
});
const talk = client.conversation({ id: "conv-harbour" });
await talk.complete("When is high tide in Bristol today?", { tools: ["look_up"] });
await talk.complete("And tomorrow?");
for (let n = 0; n < 9; n++)
  await client.enqueue(`#sim {"error":"400"}\nTranslate letter ${n}`, { model: SMALL });
await client.schedules.create({
  id: "nightly-report",
  workflow: "report",
  input: { topic: "tides", chapters },
  cron: "0 2 * * *",
});
const inputPath = join(ROOT, "quickstart", "gsm8k-300.jsonl");
const batch = await client.batches.run({
  ...{
    inputPath,
    outputPath: join(folder, "out.jsonl"),
    model: MODEL,
    promptField: "question",
    maxCostUsd: 1,
  },
});
await client.workflows.start(
  report,
  { topic: "currents", chapters: ["gulf", "north"] },
  { tags: ["weekly"] },
);
const running = client.batches.open(batch.id);
for (;;) {
  // Its record comes with its first rows.
  const status = await running.status().catch(() => undefined);
  if (status && status.succeeded > status.total / 3) break;
  await new Promise((resolve) => setTimeout(resolve, 200));
}

const { origin } = new URL(dashboard.url);
const runPath = `/runs/${first.id}`;
await picture(browser, "overview", "/");
await picture(browser, "batch", `/batches/${batch.id}`);
await picture(browser, "limits", `/limits/${encodeURIComponent(MODEL)}`);
await picture(browser, "run", runPath, async (page) => {
  await page
    .getByRole("button", { name: /^research/ })
    .first()
    .click();
  await page.locator(".details pre").first().waitFor();
});
await picture(browser, "signal", runPath, async (page) => {
  await page.getByRole("button", { name: "Signal" }).click();
  await page.getByRole("dialog").getByLabel("approved").waitFor();
});
await picture(browser, "debate", `/runs/${debate.id}`);
await picture(browser, "dead-letters", "/dead-letters", async (page) => {
  await page.getByRole("button", { name: "Replay" }).first().click();
  await page.getByRole("dialog").getByText("their next calls").waitFor();
});
await picture(browser, "spend", "/spend");
await picture(browser, "playground", "/playground?try=workflow", async (page) => {
  await page.getByLabel("Workflow").selectOption("report");
});
batch.stop();
await batch.report().catch(() => {});
process.stdout.write(
  `${readFileSync(join(PICTURES, "overview-light.png")).length} bytes and more in ${PICTURES}\n`,
);

/** Waits until a run waits for its signal. */
async function settled(run: typeof first): Promise<void> {
  while (!(await run.status()).waitsFor.join().includes("approval"))
    await new Promise((resolve) => setTimeout(resolve, 200));
}

/** Those of the README light and dark. @param act what is done on the page before */
async function picture(
  shown: Browser,
  name: string,
  path: string,
  act: (page: Page) => Promise<unknown> = async () => {},
): Promise<void> {
  const isOfReadme = ["overview", "run"].includes(name);
  for (const colorScheme of isOfReadme ? (["light", "dark"] as const) : (["light"] as const)) {
    const context = await shown.newContext({ viewport: SIZE, colorScheme });
    const page = await context.newPage();
    await page.goto(dashboard.url);
    await page.goto(origin + path);
    await page.locator("main h1").waitFor();
    await page.locator("[aria-busy]").first().waitFor({ state: "detached" });
    await act(page);
    await page.evaluate("document.fonts.ready");
    await page.screenshot({ path: join(PICTURES, `${name}-${colorScheme}.png`) });
    await context.close();
  }
}
