import { expect, test } from "vitest";
import { JobSlots } from "../../src/store/job-slots.ts";

const never = new AbortController().signal;

test("a job that does work of its own makes room for one more, and comes back before a new one", async () => {
  const jobs: number[] = [];
  const slots = new JobSlots(1, (count) => jobs.push(count));
  slots.take();
  const work = Promise.withResolvers<string>();
  const first = slots.without(never, () => work.promise);
  expect([slots.held, jobs.at(-1)]).toEqual([0, 2]);
  slots.take();
  work.resolve("done");
  await work.promise;
  const order: string[] = [];
  const back = first.then((result) => order.push(result));
  await Promise.resolve();
  // It waits, and no third job is taken in its stead.
  expect([slots.held, jobs.at(-1), order]).toEqual([1, 1, []]);
  slots.release();
  await back;
  expect([slots.held, jobs.at(-1), order]).toEqual([1, 1, ["done"]]);
});

test("work that fails, and a signal while the job waits for a slot, end the wait", async () => {
  const slots = new JobSlots(1, () => {});
  slots.take();
  await expect(slots.without(never, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(slots.held).toBe(1);
  const abort = new AbortController();
  const waiting = slots.without(abort.signal, async () => slots.take());
  const told = expect(waiting).rejects.toBe("draining");
  abort.abort("draining");
  await told;
  slots.release();
  slots.release();
  expect(slots.held).toBe(0);
});

test("more slots let in those that are back, the earliest first", async () => {
  const slots = new JobSlots(1, () => {});
  const order: number[] = [];
  const jobs = [1, 2, 3].map(async (n) => {
    slots.take();
    await slots.without(never, async () => {});
    order.push(n);
  });
  slots.size = 3;
  await Promise.all(jobs);
  expect(order).toEqual([1, 2, 3]);
  expect(slots.held).toBe(3);
});
