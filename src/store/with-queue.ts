import { Queue } from "bullmq";
import type { Store } from "./store.ts";

/** Returns what `use` brings of a queue by BullMQ's public API, over the store's connection; writes nothing of its own. */
export async function withQueue<T>(
  store: Store,
  name: string,
  use: (queue: Queue) => Promise<T>,
): Promise<T> {
  const queue = new Queue(name, {
    connection: store.redis,
    prefix: store.keys.prefix,
    skipMetasUpdate: true,
  });
  // The connection's own listener reports faults.
  queue.on("error", () => {});
  try {
    return await use(queue);
  } finally {
    await queue.close();
  }
}
