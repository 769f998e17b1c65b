import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  AccountError,
  APIConnectionError,
  AuthenticationError,
  type GlueError,
  InvalidRequestError,
  JobCancelledError,
  JobLostError,
  RateLimitError,
  TokenLimitError,
} from "../../src/index.ts";
import { modelRef } from "../../src/shared/model-name.ts";
import { completionQueueName } from "../../src/shared/queue-name.ts";
import type { Faults } from "../../src/simulator/faults.ts";
import { jobKey } from "../../src/store/bullmq-internals.ts";
import { redisKeys } from "../../src/store/redis-keys.ts";
import { failureOf } from "../support/provider.ts";
import { MODEL, TestSite } from "../support/site.ts";
import { runProgram, siteClient } from "../support/site-client.ts";
import { waitFor } from "../support/wait-for.ts";
import { queueOf, workerFleet } from "../support/worker-fleet.ts";

const CLIENT_PROCESS = join(import.meta.dirname, "../support/client-process.ts");
const QUEUE = completionQueueName(modelRef("simulator", "test"));
const FAULTS = {
  script: [
    { match: "bad request", fault: "400" },
    { match: "bad key", fault: "401" },
    { match: "no credit", fault: "insufficient_quota" },
    { match: "too long", fault: "context_length_exceeded" },
    { match: "always down", fault: "500" },
    { match: "always limited", fault: "429" },
  ],
  retryAfterMs: 60_000,
} satisfies Faults;

/** A fleet of one worker process, for the tests that need no other. */
let fleet: TestSite;
const redis = workerFleet(FAULTS, (site) => {
  fleet = site;
});

function callsFor(site: TestSite, text: string): number {
  return site.simulator.journal.entries().filter(({ lastUserText }) => lastUserText.includes(text)).length;
}

describe("complete", () => {
  test("resolves to the answer with what it took", async () => {
    const glue = siteClient(fleet, { system: "You are brief." });
    const result = await glue.complete("hello", { maxTokens: 60, temperature: 0.5 });
    expect(result).toMatchObject({
      jobId: expect.stringMatching(/^job-/),
      finalResponse: expect.stringContaining("[simulated]"),
      finishReason: "stop",
      model: MODEL,
      attempts: 1,
      requestId: expect.stringMatching(/./),
      rawResponse: { object: "chat.completion", model: "test" },
    });
    expect(result.tokensUsed.prompt + result.tokensUsed.completion).toBe(result.tokensUsed.total);
    expect(result.tokensUsed.completion).toBeGreaterThan(0);
    expect(result.latencyMs).toBeGreaterThan(0);
    expect(Math.abs(Date.now() - result.finishedAt.getTime())).toBeLessThan(60_000);
  });

  test("takes parts and whole messages", async () => {
    const glue = siteClient(fleet);
    await glue.complete([{ type: "text", text: "as a part" }]);
    await glue.complete([
      { role: "user", content: "first" },
      { role: "assistant", content: "an answer" },
      { role: "user", content: "as messages" },
    ]);
    expect(callsFor(fleet, "as a part")).toBe(1);
    expect(callsFor(fleet, "as messages")).toBe(1);
  });

  test("an abort cancels the job, unless others may share it", async () => {
    await using site = await TestSite.open();
    const glue = siteClient(site);
    const jobAfterAbort = async (options: { idempotencyKey?: string }) => {
      const aborter = new AbortController();
      const answer = glue.complete("nobody waits", { ...options, signal: aborter.signal });
      const pattern = `${redisKeys(site.namespace).prefix}:${QUEUE}:job-*`;
      const jobKey = await waitFor("the job", async () => (await redis.keys(pattern)).at(0));
      aborter.abort(new Error("given up"));
      await expect(answer).rejects.toThrow("given up");
      return glue.handle(jobKey.slice(jobKey.lastIndexOf("job-")));
    };
    const own = await jobAfterAbort({});
    await waitFor("the cancellation", async () => (await own.status()).state === "cancelled");
    const shared = await jobAfterAbort({ idempotencyKey: "shared" });
    expect((await shared.status()).state).toBe("waiting");
  });
});

