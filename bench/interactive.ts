/**
 * A lone interactive call while a batch takes all that the provider allows (50 requests a second): how long after `enqueue` it reaches the
 * provider, beyond what it takes in an idle fleet, with limits that are configured and limits that are learned, over one and three workers.
 * Arguments: lone calls of each case (default 60).
 */
import { setTimeout as delay } from "node:timers/promises";
import { GlueLLM } from "../src/index.ts";
import { loadSettings } from "../src/shared/settings.ts";
import { epochMs } from "./limits/figures.ts";
import { SimulatorControl } from "./limits/simulator-control.ts";
import { percentile } from "./percentile.ts";
import { BenchSite } from "./site.ts";

const [calls = 60] = process.argv.slice(2).map(Number);
const PER_SECOND = 50;
const GRANT_MS = 1000 / PER_SECOND;
const SPACING_MS = 500;
const MODEL = "bench";
/** Seconds of the batch without lone calls, after its beginning. */
const ALONE = { from: 8, to: 18 };

for (const limits of ["configured", "learned"] as const)
  for (const workers of [1, 3]) console.log(await measure(limits, workers));

async function measure(limits: "configured" | "learned", workers: number): Promise<string> {
  await using site = await BenchSite.open();
  const provider = new SimulatorControl(site.providerUrl);
  await provider.set("limits", { rpm: 60 * PER_SECOND, burstSeconds: 1 });
  await provider.set("latency", { latencyMs: 200, jitterMs: 50 });
  if (limits === "configured")
    site.env.GLUELLM_LIMITS = JSON.stringify({ [`simulator:${MODEL}`]: { rpm: 60 * PER_SECOND } });
  const fleet = Array.from({ length: workers }, () => site.command(["worker"], {}));
  const settings = loadSettings({ env: site.processEnv, cwd: "/" });
  await using client = new GlueLLM({ mode: "fleet", settings, model: `simulator:${MODEL}` });
  await client.complete("warm up");
  const idle = await lone(client, provider, 20, "idle");

  const seconds = ALONE.to + (calls * SPACING_MS) / 1000 + 2;
  const input = site.writeRows("in.jsonl", PER_SECOND * seconds);
  const startedAt = epochMs();
  const batch = site.batch(input, "out.jsonl", "--workers", "0");
  await delay(ALONE.to * 1000);
  const from = epochMs();
  const waits = await lone(client, provider, calls, "lone");
  const to = epochMs();
  await batch.report;
  const arrivals = await provider.arrivals(MODEL);
  const rate = (since: number, until: number, isRow: boolean) =>
    (1000 *
      arrivals.filter((call) => call.at >= since && call.at < until && (!isRow || !isLone(call))).length) /
    (until - since);
  const alone = rate(startedAt + ALONE.from * 1000, startedAt + ALONE.to * 1000, true);
  for (const worker of fleet) worker.kill();
  const beyond = waits.map((ms) => ms - percentile(idle, 50));
  return [
    `limits ${limits}, ${workers} workers`.padEnd(30),
    `idle p50 ${percentile(idle, 50).toFixed(0)} ms`,
    `beyond it p50 ${percentile(beyond, 50).toFixed(0)} ms = ${(percentile(beyond, 50) / GRANT_MS).toFixed(1)} grants`,
    `p95 ${percentile(beyond, 95).toFixed(0)} ms = ${(percentile(beyond, 95) / GRANT_MS).toFixed(1)} grants`,
    `429s ${arrivals.filter(({ isLimited }) => isLimited).length}`,
    `calls/s alone ${alone.toFixed(1)}, with lone calls ${rate(from, to, false).toFixed(1)}`,
  ].join(" · ");
}

function isLone({ lastUserText }: { lastUserText: string }): boolean {
  return /^(lone|idle) /.test(lastUserText);
}

/** Makes calls one after the other at uneven distances; returns the ms from each one's `enqueue` to the provider. */
async function lone(
  client: GlueLLM,
  provider: SimulatorControl,
  count: number,
  name: string,
): Promise<number[]> {
  const enqueuedAt = new Map<string, number>();
  const handles = [];
  for (let n = 0; n < count; n++) {
    const text = `${name} ${n}`;
    enqueuedAt.set(text, epochMs());
    handles.push(await client.enqueue(text, { maxTokens: 16 }));
    await delay(SPACING_MS * (0.8 + ((n * 7) % 10) / 22.5));
  }
  await Promise.all(handles.map((handle) => handle.result()));
  const arrivals = await provider.arrivals(MODEL);
  return [...enqueuedAt].map(([text, beganAt]) => {
    const arrival = arrivals.find(({ lastUserText }) => lastUserText === text);
    if (!arrival) throw new Error(`${text} did not reach the provider`);
    return arrival.at - beganAt;
  });
}
