import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { defineWorkflow, type GlueLLM } from "../../src/index.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { failureOf } from "../support/provider.ts";
import { testRedis } from "../support/redis.ts";
import { TestSite } from "../support/site.ts";
import { openClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";

const broken = defineWorkflow({
  name: "broken",
  input: z.string(),
  output: z.string(),
  run: () => Promise.reject(new Error("no")),
});

let site: TestSite;
let worker: GlueLLM;
let red: GlueLLM;

const fault = (error: string, more = {}) => `ask ${error}\n#sim ${JSON.stringify({ error, ...more })}`;

beforeAll(async () => {
  site = await TestSite.open({}, { GLUELLM_RETRY_MAX_ATTEMPTS: "2" });
  worker = openClient(site, { mode: "local", workflows: [broken] });
  red = openClient(site, { tenant: "red" });
  await worker.complete("wake up");
  const long = "x".repeat(20_000);
  await Promise.all([
    ...[1, 2, 3, 4, 5, 6].map((n) => failureOf(red.complete(fault("400", { n })))),
    ...[1, 2, 3, 4, 5, 6].map((n) => worker.complete(`fine ${n}`)),
    failureOf(worker.complete(fault("500"))),
    worker.complete(fault("503", { errorTimes: 1 })),
    worker.complete(`${long} fine`),
    failureOf(worker.workflows.start(broken, "x").then((run) => run.result())),
  ]);
});

afterAll(async () => {
  await Promise.all([worker?.close(), red?.close()]);
  await site?.[Symbol.asyncDispose]();
});

test("counts what failed for good and the calls that failed, with an example of each", async () => {
  const report = await worker.errors();
  expect(report).toMatchObject({ failed: 8, succeeded: 9, failedCalls: 9 });
  expect(report.groups).toMatchObject([
    { code: "invalid_request", model: "simulator:test", failed: 6, failedCalls: 6 },
    { code: "server_error", model: "simulator:test", failed: 1, failedCalls: 3 },
    { code: "workflow_failed", model: "", failed: 1, failedCalls: 0, example: { kind: "run" } },
  ]);
  const [bad] = report.groups;
  expect(bad?.example).toMatchObject({ kind: "job" });
  const failure = await failureOf(worker.handle(bad?.example?.id ?? "").result());
  expect(failure).toMatchObject({ code: "invalid_request" });
  expect(report.patterns).toMatchObject([{ pattern: "tenant_bad_requests", tenant: "red", count: 6 }]);
  const prompts = (await worker.errors({ by: ["hour", "queue"] })).groups;
  expect(prompts.map(({ queue }) => queue)).toEqual(["completions.simulator.test", "workflows.broken"]);
});

test("a tenant's client sees its own alone", async () => {
  const own = await red.errors({ by: ["tenant"], tenant: "default" });
  expect(own).toMatchObject({ failed: 6, succeeded: 0, groups: [{ tenant: "red", failed: 6 }] });
  expect(own).not.toHaveProperty("spentUsd");
  expect(await failureOf(worker.errors({ by: ["nothing"] as never }))).toMatchObject({ category: "input" });
});

test("gluellm errors tells the same to people", async () => {
  const { stdout } = await site.run("errors", "--since", "2h", "--by", "code,tenant");
  expect(stdout).toMatch(/8 failed of 17 jobs and runs that ended \(47 %\), 9 calls failed/);
  expect(stdout).toMatch(/^! tenant red sent 6 of the 6 requests/m);
  expect(stdout).toMatch(/^invalid_request +red +6 +6 +job-/m);
});

test("a damaged count keeps no job from its end", async () => {
  const redis = testRedis();
  const { prefix } = redisKeys(site.namespace);
  const damage = async () => {
    for (const key of await redis.keys(`${prefix}:*es:*`)) {
      if (!/:(errors|successes):\d+$/.test(key)) continue;
      await redis.set(key, "damaged");
    }
  };
  await waitFor("both to be there", async () => (await redis.keys(`${prefix}:successes:*`)).length > 0);
  await damage();
  expect((await worker.complete("fine all the same")).finalResponse).not.toBe("");
  expect(await failureOf(worker.complete(fault("400", { last: true })))).toMatchObject({
    code: "invalid_request",
  });
  redis.disconnect();
});