describe("errors", () => {
  test.each([
    ["bad request", InvalidRequestError, { code: "invalid_request", status: 400, severity: "error" }],
    [
      "bad key",
      AuthenticationError,
      { hint: expect.stringContaining("SIMULATOR_API_KEY"), status: 401, severity: "critical" },
    ],
    ["no credit", AccountError, { code: "insufficient_quota", severity: "critical" }],
    ["too long", TokenLimitError, { code: "context_length_exceeded" }],
    ["always down", APIConnectionError, { status: 500, retryable: true, attempts: 2, severity: "warning" }],
    ["always limited", RateLimitError, { code: "deadline_exceeded", status: 429, retryable: true }],
  ])("%s arrives as an instance of its class", async (prompt, type, fields) => {
    const glue = siteClient(fleet);
    // A queue of its own: a 429 is a pause for all its jobs.
    const model = `simulator:${prompt.replace(" ", "-")}`;
    const handle = await glue.enqueue(prompt, { model, maxAttempts: 2, deadlineMs: 20_000 });
    const error = await failureOf(handle.result());
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({ attempts: 1, retryable: false, ...fields });
    expect(error).toMatchObject({
      name: type.name,
      providerRequestId: expect.stringMatching(/./),
      context: { jobId: handle.id, model },
    });
    expect((await handle.status()).state).toBe("failed");
  });

  test("a job that is nowhere is lost, and one that was removed while somebody waits", async () => {
    await using site = await TestSite.open();
    const glue = siteClient(site);
    const nowhere = glue.handle(`job-${randomUUID()}`);
    for (const ask of [() => nowhere.result(), () => nowhere.status(), () => nowhere.cancel()]) {
      expect(await failureOf(ask())).toBeInstanceOf(JobLostError);
    }
    const handle = await glue.enqueue("removed");
    await redis.del(await redis.keys(`${redisKeys(site.namespace).prefix}*`));
    const lost = await failureOf(handle.result());
    expect(lost).toMatchObject({ code: "job_lost", context: { jobId: handle.id } });
  });
});

describe("handles", () => {
  test("are opened again by their id in another process", async () => {
    const glue = siteClient(fleet);
    const good = await glue.enqueue("for another process");
    const bad = await glue.enqueue("bad request of another process");
    const [answer, failure] = await Promise.all(
      [good, bad].map(async ({ id }) => JSON.parse(await runProgram(CLIENT_PROCESS, [id], fleet.env))),
    );
    expect(answer).toMatchObject({
      jobId: good.id,
      model: MODEL,
      finalResponse: expect.stringContaining("[simulated]"),
    });
    expect(failure).toEqual({ isInvalidRequest: true, code: "invalid_request" });
  });

  test("say where the job is and what it waits for", async () => {
    await using site = await TestSite.open();
    const glue = siteClient(site);
    const delayed = await glue.enqueue("later", { delayMs: 600_000 });
    expect(await delayed.status()).toEqual({ state: "delayed", waitsFor: ["its time"] });
    const handle = await glue.enqueue(`slow\n#sim {"latencyMs": 1500}`);
    const { state, waitsFor } = await handle.status();
    expect(state).toBe("waiting");
    expect(waitsFor.join()).toContain('a worker with provider entry "simulator"');
    site.start("worker");
    await waitFor("its call", async () => (await handle.status()).state === "active");
    await handle.result();
    expect(await handle.status()).toEqual({ state: "succeeded", waitsFor: [] });
    expect((await delayed.status()).state).toBe("delayed");
  });

  test("stop waiting at their time or signal, and the job goes on", async () => {
    await using site = await TestSite.open();
    const glue = siteClient(site);
    const handle = await glue.enqueue("later");
    expect(await failureOf(handle.result({ timeoutMs: 50 }))).toMatchObject({ code: "result_timeout" });
    const signal = AbortSignal.timeout(50);
    expect(await failureOf(handle.result({ signal }))).toBe(signal.reason);
    expect(await failureOf(handle.result({ signal })), "aborted before").toBe(signal.reason);
    site.start("worker");
    expect((await handle.result()).finalResponse).toContain("[simulated]");
  });

  test("tell those who wait that the client was closed", async () => {
    await using site = await TestSite.open();
    const glue = siteClient(site);
    const handle = await glue.enqueue("later");
    const failure = failureOf(handle.result());
    await handle.status();
    await glue.close();
    expect(await failure).toMatchObject({ code: "client_closed" });
    expect(await failureOf(glue.complete("hello"))).toMatchObject({ code: "client_closed" });
  });
});

