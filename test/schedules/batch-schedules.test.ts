import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { BatchHost } from "../../src/batch/served/batch-host.ts";
import { CompletionProducer } from "../../src/producers/completion-producer.ts";
import { ProducerQueues } from "../../src/producers/queues.ts";
import { readDefinition } from "../../src/schedules/definition.ts";
import { startAction } from "../../src/schedules/start-action.ts";
import { createLogger } from "../../src/shared/logger.ts";
import { listAnyBatches } from "../../src/store/batch-list.ts";
import { readFile } from "../../src/store/file-record.ts";
import { readSchedule } from "../../src/store/schedule.ts";
import { readServedBatch } from "../../src/store/served-batch.ts";
import { testStore } from "../support/redis.ts";
import { temporaryFolder } from "../support/redis-folders.ts";
import { MODEL } from "../support/site.ts";
import { waitFor } from "../support/wait-for.ts";
import { workflowSite } from "../support/workflow-site.ts";

const DAY = 86_400_000;
const line = (n: number, more: object = {}) => {
  const body = { model: MODEL, messages: [{ role: "user", content: `nightly ${n}` }] };
  return JSON.stringify({
    custom_id: `row-${n}`,
    method: "POST",
    url: "/v1/chat/completions",
    body,
    ...more,
  });
};

test("a batch every second: each tick is one batch, also when it is told twice; its input outlives the ticks", async () => {
  const parts = await workflowSite({}, { GLUELLM_DATA_DIR: temporaryFolder() });
  const { site, settings, client, work } = parts;
  const { schedules } = client;
  const store = testStore(settings.namespace);
  const logger = createLogger({ level: "silent", json: true });
  await work();
  const host = await BatchHost.start({ store, settings, logger });
  onTestFinished(() => host.close());
  const path = join(temporaryFolder(), "in.jsonl");
  writeFileSync(path, `${line(0)}\n${line(1)}`);
  const create = (...more: string[]) =>
    site.run("schedule", "create", "nightly", "--every-ms", "1000", "--batch", path, ...more);
  expect(await create("--window", "2h", "--metadata", "a=b=c")).toMatchObject({ code: 0 });
  await waitFor("two ticks", async () => (await schedules.get("nightly")).counts.started >= 2);
  const paused = await schedules.pause("nightly");
  expect(paused).toMatchObject({ kind: "batch", subject: "in.jsonl" });
  const started = paused.ticks.filter(({ outcome }) => outcome === "started");
  for (const { id = "" } of started)
    await waitFor("the end", async () => (await readServedBatch(store, id))?.status === "completed");
  const list = () => listAnyBatches(store, { tenant: "default", limit: 100, isWanted: () => true });
  const { batches } = await list();
  expect(batches.map(({ id }) => id)).toEqual(started.map(({ id }) => id));
  expect(batches.map(({ served }) => served)).toMatchObject(
    started.map(() => ({ schedule: "nightly", completionWindow: "2h", metadata: { a: "b=c" } })),
  );
  expect([...site.paidCalls()]).toEqual([
    ["nightly 0", started.length],
    ["nightly 1", started.length],
  ]);
  expect((await schedules.get("nightly")).running).toEqual([]);

  // The worker that started it died before it could say so: the next one does it again.
  const record = await readSchedule(store, "nightly");
  const definition = readDefinition("nightly", record?.definition);
  const producer = new CompletionProducer({ store, settings });
  const queues = new ProducerQueues(store, settings.maxQueues);
  onTestFinished(async () => void (await Promise.all([producer.close(), queues.close()])));
  const [tick] = started;
  const told = await startAction(
    { store, settings, logger, producer, queues } as never,
    definition,
    "nightly",
    String(tick?.plannedAt.getTime()),
  );
  expect(told).toEqual({ kind: "batch", id: tick?.id, queue: "" });
  expect((await list()).batches).toHaveLength(started.length);

  // The same file is the same definition; its life is that of the schedule.
  const before = record?.definition;
  expect((await create("--window", "2h", "--metadata", "a=b=c")).code).toBe(0);
  expect((await readSchedule(store, "nightly"))?.definition).toEqual(before);
  const fileId = (definition.action as { inputFileId: string }).inputFileId;
  await schedules.create({ id: "monthly", cron: "0 0 1 1 *", batch: { inputFileId: fileId } });
  const next = (await schedules.get("monthly")).nextRun?.getTime() ?? 0;
  expect((await readFile(store, fileId, "default"))?.expiresAt).toBe(next + 30 * DAY);
  const triggered = await schedules.trigger("monthly");
  await waitFor("its end", async () => (await readServedBatch(store, triggered))?.status === "completed");

  writeFileSync(path, `${line(0)}\n${line(1, { method: "GET" })}`);
  const broken = await create();
  expect([broken.code, broken.stderr]).toEqual([
    2,
    expect.stringContaining('line 2: method: must be "POST"'),
  ]);
  for (const [batch, message] of [
    [{}, "inputPath or inputFileId"],
    [{ inputFileId: "file-none" }, 'no file "file-none"'],
    [{ inputFileId: fileId, endpoint: "/v1/embeddings" }, "not for /v1/embeddings"],
    [{ inputFileId: fileId, window: "999h" }, "at most 336h"],
    [{ inputPath: join(temporaryFolder(), "none") }, "ENOENT"],
  ] as const)
    await expect(schedules.create({ id: "x", everyMs: 1000, batch })).rejects.toThrow(message);
  await expect(
    schedules.create({ id: "x", everyMs: 1000, batch: { inputFileId: fileId }, completion: "hello" }),
  ).rejects.toThrow("it has batch and completion");
});
