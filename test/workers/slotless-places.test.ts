import { Queue } from "bullmq";
import { expect, onTestFinished, test } from "vitest";
import { storeOf } from "../../src/store/store.ts";
import { NoPlaceError, SlotlessPlaces } from "../../src/workers/slotless-places.ts";
import { testNamespace, testRedis } from "../support/redis.ts";
import { waitFor } from "../support/wait-for.ts";

const withoutSlot = <T>(work: () => Promise<T>) => work();

function openPlaces(load = { isMemoryLow: false }) {
  const redis = testRedis();
  onTestFinished(() => redis.disconnect());
  const store = storeOf(redis, testNamespace());
  const queue = new Queue("completions.test", { connection: redis, prefix: store.keys.prefix });
  onTestFinished(() => queue.close());
  return { places: new SlotlessPlaces({ store, load, most: 1, reason: "no place" }), queue };
}

const job = (jobId: string, nesting = 0) => ({ jobId, queue: "completions.test", nesting, withoutSlot });

test("with little memory only jobs that tools began have a place", async () => {
  const load = { isMemoryLow: true };
  const { places } = openPlaces(load);
  await expect(places.run(job("first"), async () => "ran")).rejects.toThrow(NoPlaceError);
  expect(await places.run(job("nested", 1), async () => places.taken)).toBe(1);
  load.isMemoryLow = false;
  expect(await places.run(job("first"), async () => "ran")).toBe("ran");
  expect(places.taken).toBe(0);
});

test("a place that is free goes to the job that has waited longest and still waits for it, before all others", async () => {
  const { places, queue } = openPlaces();
  const end = Promise.withResolvers<void>();
  const running = places.run(job("running"), () => end.promise);
  const refusal = await places.run(job("gone"), async () => {}).catch((error: Error) => error);
  const { message: reason } = refusal as Error;
  await places.run(job("other"), async () => {}).catch(() => {});
  await places.run(job("waiting"), async () => {}).catch(() => {});
  await queue.add("plain", {}, { jobId: "plain" });
  for (const [jobId, waitsFor] of [
    ["other", "its provider"],
    ["waiting", reason],
  ]) {
    const delayed = await queue.add("delayed", {}, { jobId, delay: 3_600_000 });
    await delayed.updateProgress({ waitsFor });
  }
  for (const jobId of ["gone", "other", "waiting"]) places.attemptEnded(jobId);
  end.resolve();
  await running;
  const waiting = await waitFor("the woken job", async () => {
    const jobs = await queue.getWaiting();
    return jobs.length === 2 && jobs.map(({ id }) => id);
  });
  expect(waiting).toEqual(["waiting", "plain"]);
  expect((await queue.getDelayed()).map(({ id }) => id)).toEqual(["other"]);
});
