import { expect, test } from "vitest";
import { readTenantUse } from "../../src/producers/tenant-use.ts";
import {
  KnownTenants,
  listTenants,
  saveTenant,
  tenantBudget,
  tenantBudgetKey,
} from "../../src/store/tenant.ts";
import { openTenantJob } from "../../src/store/tenant-queue.ts";
import { LabelCaps } from "../../src/telemetry/metrics-labels.ts";
import { readTenantGauges } from "../../src/telemetry/tenant-gauges.ts";
import { runCli } from "../support/cli.ts";
import { testNamespace, testStore } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";

test("settings of a tenant that are damaged hold up nobody, and are written anew", async () => {
  const store = testStore(testNamespace());
  await saveTenant(store, "red", { rpm: 60 });
  await saveTenant(store, "blue", { rpm: 30 });
  const known = new KnownTenants(store);
  await known.read();
  for (const damage of ["{", '{"weight":0}', '"text"', '{"rpm":"many"}']) {
    await store.redis.hset(store.keys.tenants, "red", damage);
    await saveTenant(store, "blue", { rpm: 31 });
    await known.read();
    expect([known.of("red"), known.of("blue")], "what was known stands").toEqual([{ rpm: 60 }, { rpm: 31 }]);
    expect([...(await listTenants(store))]).toEqual([
      ["blue", { rpm: 31 }],
      ["red", undefined],
    ]);
    expect(await readTenantUse(store, 3_600_000)).toMatchObject([
      { tenant: "blue", isDamaged: false },
      { tenant: "red", isDamaged: true, settings: {} },
    ]);
    expect(await saveTenant(store, "red", { rpm: 60 })).toEqual({ rpm: 60 });
  }
});

test("the commands say which settings are damaged, and what to do", async () => {
  await using site = await TestSite.open();
  const store = testStore(site.namespace);
  await saveTenant(store, "blue", { rpm: 30 });
  await store.redis.hset(store.keys.tenants, "red", "{");
  const [listed, unknown] = await Promise.all([
    runCli(["tenants", "list"], site.env, site.folder),
    runCli(["tenants", "usage", "green"], site.env, site.folder),
  ]);
  expect(listed).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/blue +rpm 30\nred +damaged/),
    stderr: expect.stringContaining("gluellm tenants set red writes them anew"),
  });
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining("known are: blue, red") });
});

test("gauges of tenants: limits, what is used of them, and no more series than a hundred tenants have", async () => {
  const store = testStore(`${testNamespace()}-gauges`);
  await saveTenant(store, "red", { weight: 2, maxQueuedJobs: 5, maxCostUsdPerDay: 1 });
  const job = { jobId: "job-1", deadlineAt: Date.now() + 60_000, max: 5 };
  await openTenantJob(store, "red", job);
  const readings = await readTenantGauges(store, { red: 3, green: 1 });
  expect(readings.map(({ name, labels, value }) => [name, ...Object.values(labels), value])).toEqual([
    ["gluellm_tenant_open_jobs", "green", 0],
    ["gluellm_tenant_batch_rows", "green", 1],
    ["gluellm_tenant_open_jobs", "red", 1],
    ["gluellm_tenant_batch_rows", "red", 3],
    ["gluellm_tenant_limit", "red", "maxQueuedJobs", 5],
    ["gluellm_tenant_limit", "red", "maxCostUsdPerDay", 1],
    ["gluellm_tenant_used", "red", "maxQueuedJobs", 1],
    ["gluellm_tenant_used", "red", "maxCostUsdPerDay", 0],
  ]);
  const many = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`tenant-${n}`, 1]));
  const names = new Set((await readTenantGauges(store, many)).map(({ labels }) => labels.tenant));
  expect(names.size).toBe(100);
  const caps = new LabelCaps();
  const capped = Object.keys(many).map((tenant) => caps.cap({ tenant, status: "failed" }).tenant);
  expect(new Set(capped).size).toBe(101);
});

test("damaged settings of one tenant take no limits of others, nor what was known of it", async () => {
  const store = testStore(testNamespace());
  await saveTenant(store, "red", { rpm: 5 });
  await saveTenant(store, "blue", { rpm: 7 });
  const tenants = new KnownTenants(store);
  await tenants.read();
  for (const damaged of ["{", '{"rpm":"many"}', "null"]) {
    await store.redis.hset(store.keys.tenants, "red", damaged);
    await saveTenant(store, "blue", { rpm: 8 });
    await tenants.read();
    expect([tenants.of("red"), tenants.of("blue")]).toEqual([{ rpm: 5 }, { rpm: 8 }]);
    await saveTenant(store, "blue", { rpm: 7 });

    const others = new KnownTenants(store);
    expect(await others.read()).toEqual(new Set(["blue", "red"]));
    expect([others.of("red"), others.of("blue")]).toEqual([{}, { rpm: 7 }]);
    expect(tenantBudget(others, tenantBudgetKey("red"))).toBeUndefined();
  }
});
