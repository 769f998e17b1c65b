import { expect, test } from "vitest";
import { z } from "zod";
import { readVersion } from "../../src/host/read-version.ts";
import { defineActivity, defineWorkflow, GlueLLM } from "../../src/index.ts";
import { makeKey, openApi } from "../support/api.ts";
import { failureOf } from "../support/provider.ts";
import { restClient } from "../support/rest-client.ts";
import { MODEL } from "../support/site.ts";
import { workflowSite } from "../support/workflow-site.ts";

const letter = defineWorkflow({
  name: "letter",
  version: 3,
  input: z.string(),
  output: z.string(),
  run: async () => "",
});
const stamp = defineActivity({ name: "stamp", input: z.string(), output: z.string(), run: async () => "" });

test("workers, limits and errors of the fleet, over REST and as commands; a tenant sees no workers", async () => {
  const limits = { [MODEL]: { rpm: 60_000, maxInFlight: 5 } };
  const { site, settings, work, client, redis } = await workflowSite(
    {},
    { GLUELLM_LIMITS: JSON.stringify(limits) },
  );
  await work(letter, stamp);
  const { url, store } = await openApi(settings);
  const ask = restClient(url, (await makeKey(store)).headers);
  const red = restClient(url, (await makeKey(store, { tenant: "red" })).headers);
  const ofRed = new GlueLLM({ mode: "fleet", settings, tenant: "red" });
  const bad = '#sim {"error":"400"}\nno';
  await Promise.all([
    client.complete("fine"),
    failureOf(client.complete(bad)),
    failureOf(ofRed.complete(bad)),
  ]);
  await ofRed.close();
  // Of a worker of version 0.1.
  const old = { host: "elsewhere", pid: 7, queueGlobs: ["*"], entries: {} };
  await redis
    .multi()
    .set(store.keys.worker("old"), JSON.stringify(old))
    .sadd(store.keys.workers, "old")
    .exec();

  const { body: workers } = await ask("GET", "/api/workers");
  const own = workers.data.find(({ pid }: { pid: number }) => pid === process.pid);
  expect(own).toMatchObject({
    ...{ version: readVersion(), isMemoryLow: false, activities: ["stamp"], queueGlobs: ["*"] },
    providers: expect.arrayContaining(["simulator"]),
    workflows: expect.arrayContaining([{ name: "letter", version: 3 }]),
  });
  expect(own.rssBytes).toBeGreaterThan(10e6);
  expect(own.uptimeMs).toBeGreaterThan(0);
  expect(Math.abs(own.clockAheadMs)).toBeLessThan(1000);
  expect(workers.data.find(({ id }: { id: string }) => id === "old")).toMatchObject({
    version: null,
    queues: null,
  });
  expect(await red("GET", "/api/workers")).toMatchObject({
    status: 403,
    body: { error: { code: "operators_only" } },
  });

  expect((await ask("GET", "/api/limits")).body.data).toMatchObject([
    {
      key: MODEL,
      bucket: null,
      limits: { rpm: { perMinute: 60_000, source: "configured" } },
      configured: { maxInFlight: 5 },
      breaker: { state: "closed" },
      ...{ pausedMs: 0, longPause: null, pausedByOperator: false },
    },
  ]);

  const { body: errors } = await ask("GET", "/api/errors?by=code,tenant");
  expect(errors).toMatchObject({ failed: 2, failedCalls: 2, succeeded: 1 });
  expect(errors.groups).toHaveLength(2);
  expect((await red("GET", "/api/errors?by=tenant")).body.groups).toMatchObject([
    { tenant: "red", failed: 1 },
  ]);
  expect(await ask("GET", "/api/errors?by=modle")).toMatchObject({
    status: 400,
    body: { error: { param: "by" } },
  });
  expect(await ask("GET", "/api/errors?since=tomorrow")).toMatchObject({ status: 400 });

  const { stdout } = await site.run("workers");
  expect(stdout).toMatch(new RegExp(`:${process.pid} +${readVersion()} +.* +\\d+(\\.\\d)? MB .*ms +ok`));
  expect(stdout).toMatch(/^elsewhere:7 +\? /m);
  expect(stdout).toMatch(/^ {2}workflows: letter \(version 3\), 15 patterns$/m);
});
