import { type IncomingHttpHeaders, request } from "node:http";
import { Queue, UnrecoverableError, Worker } from "bullmq";
import type { Redis } from "ioredis";
import { pino } from "pino";
import { inject, onTestFinished } from "vitest";
import { type Dashboard, type DashboardOptions, startDashboard } from "../../dashboards/server.ts";
import type { CompletionPayload } from "../../src/shared/catalog.ts";
import { registerQueue } from "../../src/store/queue-registry.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { plainStore } from "../../src/store/store.ts";
import { testNamespace, testRedis } from "./redis.ts";
import { waitFor } from "./wait-for.ts";

/** A dashboard on a free port, closed with the test. */
export async function openDashboard(options: Partial<DashboardOptions> = {}): Promise<Dashboard> {
  const dashboard = await startDashboard({
    redisTarget: { socketPath: inject("redisSocket") },
    namespace: testNamespace(),
    host: "127.0.0.1",
    port: 0,
    logger: pino({ level: "silent" }),
    ...options,
  });
  onTestFinished(() => dashboard.close());
  return dashboard;
}

/** A registered queue whose worker fails the job `bad` and finishes all others. */
export async function openQueue(namespace: string, name: string) {
  const redis: Redis = testRedis();
  const keys = redisKeys(namespace);
  const queue = new Queue(name, { connection: redis, prefix: keys.prefix });
  onTestFinished(async () => {
    await queue.close();
    redis.disconnect();
  });
  await registerQueue(plainStore(redis, keys), name);
  async function work(): Promise<void> {
    const worker = new Worker(name, finish, { connection: redis, prefix: keys.prefix });
    await waitFor(
      "all jobs worked off",
      async () => (await queue.getJobCountByTypes("waiting", "active", "prioritized")) === 0,
    );
    await worker.close();
  }
  return { queue, redis, keys, work };
}

async function finish(job: { id?: string }) {
  if (job.id === "bad") throw new UnrecoverableError("invalid_request (attempt 1): the provider refuses it");
  const tokens = { prompt: 20, completion: 3, total: 23 };
  return { status: "succeeded", model: "gpt-4o-mini", tokens, text: `The answer is ${"18 ".repeat(1000)}` };
}

export function completionPayload(changes: Partial<CompletionPayload> = {}): CompletionPayload {
  return {
    v: 1,
    kind: "completion",
    requestId: "request-1",
    provider: { entry: "openai", fingerprint: "f" },
    model: "gpt-4o-mini",
    request: { messages: [{ role: "user", content: `How many eggs? ${"Count them. ".repeat(500)}` }] },
    preview: "How many eggs? Count them. Count them. Count them. Count them. Count them.",
    deadlineAt: Date.UTC(2020, 0, 1),
    maxAttempts: 3,
    ...changes,
  };
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** fetch may not set Host and Origin as an attacker's browser does. */
export function send(
  url: string,
  method = "GET",
  headers: Record<string, string> = {},
  body?: string | Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    call.on("error", reject).end(body);
  });
}
