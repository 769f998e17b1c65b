/**
 * `npm run bench:api`: figures of the HTTP API, side by side with calls of the provider, a bare BullMQ queue and the client. The
 * API, a worker and the provider are processes of their own. Ratios count; the machine is noisy. Names of parts choose them.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Queue, QueueEvents } from "bullmq";
import { Redis } from "ioredis";
import { Agent, request } from "undici";
import { sumQuestion } from "./calls.ts";
import { percentile } from "./percentile.ts";
import { type ApiProcess, BenchSite } from "./site.ts";

const LATENCY_CALLS = 300;
const WARM_UP_CALLS = 50;
const CALLS = 4000;
const ROUNDS = 3;
const STREAMS = 1000;
const STREAM_MS = 10_000;

const dispatcher = new Agent({ connections: STREAMS });
const parts: Record<string, (site: BenchSite, api: ApiProcess) => Promise<void>> = {
  latency,
  throughput,
  streams,
};
const chosen = process.argv.slice(2);
await using site = await BenchSite.open();
const api = await site.serveApi("--concurrency", String(STREAMS + 100));
for (const [name, measure] of Object.entries(parts))
  if (chosen.length === 0 || chosen.includes(name)) await measure(site, api);
await api.close();
await dispatcher.close();

/** One call after another, each of the three ways in turn, so that all have the same machine. */
async function latency(site: BenchSite, api: ApiProcess): Promise<void> {
  const connection = new Redis({ path: site.socketPath, maxRetriesPerRequest: null });
  const queue = new Queue("bare", { connection });
  const worker = site.run(join(import.meta.dirname, "bare-worker.ts"), ["bare"]);
  const listening = connection.duplicate();
  const events = new QueueEvents("bare", { connection: listening });
  await events.waitUntilReady();
  const ways: Record<string, (n: number) => Promise<unknown>> = {
    "the provider directly": (n) => complete(`${site.providerUrl}/v1`, "none", "bench", n),
    "the API": (n) => complete(api.url, api.key, "simulator:bench", n),
    "bare BullMQ, add to result": async (n) =>
      (await queue.add("job", { n }, { removeOnComplete: { count: 1000 } })).waitUntilFinished(events),
  };
  const times = new Map(Object.keys(ways).map((way) => [way, [] as number[]]));
  for (let n = 0; n < WARM_UP_CALLS + LATENCY_CALLS; n++) {
    for (const [way, call] of Object.entries(ways)) {
      const before = performance.now();
      await call(n);
      if (n >= WARM_UP_CALLS) times.get(way)?.push(performance.now() - before);
    }
  }
  worker.child.kill();
  await Promise.all([worker.exit, queue.close(), events.close()]);
  for (const redis of [connection, listening]) redis.disconnect();
  console.log(`\nOne completion at a time, ms, ${LATENCY_CALLS} of each in turn, 0 ms provider`);
  for (const [way, values] of times) tellTimes(way, values);
  const [direct = 0, ours = 0, bare = 0] = [...times.values()].map((values) => percentile(values, 50));
  console.log(
    `  added by the API at p50: ${(ours - direct).toFixed(2)}, ${((ours - direct) / bare).toFixed(2)} × bare BullMQ`,
  );
}

