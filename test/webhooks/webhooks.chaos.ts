import OpenAI from "openai";
import { expect, test } from "vitest";
import { announceAlert } from "../../src/store/outbox.ts";
import { WebhookOutbox } from "../../src/store/webhook-outbox.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { restClient } from "../support/rest-client.ts";
import { serveApi, startServer } from "../support/served-api.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { submitBatch } from "../support/submit-batch.ts";
import { waitFor } from "../support/wait-for.ts";
import { LOOPBACK, type ReceivedEvent, unwrap, webhookSite } from "../support/webhooks.ts";
import { wireServer } from "../support/wire-server.ts";

const ROWS = 600;
const questions = Array.from({ length: ROWS }, (_, n) => `question ${n}`);

test("API, workers and Redis killed while events are under way: each is delivered, under one id", async () => {
  const redis = { appendonly: "yes", appendfsync: "everysec" };
  const server = await startRedisServer(redis);
  const env = { ...SHORT_LOCKS, ...LOOPBACK, GLUELLM_REDIS_URL: `redis://127.0.0.1:${server.port}` };
  const { baseURL, apiKey, process: api, ...served } = await serveApi({ latencyMs: 50 }, env, false);
  await using site = served.site;
  let worker = site.start("worker", "--concurrency", "20");
  // So slow that some of it is under way at any time; a killed sender has not heard the answer.
  const receiver = await wireServer((response) => setTimeout(() => response.writeHead(204).end(), 100));
  const rest = restClient(baseURL.replace(/\/v1$/, ""), { authorization: `Bearer ${apiKey}` });
  const { body: webhook } = await rest("POST", "/api/webhooks", {
    url: `${receiver.url}/hook`,
    events: ["job.*", "batch.*"],
  });
  const openai = new OpenAI({ baseURL, apiKey });
  const batch = await submitBatch(openai, questions);

  await waitFor("100 events", () => receiver.requests.length > 100);
  worker.child.kill("SIGKILL");
  await worker.exit;
  worker = site.start("worker", "--concurrency", "20");
  await waitFor("200 events", () => receiver.requests.length > 200);
  api.child.kill("SIGKILL");
  await api.exit;
  await startServer(site);
  await waitFor("300 events", () => receiver.requests.length > 300);
  server.child.kill("SIGKILL");
  await startRedisServer({ ...redis, port: String(server.port), dir: server.folder });
  await waitFor("400 events", () => receiver.requests.length > 400);
  worker.child.kill("SIGKILL");
  await worker.exit;
  site.start("worker", "--concurrency", "20");

  const events = new Map<string, ReceivedEvent>();
  let read = 0;
  await waitFor("all events", async () => {
    for (; read < receiver.requests.length; read++) {
      const [request] = receiver.requests.slice(read);
      if (!request) break;
      const event = await unwrap(request, webhook.secret);
      events.set(event.id, event);
    }
    const types = [...events.values()].map(({ type }) => type);
    return (
      types.includes("batch.completed") && types.filter((type) => type === "job.completed").length >= ROWS
    );
  });
  const jobs = [...events.values()].filter(({ type }) => type.startsWith("job."));
  expect(jobs.map(({ data }) => data.customId).sort()).toEqual(questions.map((_, n) => `row-${n}`).sort());
  expect(new Set(jobs.map(({ data }) => data.id)).size).toBe(ROWS);
  const states = [...events.values()].filter(({ data }) => data.id === batch.id).map(({ type }) => type);
  expect([...new Set(states)].sort()).toEqual(
    ["validating", "in_progress", "finalizing", "completed"].map((state) => `batch.${state}`).sort(),
  );
  expect(states).toHaveLength(4);
  process.stderr.write(`${receiver.requests.length} requests for ${events.size} events\n`);
});

test("a process that is killed by what it sends has another one send it again, under the same id", async () => {
  const { baseURL, apiKey, process: api, site } = await serveApi({}, { ...SHORT_LOCKS, ...LOOPBACK }, false);
  await using _ = site;
  let victim: { kill: (signal: "SIGKILL") => void } | undefined = api.child;
  const receiver = await wireServer((response) => {
    victim?.kill("SIGKILL");
    if (!victim) response.writeHead(204).end();
    victim = undefined;
  });
  const rest = restClient(baseURL.replace(/\/v1$/, ""), { authorization: `Bearer ${apiKey}` });
  await rest("POST", "/api/webhooks", { url: receiver.url, events: ["job.cancelled"] });
  const { body: job } = await rest("POST", "/api/jobs", { message: "to be cancelled" });
  await rest("POST", `/api/jobs/${job.id}/cancel`);
  await api.exit;
  site.start("worker");
  await waitFor("the second try", () => receiver.requests.length === 2);
  const [first, second] = receiver.requests;
  expect([second?.body, second?.headers["webhook-id"]]).toEqual([first?.body, first?.headers["webhook-id"]]);
  expect(JSON.parse(first?.body ?? "").data).toMatchObject({ id: job.id, state: "cancelled" });
});

test("events that a process took and did not make deliveries of are another one's after half a minute", async () => {
  const { store, webhooks, host } = webhookSite([10]);
  const receiver = await wireServer((response) => response.writeHead(204).end());
  await webhooks.add("default", receiver.url, ["alert.*"]);
  for (let n = 0; n < 5; n++) await announceAlert(store, { id: `a-${n}`, state: "firing" });
  expect(await new WebhookOutbox(store).next(3)).toHaveLength(3);
  const other = host();
  await waitFor("those left", () => receiver.requests.length === 2);
  await waitFor("all", () => receiver.requests.length === 5);
  await other.close();
  expect(new Set(receiver.requests.map(({ headers }) => headers["webhook-id"])).size).toBe(5);
  expect(await store.redis.xlen(store.keys.outboxWebhooks)).toBe(0);
});
