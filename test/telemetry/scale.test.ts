import { setTimeout as delay } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { type FleetWorker, startWorker } from "../../src/host/one-process.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { loadSettings } from "../../src/shared/settings.ts";
import type { ScaleSignal } from "../../src/telemetry/scale.ts";
import { openApi } from "../support/api.ts";
import { testStore } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const PLACES = 4;
const MAX_WORKERS = 3;
const TARGET_SECONDS = 1;
const LIMITED = "simulator:limited";
const POLL_MS = 50;
/** Looks in a row that want fewer, before one is taken away: what an autoscaler calls its stabilization window. */
const CALM_LOOKS = 5;

/** An autoscaler as KEDA is one: it asks the endpoint again and again, and starts and drains workers. */
class Autoscaler {
  readonly signals: ScaleSignal[] = [];
  readonly #url: string;
  readonly #start: () => Promise<FleetWorker>;
  readonly #workers: FleetWorker[] = [];
  readonly #looping: Promise<void>;
  #isOver = false;
  #calm = 0;
  most = 0;

  constructor(url: string, start: () => Promise<FleetWorker>) {
    this.#url = `${url}/scale?queue=completions.*&targetSeconds=${TARGET_SECONDS}`;
    this.#start = start;
    this.#looping = this.#loop();
  }

  get workers(): number {
    return this.#workers.length;
  }

  get last(): ScaleSignal | undefined {
    return this.signals.at(-1);
  }

  async #loop(): Promise<void> {
    while (!this.#isOver) {
      const signal = (await (await fetch(this.#url)).json()) as ScaleSignal;
      this.signals.push(signal);
      await this.#scaleTo(Math.min(MAX_WORKERS, signal.wantedWorkers));
      await delay(POLL_MS);
    }
  }

  async #scaleTo(wanted: number): Promise<void> {
    this.#calm = wanted < this.workers ? this.#calm + 1 : 0;
    while (this.workers < wanted) this.#workers.push(await this.#start());
    this.most = Math.max(this.most, this.workers);
    if (this.#calm < CALM_LOOKS) return;
    this.#calm = 0;
    await this.#workers.pop()?.close();
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#looping;
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}

test("workers follow the load, a provider's limit bounds them, none is left without work, and no job is lost", {
  tags: "long",
}, async () => {
  const site = await TestSite.open(
    { latencyMs: 200 },
    {
      GLUELLM_WORKER_CONCURRENCY: String(PLACES),
      GLUELLM_LIMITS: JSON.stringify({ [LIMITED]: { rpm: 240 } }),
    },
  );
  onTestFinished(() => site[Symbol.asyncDispose]());
  const settings = loadSettings({ env: site.env, cwd: "/" });
  const logger = createLogger({ level: "silent", json: true });
  const api = await openApi({ ...settings });
  const client = siteClient(site);
  const autoscaler = new Autoscaler(api.url, () =>
    startWorker({ store: testStore(site.namespace), settings, logger }),
  );
  onTestFinished(() => autoscaler.close());
  const ask = (count: number, what: string, model?: string) =>
    Promise.all(
      Array.from({ length: count }, (_, n) => client.complete(`${what} ${n}`, { ...(model && { model }) })),
    );
  await waitFor("a look", () => autoscaler.last);
  expect(autoscaler.last).toMatchObject({ backlog: 0, wantedWorkers: 0, limitBound: false });

  // A step up: more work than one worker does in the target time.
  await ask(60, "step up");
  expect(autoscaler.most).toBe(MAX_WORKERS);
  const high = autoscaler.signals.find(({ backlog }) => backlog > 30) as ScaleSignal;
  expect(high.backlogSeconds).toBeGreaterThan(0);
  await waitFor("no workers without work", () => autoscaler.workers === 0);
  expect(autoscaler.last).toMatchObject({ backlog: 0, active: 0, wantedWorkers: 0 });

  // From zero again, for a little work: one is enough, since it is known by now how long calls take.
  autoscaler.most = 0;
  await ask(3, "a little");
  expect(autoscaler.most).toBe(1);

  // More workers would not make the provider take more: four calls a second keep one of them busy at most.
  await waitFor("no workers without work", () => autoscaler.workers === 0);
  autoscaler.most = 0;
  const from = autoscaler.signals.length;
  await ask(24, "limited", LIMITED);
  const bound = autoscaler.signals.slice(from).filter(({ backlog }) => backlog >= 12);
  expect(bound.length).toBeGreaterThan(0);
  expect(bound.every(({ limitBound, wantedWorkers }) => limitBound && wantedWorkers <= 2)).toBe(true);
  expect(autoscaler.most).toBeLessThanOrEqual(2);

  await waitFor("no workers without work", () => autoscaler.workers === 0);
  const paid = site.paidCalls();
  expect(paid.size).toBe(87);
  expect([...paid.values()].every((calls) => calls === 1)).toBe(true);
});