/** Where all cores are busy, the CPU of a completion decides; beside the caller's, Redis and the provider use the same for both. */
async function throughput(site: BenchSite, api: ApiProcess): Promise<void> {
  const figures = join(site.folder, "figures.json");
  const measure = async (script: string, ...args: string[]) => {
    const before = api.cpuMs();
    const { exit } = site.run(join(import.meta.dirname, script), [String(CALLS), figures, ...args]);
    if ((await exit) !== 0) throw new Error(`${script} failed`);
    const after = api.cpuMs();
    const { total, durationMs, cpuMs } = JSON.parse(readFileSync(figures, "utf8"));
    const cpu = { caller: cpuMs, api: after.api - before.api, worker: after.worker - before.worker };
    return { perSecond: (total / durationMs) * 1000, cpu };
  };
  const served: Awaited<ReturnType<typeof measure>>[] = [];
  const client: typeof served = [];
  for (let round = 0; round < ROUNDS; round++) {
    client.push(await measure("client-calls.ts", "fleet"));
    served.push(await measure("api-calls.ts", api.url, api.key));
  }
  console.log(`\nCompletions per second, ${CALLS}, 100 at a time, one worker process, 0 ms provider`);
  const told = (runs: typeof served) => {
    const rates = runs.map(({ perSecond }) => perSecond);
    const each = (part: "caller" | "api" | "worker") =>
      (median(runs.map(({ cpu }) => cpu[part])) / CALLS).toFixed(2);
    const cpu = `CPU ms each: caller ${each("caller")}, API ${each("api")}, worker ${each("worker")}`;
    return `${median(rates).toFixed(0)}   (${rates.map((rate) => rate.toFixed(0)).join(" ")})   ${cpu}`;
  };
  console.log(`  the API                  ${told(served)}`);
  console.log(`  the client in fleet mode ${told(client)}`);
  const [ours, peers] = [served, client].map((runs) => median(runs.map(({ perSecond }) => perSecond)));
  console.log(`  ratio                    ${((ours ?? 0) / (peers ?? 1)).toFixed(2)}`);
}

/** All begin at once; each takes ten seconds. */
async function streams(_site: BenchSite, api: ApiProcess): Promise<void> {
  const before = api.rssBytes();
  let peakRss = 0;
  let peakLagMs = 0;
  const isOver = new AbortController();
  const watching = (async () => {
    while (!isOver.signal.aborted) {
      peakRss = Math.max(peakRss, api.rssBytes());
      const { body } = await request(new URL("/health/ready", api.url), { dispatcher });
      peakLagMs = Math.max(peakLagMs, ((await body.json()) as { eventLoopLagMs: number }).eventLoopLagMs);
      await delay(500);
    }
  })();
  const startedAt = performance.now();
  const firsts: number[] = [];
  const ends = await Promise.all(
    Array.from({ length: STREAMS }, async (_, n) => {
      const content = `${sumQuestion(n)}\n#sim {"latencyMs": ${STREAM_MS}}`;
      const sentAt = performance.now();
      const { statusCode, body } = await post(api.url, api.key, {
        ...{ model: "simulator:bench", messages: [{ role: "user", content }], stream: true },
      });
      let text = "";
      for await (const chunk of body) {
        if (!text.includes("data:") && String(chunk).includes("data:"))
          firsts.push(performance.now() - sentAt);
        text += chunk;
      }
      return (
        statusCode === 200 && text.includes('"finish_reason":"stop"') && text.trimEnd().endsWith("[DONE]")
      );
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  isOver.abort();
  await watching;
  console.log(`\n${STREAMS} streams at once, each ${STREAM_MS / 1000} s at the provider`);
  console.log(`  whole: ${ends.filter(Boolean).length}; lost: ${ends.filter((isWhole) => !isWhole).length}`);
  console.log(
    `  all ended after ${seconds.toFixed(1)} s; first event p50 ${percentile(firsts, 50).toFixed(0)} ms`,
  );
  console.log(`  API process: RSS ${mb(before)} MB before, ${mb(peakRss)} MB at the most`);
  console.log(`  its event loop: late by ${peakLagMs} ms on average in its worst five seconds`);
}

async function complete(url: string, key: string, model: string, n: number): Promise<void> {
  const messages = [{ role: "user", content: `${model} ${sumQuestion(n)}` }];
  const { statusCode, body } = await post(url, key, { model, messages, max_tokens: 16 });
  await body.json();
  if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}`);
}

function post(url: string, key: string, body: object) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  return request(`${url}/chat/completions`, {
    method: "POST",
    dispatcher,
    headers,
    body: JSON.stringify(body),
  });
}

function tellTimes(way: string, values: number[]): void {
  const [p50, p99] = [50, 99].map((p) => percentile(values, p).toFixed(2));
  console.log(`  ${way.padEnd(28)} p50 ${p50}   p99 ${p99}`);
}

function median(values: readonly number[]): number {
  return percentile(values, 50);
}

function mb(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
