import { afterAll, describe, expect, test } from "vitest";
import type { GlueLLM } from "../../src/index.ts";
import { type Store, storeOf } from "../../src/store/store.ts";
import { saveTenant, type TenantSettings } from "../../src/store/tenant.ts";
import { failureOf } from "../support/provider.ts";
import { testRedis } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());

/** A worker, and clients of two tenants, closed with it. */
async function openTenants(site: TestSite, ofRed: TenantSettings = {}) {
  const store: Store = storeOf(redis, site.namespace);
  await saveTenant(store, "red", ofRed);
  const worker = openClient(site, { mode: "local" });
  await worker.complete("wake up");
  const [red, blue] = ["red", "blue"].map((tenant) => openClient(site, { tenant })) as [GlueLLM, GlueLLM];
  const close = () => Promise.all([red, blue, worker].map((client) => client.close()));
  return { worker, red, blue, store, [Symbol.asyncDispose]: async () => void (await close()) };
}

const ask = (client: GlueLLM, count: number, name: string) =>
  Promise.all(Array.from({ length: count }, (_, n) => client.complete(`${name} ${n}`)));

/** The calls that the provider got of a prompt's name, in order. */
const callsOf = ({ simulator }: TestSite, name: string) =>
  simulator.journal.entries().filter(({ lastUserText }) => lastUserText.startsWith(`${name} `));

describe.concurrent("a tenant", () => {
  test("with many jobs before those of others does not hold them up", async () => {
    await using site = await TestSite.open({ latencyMs: 20 }, { GLUELLM_WORKER_CONCURRENCY: "1" });
    await using fleet = await openTenants(site);
    const many = Array.from({ length: 60 }, (_, n) => fleet.red.enqueue(`many ${n}`));
    const handles = await Promise.all(many);
    await ask(fleet.blue, 5, "few");
    const calls = site.simulator.journal.entries().map(({ lastUserText }) => lastUserText);
    const last = calls.findLastIndex((text) => text.startsWith("few"));
    // Some of the many were served before the few came.
    const before = calls.findIndex((text) => text.startsWith("few"));
    expect(last - before).toBeLessThan(25);
    for (const handle of handles) await handle.cancel();
  });

  test("makes no more calls than its rate, while others make theirs", async () => {
    await using site = await TestSite.open();
    await using fleet = await openTenants(site, { rpm: 6 });
    // The worker hears of it before it takes the first job.
    const slow = ask(fleet.red, 12, "limited");
    await ask(fleet.blue, 12, "free");
    const [first, ...others] = callsOf(site, "limited").map(({ at }) => at);
    if (first !== undefined) {
      const minutes = Math.ceil((Math.max(first, ...others) - first) / 60_000);
      expect(1 + others.length, "a minute's in each minute begun").toBeLessThanOrEqual(6 * (1 + minutes));
    }
    await saveTenant(fleet.store, "red", { rpm: 6000 });
    await slow;
    expect(callsOf(site, "limited")).toHaveLength(12);
  });

  test("has no more calls at a time than it may", async () => {
    await using site = await TestSite.open({ latencyMs: 60 });
    await using fleet = await openTenants(site, { maxInFlight: 2 });
    await Promise.all([ask(fleet.red, 8, "limited"), ask(fleet.blue, 8, "free")]);
    const calls = callsOf(site, "limited");
    for (const { at } of calls) {
      const beside = calls.filter((call) => call.at <= at && (call.finishedAt ?? 0) > at);
      expect(beside.length).toBeLessThanOrEqual(2);
    }
  });

  test("may have so many jobs that wait or run, and is told so", async () => {
    await using site = await TestSite.open();
    await using fleet = await openTenants(site, { maxQueuedJobs: 2 });
    const later = (client: GlueLLM) => client.enqueue("later", { delayMs: 3_600_000 });
    const [first] = await Promise.all([later(fleet.red), later(fleet.red)]);
    expect(await failureOf(later(fleet.red))).toMatchObject({
      code: "tenant_queue_full",
      message: "tenant red has 2 jobs that wait or run, and may have 2",
    });
    await later(fleet.blue);
    await first.cancel();
    await fleet.red.complete("there is room again");
    await fleet.red.complete("and the one before has ended");
    await later(fleet.red);
    expect(await failureOf(fleet.red.complete("no"))).toMatchObject({ code: "tenant_queue_full" });
  });

  test("spends in a day what it may, in no more calls than that pays for", async () => {
    const prices = { [MODEL]: { inputPerMillion: 1000, outputPerMillion: 4000 } };
    await using site = await TestSite.open({}, { GLUELLM_PRICES: JSON.stringify(prices) });
    await using fleet = await openTenants(site, { maxCostUsdPerDay: 0.5 });
    const cheap = { maxTokens: 50 };
    await fleet.red.complete("this one is paid", cheap);
    const failure = await failureOf(
      (async () => {
        for (let n = 0; n < 20; n += 1) await fleet.red.complete(`and another ${n}`, cheap);
      })(),
    );
    expect(failure).toMatchObject({ code: "cost_limit" });
    expect((failure as Error & { hint?: string }).hint).toContain(
      "the limit of tenant red: gluellm tenants set red --max-usd-per-day",
    );
    expect((await fleet.blue.complete("not the tenant's money", cheap)).costUsd).toBeGreaterThan(0);
    await saveTenant(fleet.store, "red", { maxCostUsdPerDay: null });
    await waitFor("the limit is gone", () =>
      fleet.red.complete("no limit", cheap).then(Boolean, () => false),
    );
  });
});
