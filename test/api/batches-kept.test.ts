import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { readLease } from "../../src/store/batch-lease.ts";
import { testStore } from "../support/redis.ts";
import { serveApi, startServer } from "../support/served-api.ts";
import { chatLine, clientOf, ended, results, rows, submit } from "../support/served-batches.ts";
import { SHORT_LOCKS } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";

describe("what a batch of the API has paid is kept", () => {
  const CONCURRENCY = 8;

  test("by a batch that is cancelled", { tags: "long" }, async () => {
    const served = await serveApi({ latencyMs: 80 }, { GLUELLM_WORKER_CONCURRENCY: String(CONCURRENCY) });
    await using site = served.site;
    const client = new OpenAI({ baseURL: served.baseURL, apiKey: served.apiKey });
    const { id, input_file_id } = await submit(
      client,
      Array.from({ length: 200 }, (_, n) => chatLine(n)),
    );
    await waitFor("20 answers", () => site.paidCalls().size > 20);
    await expect(client.files.delete(input_file_id)).rejects.toMatchObject({
      status: 409,
      code: "file_in_use",
    });
    expect((await client.batches.cancel(id)).status).toBe("cancelling");
    const batch = await ended(client, id);
    expect(batch.status).toBe("cancelled");
    const output = await results(client, batch.output_file_id);
    const errors = await results(client, batch.error_file_id);
    expect(output).toHaveLength(site.paidCalls().size);
    expect(output.length).toBeLessThan(200);
    expect(output.length + errors.length).toBe(200);
    expect(new Set(errors.map(({ error }) => error?.code))).toEqual(new Set(["batch_cancelled"]));
    expect(site.repeatedCalls()).toBe(0);
    await expect(client.batches.cancel(id)).resolves.toMatchObject({ status: "cancelled" });
  });

  test("by a host that is killed: another process takes over, every line is answered once and in order", {
    tags: "long",
  }, async () => {
    const served = await serveApi(
      { latencyMs: 60 },
      { ...SHORT_LOCKS, GLUELLM_WORKER_CONCURRENCY: String(CONCURRENCY) },
    );
    await using site = served.site;
    const client = clientOf(served);
    const { id } = await submit(client, rows(150));
    await waitFor("30 answers", () => site.paidCalls().size > 30);
    const store = testStore(site.namespace);
    const runner = await readLease(store, id);
    // Whichever hosts it: an API or a worker.
    process.kill(runner?.pid ?? 0, "SIGKILL");
    site.start("worker");
    const other = clientOf(await startServer(site));
    await waitFor("another host", async () => (await readLease(store, id))?.pid !== runner?.pid);
    const batch = await ended(other, id);
    expect([batch.status, batch.request_counts]).toEqual([
      "completed",
      { total: 150, completed: 150, failed: 0 },
    ]);
    const output = await results(other, batch.output_file_id);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(rows(150).map(({ custom_id }) => custom_id));
    expect(site.repeatedCalls()).toBeLessThanOrEqual(CONCURRENCY);
  });

  test("by one whose window ends while nobody hosts it, calls in flight included", {
    tags: "long",
  }, async () => {
    const served = await serveApi(
      { latencyMs: 500 },
      { GLUELLM_WORKER_CONCURRENCY: String(CONCURRENCY) },
      false,
    );
    await using site = served.site;
    const { id } = await submit(clientOf(served), rows(60));
    const store = testStore(site.namespace);
    await waitFor("a host", () => readLease(store, id));
    site.start("worker");
    await waitFor("10 answers", () => site.paidCalls().size > 10);
    // What is left takes half a minute, however slow the machine is.
    site.simulator.setLatency({ latencyMs: 5000 });
    // Its host knows another time; the next one, an API or the worker, finds that this has passed.
    await store.redis.hset(store.keys.servedBatch(id), "expiresAt", Date.now());
    served.process.child.kill("SIGKILL");
    const other = clientOf(await startServer(site));
    const batch = await ended(other, id);
    expect(batch).toMatchObject({ status: "expired", expired_at: expect.any(Number) });
    const output = await results(other, batch.output_file_id);
    const errors = await results(other, batch.error_file_id);
    expect(output).toHaveLength(site.paidCalls().size);
    expect(output.length + errors.length).toBe(60);
    expect(new Set(errors.map(({ error }) => error?.code))).toEqual(new Set(["batch_expired"]));
    expect(batch.request_counts).toEqual({ total: 60, completed: output.length, failed: errors.length });
  });
});
