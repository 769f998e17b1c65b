import { metrics as otel } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { defineTool, defineWorkflow, GlueLLM, getMetrics } from "../../src/index.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings, withSettings } from "../../src/shared/settings.ts";
import { registerQueue } from "../../src/store/queue-registry.ts";
import { LabelCaps } from "../../src/telemetry/metrics-labels.ts";
import { startMetricsServer } from "../../src/telemetry/metrics-server.ts";
import { openMetrics } from "../../src/telemetry/process-metrics.ts";
import { makeKey, openApi } from "../support/api.ts";
import { openDashboard } from "../support/dashboard.ts";
import { parsePage, scrape, sumOf } from "../support/metrics.ts";
import { TestSite } from "../support/site.ts";

const logger = createLogger({ level: "silent", json: true });
const TOKEN = "a-token-of-scrapers-0123";

test("a label has a hundred values, and the rest are one", () => {
  const caps = new LabelCaps();
  const seen = Array.from({ length: 150 }, (_, n) => caps.cap({ model: `model-${n}`, status: `s${n}` }));
  expect(new Set(seen.map(({ model }) => model)).size).toBe(101);
  expect(seen[149]).toEqual({ model: "other", status: "s149" });
  expect(caps.cap({ model: "model-7" })).toEqual({ model: "model-7" });
  expect(caps.cap({ tool: "x".repeat(1000) })).toEqual({ tool: "other" });
});

test("an address that others reach, and a webhook of a stranger's folder, are refused", async () => {
  const { store, settings } = await openApi();
  const open = (changes: object) =>
    startMetricsServer(
      { store, settings: withSettings(settings, { metrics: { ...settings.metrics, port: 0, ...changes } }) },
      logger,
    );
  await expect(open({ host: "0.0.0.0" })).rejects.toMatchObject({ code: "metrics_open" });
  const server = await open({ host: "0.0.0.0", token: TOKEN });
  onTestFinished(() => server.close());
  expect((await fetch(server.url)).status).toBe(401);
  const wrong = { authorization: `Bearer ${TOKEN.slice(1)}` };
  expect((await fetch(server.url, { headers: wrong })).status).toBe(401);
  expect(await scrape(server.url, { authorization: `Bearer ${TOKEN}` })).not.toEqual([]);
  expect((await fetch(server.url.replace("metrics", "keys"))).status).toBe(404);
});

test("the API and the dashboard tell metrics to who is on this machine, and to keys that may read", async () => {
  const api = await openApi();
  await registerQueue(api.store, "completions.simulator.test");
  const get = (path: string, headers: Record<string, string> = {}, url = api.url) =>
    fetch(`${url}${path}`, { headers });
  expect(sumOf(await scrape(`${api.url}/metrics`), "gluellm_workers")).toBe(0);
  // Through a proxy it is anybody who asks.
  expect((await get("/metrics", { "x-forwarded-for": "203.0.113.9" })).status).toBe(401);
  const open = await openApi({ namespace: api.settings.namespace }, { host: "0.0.0.0" });
  expect((await get("/metrics", {}, open.url)).status).toBe(401);
  const reader = await makeKey(api.store, { scopes: ["read"] });
  const writer = await makeKey(api.store, { scopes: ["complete"] });
  const tenant = await makeKey(api.store, { scopes: ["read"], tenant: "acme" });
  expect((await get("/metrics", reader.headers, open.url)).status).toBe(200);
  expect((await get("/scale", writer.headers, open.url)).status).toBe(403);
  expect((await get("/scale", tenant.headers, open.url)).status).toBe(403);

  const { namespace } = api.settings;
  const { url } = await openDashboard({ namespace, token: "secret-of-the-link", settings: api.settings });
  const origin = new URL(url).origin;
  const page = parsePage(await (await get("/metrics?fleet=true", {}, origin)).text());
  expect(sumOf(page, "gluellm_queue_jobs", { queue: "completions.simulator.test" })).toBe(0);
  const scale = await get("/scale?queue=completions.*&targetSeconds=10", {}, origin);
  expect(await scale.json()).toEqual({
    ...{ backlog: 0, backlogSeconds: 0, active: 0, oldestSeconds: 0, wantedWorkers: 0, limitBound: false },
  });
  expect((await get("/scale?targetSeconds=no", {}, origin)).status).toBe(400);
  expect((await get("/metrics?fleet=maybe", {}, origin)).status).toBe(400);
  const misspelt = await get("/scale?targetSecond=10", {}, origin);
  expect([misspelt.status, await misspelt.text()]).toEqual([
    400,
    "/scale has no parameter targetSecond: did you mean targetSeconds? it takes queue, targetSeconds, concurrency\n",
  ]);
});

