import { canonicalJson } from "../shared/canonical-json.ts";
import { sha256 } from "../shared/digest.ts";
import { modelRef } from "../shared/model-name.ts";
import { completionQueueName } from "../shared/queue-name.ts";
import { partsOf } from "./bullmq-internals.ts";
import type { Store } from "./store.ts";

/**
 * Returns the SHA-256 of what Redis has of an object at this moment: of its record, not of what hangs on it. Undefined: there is nothing.
 * @param id of a job, run, batch, file, conversation, key, webhook or schedule; or the name of a tenant or queue
 */
export async function stateDigest(store: Store, id: string): Promise<string | undefined> {
  const { redis, keys } = store;
  const pipeline = redis.pipeline();
  for (const key of [keys.result(id), keys.response(id)]) pipeline.get(key);
  const hashes = [
    ...[keys.waits(id), keys.workflow(id), keys.batch(id), keys.servedBatch(id), keys.file(id)],
    ...[keys.conversation(id), keys.apiKey(id), keys.webhook(id), keys.schedule(id)],
    partsOf(store, queueOf(id)).meta,
  ];
  for (const key of hashes) pipeline.hgetall(key);
  pipeline.hget(keys.tenants, id);
  // An id may be like the name of a key of another type: then there is no record.
  const found = ((await pipeline.exec()) ?? []).map(([error, reply]) =>
    error || isEmpty(reply) ? null : reply,
  );
  return found.every((reply) => reply === null) ? undefined : sha256(canonicalJson(found));
}

function isEmpty(reply: unknown): boolean {
  return typeof reply === "object" && reply !== null && Object.keys(reply).length === 0;
}

/** Queues of models are called by the model. */
function queueOf(name: string): string {
  const [entry = "", ...model] = name.split(":");
  return model.length > 0 ? completionQueueName(modelRef(entry, model.join(":"))) : name;
}
