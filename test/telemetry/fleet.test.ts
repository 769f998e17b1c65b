import { expect, onTestFinished, test } from "vitest";
import { Agent, AgentExecutor } from "../../src/index.ts";
import { type Series, scrape, sumOf } from "../support/metrics.ts";
import type { StartedProcess } from "../support/processes.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const PRICE = { inputPerMillion: 3, outputPerMillion: 15 };

/** The address at which a process says that its metrics are. */
function metricsUrl({ stderr }: StartedProcess): string | undefined {
  return /http:\/\/127\.0\.0\.1:\d+\/metrics/.exec(stderr())?.[0];
}

/** Three workers that count, with the first free port at or after the same one. */
async function openFleet() {
  const site = await TestSite.open(
    { faults: { "500": 0.05, "429": 0.05, retryAfterMs: 20, script: [{ match: "wrong", fault: "400" }] } },
    {
      GLUELLM_ENABLE_METRICS_SERVER: "true",
      GLUELLM_METRICS_PORT: String(20_000 + (process.pid % 20_000)),
      GLUELLM_PRICES: JSON.stringify({ [MODEL]: PRICE }),
      GLUELLM_WORKER_CONCURRENCY: "4",
      GLUELLM_LOG_JSON_FORMAT: "true",
    },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const workers = [site.start("worker"), site.start("worker"), site.start("worker")];
  const urls = await Promise.all(
    workers.map((worker) => waitFor("the address of metrics", () => metricsUrl(worker))),
  );
  return { site, workers, urls };
}

test("what three processes count adds up to what the provider journaled: requests, tokens, cost", async () => {
  const { site, workers, urls } = await openFleet();
  expect(new Set(urls).size).toBe(3);
  expect(workers.filter(({ stderr }) => stderr().includes("was taken")).length).toBeGreaterThanOrEqual(2);
  const client = siteClient(site);
  const agent = new Agent({ name: "clerk", description: "answers", systemPrompt: "Be brief." });
  const executor = new AgentExecutor(client, agent);
  const asked = Array.from({ length: 90 }, (_, n) => client.complete(`question ${n}`, { maxAttempts: 20 }));
  const ofAgent = Array.from({ length: 20 }, (_, n) => executor.execute(`task ${n}`));
  const refused = client.complete("this is wrong").catch(() => undefined);
  const cached = ["a", "b"].map(() => client.complete("the same again", { temperature: 0 }));
  await Promise.all([...asked, ...cached, refused]);
  const answers = await Promise.allSettled(ofAgent);

  const journal = site.simulator.journal.entries();
  const paid = journal.filter(({ status }) => status === 200);
  const [input, output] = [sum(paid, "promptTokens"), sum(paid, "completionTokens")];
  const pages = await Promise.all(urls.map((url) => scrape(url)));
  const series: Series[] = pages.flat();
  const total = (name: string, labels?: Record<string, string>) => sumOf(series, name, labels);
  expect(total("gluellm_provider_requests_total")).toBe(journal.length);
  expect(total("gluellm_provider_requests_total", { status: "succeeded" })).toBe(paid.length);
  expect(total("gluellm_provider_request_duration_seconds_count")).toBe(journal.length);
  expect(total("gluellm_tokens_total", { kind: "input" })).toBe(input);
  expect(total("gluellm_tokens_total", { kind: "output" })).toBe(output);
  expect(total("gluellm_cost_usd_total")).toBeCloseTo((input * 3 + output * 15) / 1e6, 12);
  // Each process has done some of it.
  for (const page of pages) expect(sumOf(page, "gluellm_provider_requests_total")).toBeGreaterThan(0);

  const done = answers.filter(({ status }) => status === "fulfilled").length;
  expect(total("gluellm_jobs_total", { class: "interactive" })).toBe(113);
  expect(total("gluellm_jobs_total", { status: "succeeded" })).toBe(92 + done);
  expect(total("gluellm_jobs_total", { code: "invalid_request" })).toBe(1);
  expect(total("gluellm_agent_executions_total", { agent: "clerk" })).toBe(20);
  expect(total("gluellm_agent_executions_total", { status: "succeeded" })).toBe(done);
  expect(total("gluellm_job_wait_seconds_count")).toBe(113);
  expect(total("gluellm_cache_requests_total", { outcome: "miss" })).toBe(1);
  expect(total("gluellm_cache_requests_total")).toBeGreaterThanOrEqual(2);
  expect(total("gluellm_http_pool_connections", { state: "open" })).toBeGreaterThan(0);

  // One of them tells the fleet's gauges, however often all are scraped, so that sums are right.
  expect(total("gluellm_queue_jobs", { state: "failed" })).toBe(113 - 92 - done);
  expect(pages.filter((page) => page.some(({ name }) => name === "gluellm_workers"))).toHaveLength(1);
  const again = (await Promise.all(urls.map((url) => scrape(url)))).flat();
  expect(sumOf(again, "gluellm_workers")).toBe(3);
  // What prompts, keys and ids are is no label.
  const labels = series.flatMap((one) => Object.values(one.labels)).join("\n");
  expect(labels).not.toMatch(/question|task|job-|gk_|http:/);
});

function sum<Name extends string>(entries: readonly Record<Name, number>[], name: Name): number {
  return entries.reduce((total, entry) => total + entry[name], 0);
}
