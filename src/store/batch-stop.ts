import type { ErrorRecord } from "../shared/error-record.ts";
import type { Store } from "./store.ts";
import { publish } from "./topics.ts";

/**
 * Says why no further row of a batch may start; the first reason stands. Its feeder wakes and withdraws what waits,
 * and workers send back the rows they hold without having called the provider yet.
 */
export async function stopBatch(store: Store, batchId: string, reason: ErrorRecord): Promise<void> {
  await store.redis.hsetnx(store.keys.batch(batchId), "stop", JSON.stringify(reason));
  const messages = publish(store.redis.multi(), store.keys, "batch", batchId);
  await publish(messages, store.keys, "stop", batchId).exec();
}
