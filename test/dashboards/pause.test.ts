import { expect, test } from "vitest";
import { QueueAdapter } from "../../dashboards/queue-adapter.ts";
import { plainStore } from "../../src/store/store.ts";
import { openQueue } from "../support/dashboard.ts";
import { testNamespace } from "../support/redis.ts";

test("a provider's pause is shown as one, a worker's counter of the present second is not", async () => {
  const { queue, redis, keys } = await openQueue(testNamespace(), "completions.openai.gpt-4o-mini");
  const adapter = new QueueAdapter(queue, plainStore(redis, keys));
  await redis.set(`${keys.prefix}:${queue.name}:limiter`, "7", "PX", 60_000);
  expect(await adapter.getActiveRateLimitTtl()).toBe(0);
  await queue.rateLimit(60_000);
  expect(await adapter.getActiveRateLimitTtl()).toBeGreaterThan(50_000);
});