describe("cancel", () => {
  test("of a waiting job takes it out of its queue, its request too, and no worker calls for it", async () => {
    await using site = await TestSite.open();
    const glue = siteClient(site);
    const handle = await glue.enqueue("long ".repeat(5000));
    const failure = failureOf(handle.result());
    expect(await handle.cancel()).toBe(true);
    expect(await failure).toBeInstanceOf(JobCancelledError);
    expect((await handle.status()).state).toBe("cancelled");
    const keys = redisKeys(site.namespace);
    expect(await redis.exists(jobKey({ keys }, QUEUE, handle.id))).toBe(0);
    expect(await redis.keys(keys.blob("*"))).toEqual([]);
    site.start("worker");
    await glue.complete("after it");
    expect(site.simulator.journal.entries()).toHaveLength(1);
    expect(await handle.cancel(), "again").toBe(true);
  });

  test("of an active job aborts its call", async () => {
    const glue = siteClient(fleet);
    const handle = await glue.enqueue(`endless\n#sim {"latencyMs": 30000}`);
    await waitFor("the call", () => callsFor(fleet, "endless") === 1);
    const failure = failureOf(handle.result());
    expect(await handle.cancel()).toBe(true);
    expect(await failure).toBeInstanceOf(JobCancelledError);
    const call = fleet.simulator.journal
      .entries()
      .find(({ lastUserText }) => lastUserText.includes("endless"));
    await waitFor("the end of the call", () => call?.aborted);
    const queue = queueOf(redis, fleet);
    await waitFor("the end of the job", async () => (await queue.getJobState(handle.id)) === "failed");
    expect((await handle.status()).state).toBe("cancelled");
  });

  test("comes too late for an answer", async () => {
    const glue = siteClient(fleet);
    const handle = await glue.enqueue("answered");
    await handle.result();
    expect(await handle.cancel()).toBe(false);
    expect((await handle.result()).finalResponse).toContain("[simulated]");
  });
});

describe("idempotency keys", () => {
  test("make one job of 20 calls at a time, from two clients, and of later ones", async () => {
    const clients = [siteClient(fleet), siteClient(fleet)];
    const options = { idempotencyKey: "once", extra: { user: "u", seed: 1 } };
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) => clients[n % 2]?.complete("only once", options)),
    );
    expect(new Set(results.map((result) => result?.jobId)).size).toBe(1);
    expect(callsFor(fleet, "only once")).toBe(1);
    const changed = { ...options, extra: { seed: 1, user: "u" }, priority: 5 };
    const later = await clients[0]?.enqueue("only once", changed);
    expect(later?.id).toBe(results[0]?.jobId);
    expect((await later?.result())?.finalResponse).toBe(results[0]?.finalResponse);
    expect(callsFor(fleet, "only once")).toBe(1);
  });

  test("are refused for another request", async () => {
    const glue = siteClient(fleet);
    const options = { idempotencyKey: "taken" };
    const { id } = await glue.enqueue("the first", options);
    for (const other of [
      () => glue.enqueue("the second", options),
      () => glue.enqueue("the first", { ...options, model: "other" }),
    ]) {
      const error = await failureOf(other());
      expect(error).toMatchObject({ code: "idempotency_conflict", category: "input" });
      expect((error as GlueError).message).toContain(id);
    }
  });

  test("bring back a job whose caller died before it was added", async () => {
    const glue = siteClient(fleet);
    const options = { idempotencyKey: "half", delayMs: 600_000 };
    const { id } = await glue.enqueue("half done", options);
    const queue = queueOf(redis, fleet);
    expect(await queue.remove(id)).toBe(1);
    const again = await glue.enqueue("half done", options);
    expect(again.id).toBe(id);
    expect((await again.status()).state).toBe("delayed");
  });
});

test("a job of higher priority overtakes, and one with a delay starts after it", async () => {
  await using site = await TestSite.open();
  const glue = siteClient(site);
  const handles = [
    await glue.enqueue("second", { priority: 5 }),
    await glue.enqueue("third", { priority: 7 }),
    await glue.enqueue("first", { priority: 1 }),
  ];
  const startedAt = Date.now();
  const delayed = await glue.enqueue("delayed", { delayMs: 2000 });
  site.start("worker", "--concurrency", "1");
  await Promise.all(handles.map((handle) => handle.result()));
  await delayed.result();
  const entries = site.simulator.journal.entries();
  const texts = entries.map(({ lastUserText }) => lastUserText);
  expect(texts.filter((text) => text !== "delayed")).toEqual(["first", "second", "third"]);
  expect(entries[texts.indexOf("delayed")]?.at).toBeGreaterThanOrEqual(startedAt + 2000);
});
