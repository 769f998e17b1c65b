import { afterAll, expect, test, vi } from "vitest";
import { GroupedScript } from "../../src/store/grouped-script.ts";
import { testNamespace, testRedis } from "../support/redis.ts";

const redis = testRedis();
afterAll(() => redis.disconnect());

const ADD = new GroupedScript({
  keys: ["total"],
  args: { amount: "number", isTold: "flag" },
  lua: `
    local sum = redis.call('INCRBY', total, amount)
    return isTold and {amount, sum, false} or nil
  `,
});

test("calls of one turn are few round trips, each with its own reply, in their order", async () => {
  const total = testNamespace();
  const add = (amount: number, isTold = true) => ADD.run(redis, { total }, { amount, isTold });
  await Promise.all([add(0), add(0)]);
  expect(await add(1)).toEqual([1, 1, null]);
  const sent = vi.spyOn(redis, "evalsha");
  const replies = await Promise.all(Array.from({ length: 120 }, (_, n) => add(n, n % 2 === 0)));
  expect(sent).toHaveBeenCalledTimes(3);
  let sum = 1;
  for (const [n, reply] of replies.entries()) {
    sum += n;
    expect(reply).toEqual(n % 2 === 0 ? [n, sum, null] : null);
  }
});

test("a call that fails is the only one that does", async () => {
  const [good, bad] = [testNamespace(), testNamespace()];
  await redis.rpush(bad, "a list");
  const calls = [good, bad, good].map((total) => ADD.run(redis, { total }, { amount: 2, isTold: true }));
  const [first, second, third] = await Promise.allSettled(calls);
  expect(second).toMatchObject({
    status: "rejected",
    reason: { message: expect.stringContaining("WRONGTYPE") },
  });
  expect([first?.status, third?.status]).toEqual(["fulfilled", "fulfilled"]);
});