test("runs, steps, tools and streams are counted; a registered meter gets the same, by the names of the conventions", async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  otel.setGlobalMeterProvider(provider);
  await using site = await TestSite.open();
  const settings = loadSettings({ env: site.env, cwd: "/" });
  // A registered provider asks for metrics too.
  expect(await openMetrics(settings)).toBeDefined();
  const add = defineTool({
    name: "add",
    description: "adds",
    parameters: z.object({ a: z.number(), b: z.number() }),
    execute: ({ a, b }) => a + b,
  });
  const twice = defineWorkflow({
    name: "twice",
    version: 1,
    input: z.object({}),
    output: z.string(),
    run: async (ctx) => {
      const first = await ctx.complete("first", "one");
      await ctx.run("local", () => 1);
      return first.finalResponse;
    },
  });
  const client = new GlueLLM({ model: "simulator:test", mode: "local", settings, workflows: [twice] });
  onTestFinished(() => client.close());
  await client.complete(
    '#sim {"turns":[{"toolCalls":[{"name":"add","arguments":{"a":1,"b":2}}]},{"reply":"3"}]}\nadd them',
    {
      tools: [add],
    },
  );
  for await (const _ of client.stream("tell me a story"));
  await (await client.workflows.start(twice, {})).result();

  const own = await getMetrics();
  const seriesOf = (name: string, labels: Record<string, string>) => {
    const values = own.find((metric) => metric.name === name)?.values ?? [];
    return values.filter((one) =>
      Object.entries(labels).every(([label, value]) => one.labels[label] === value),
    );
  };
  expect(seriesOf("gluellm_tool_calls_total", { tool: "add", status: "succeeded" })[0]?.value).toBe(1);
  expect(
    seriesOf("gluellm_workflow_executions_total", { workflow: "twice", status: "succeeded" })[0]?.value,
  ).toBe(1);
  expect(seriesOf("gluellm_workflow_steps_total", { workflow: "twice", kind: "completion" })[0]?.value).toBe(
    1,
  );
  expect(seriesOf("gluellm_workflow_steps_total", { workflow: "twice", kind: "local" })[0]?.value).toBe(1);
  expect(seriesOf("gluellm_jobs_total", { class: "workflow" })[0]?.value).toBe(1);
  expect(seriesOf("gluellm_time_to_first_token_seconds", {}).length).toBeGreaterThan(0);
  expect(seriesOf("nodejs_eventloop_lag_seconds", {})).toHaveLength(1);
  expect(seriesOf("nodejs_heap_size_used_bytes", {})[0]?.value).toBeGreaterThan(0);

  await provider.forceFlush();
  const told = exporter
    .getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
  const byName = new Map(told.map((metric) => [metric.descriptor.name, metric.dataPoints]));
  for (const name of ["gen_ai.client.inference.duration", "gen_ai.execute_tool.duration", "gluellm.jobs"])
    expect(byName.has(name), name).toBe(true);
  const input = byName.get("gen_ai.client.inference.usage.input_tokens")?.[0];
  expect(input?.attributes).toMatchObject({
    "gen_ai.provider.name": "simulator",
    "gen_ai.request.model": "test",
  });
  expect(input?.value).toBe(seriesOf("gluellm_tokens_total", { kind: "input" })[0]?.value);
  expect(byName.get("gluellm.active_jobs")).toMatchObject([{ value: 0 }]);
  const open = byName.get("gluellm.http_pool_connections")?.map(({ attributes }) => attributes);
  expect(open).toContainEqual({ "gen_ai.provider.name": "simulator", "gluellm.state": "open" });
  otel.disable();
  await provider.shutdown();
});
