import { expect, test } from "vitest";
import { readLearnedLimits } from "../../src/store/learned-limits.ts";
import { HeaderProxy } from "../support/header-proxy.ts";
import { testStore } from "../support/redis.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

const RPM = 1200;
const ROWS = 300;

test("how much a provider bears that states nothing is concluded from its refusals, by all workers", {
  tags: "long",
}, async () => {
  await using plain = await TestSite.open({ rpm: RPM, burstSeconds: 1 });
  await using proxy = await HeaderProxy.before(plain.simulator.url, (headers) =>
    Object.fromEntries(Object.entries(headers).filter(([name]) => !/ratelimit|retry-after/.test(name))),
  );
  await using site = await TestSite.open({}, { SIMULATOR_BASE_URL: `${proxy.url}/v1` });
  site.write("in.jsonl", site.rows(ROWS));
  site.start("worker");
  site.start("worker");
  const run = site.start(...site.batch());
  const store = testStore(site.namespace);
  const learned = async () => (await readLearnedLimits(store)).get(MODEL);
  const known = await waitFor("a rate from a whole while", async () => {
    const limits = await learned();
    return Number(limits?.guess?.holdMs) > 4000 ? limits : undefined;
  });
  expect(known.rpm).toBeGreaterThan(0.6 * RPM);
  expect(known.rpm).toBeLessThan(1.4 * RPM);
  const before = plain.simulator.stats();
  expect(await run.exit).toBe(0);
  const after = plain.simulator.stats();
  const refused = after.rateLimited - before.rateLimited;
  // A busy machine may be told of a refusal late.
  expect(refused).toBeLessThan(0.05 * ROWS);
  expect(site.countLines("out.jsonl")).toBe(ROWS);
  expect((await site.run("queues")).stdout).toMatch(/\/[\d,]+ learned/);
});
