import { BY } from "../batch/lanes/asked-lanes.ts";
import { readDeadline } from "../shared/deadline.ts";
import { objectId } from "../shared/object-id.ts";
import { reserveId } from "../store/idempotency.ts";
import { createServedBatch, viewServedBatch } from "../store/served-batch.ts";
import type { ServedBatch, ServedBatchView } from "../store/served-batch-record.ts";
import { answered, expectAnswer } from "../store/undelivered.ts";
import { notFound } from "./api-error.ts";
import { askedBefore } from "./asked-job.ts";
import type { Call } from "./route.ts";

const HOUR_MS = 3_600_000;

/**
 * Returns the id of the batch that a request asks for. One that comes again, by its `Idempotency-Key` or as a client's own retry,
 * asks for the same batch.
 * @param kind callers' keys of other kinds are apart
 * @param content all that it asks; default: its body
 */
export async function askedBatch(
  call: Call,
  prefix: string,
  kind: string,
  content?: string,
): Promise<{ id: string; isKnown: boolean }> {
  const { store } = call.context;
  const { tenant } = call.principal;
  const fresh = objectId(prefix);
  const { key, digest, known } = await askedBefore(call, kind, content);
  if (key === undefined && known === undefined) await expectAnswer(store, digest, fresh);
  const id =
    key === undefined
      ? (known ?? fresh)
      : await reserveId(store, { key: `${kind} ${key}`, jobId: fresh, tenant, digest });
  call.response.once("finish", () => void answered(store, digest, id).catch(() => {}));
  return { id, isKnown: id !== fresh };
}

interface NewBatch extends Pick<ServedBatch, "id" | "endpoint" | "inputFileId" | "outputLifeSeconds"> {
  /** Its window. */
  hours: number;
  metadata: Record<string, string> | undefined;
}

/** Makes a batch in the name of the caller's key. Returns it, or the one of this id that is there already. */
export async function makeBatch(
  { context: { store }, principal }: Call,
  { hours, ...given }: NewBatch,
): Promise<ServedBatchView> {
  const { tenant, keyId: by, hasCostLimit } = principal;
  const createdAt = Date.now();
  const deadline = given.metadata?.[BY];
  if (deadline !== undefined) readDeadline(deadline, createdAt);
  await createServedBatch(store, {
    ...{ ...given, tenant, by, createdAt },
    ...(hasCostLimit && { needsPrices: "true" }),
    outputFileId: objectId("file-"),
    errorFileId: objectId("file-"),
    completionWindow: `${hours}h`,
    expiresAt: createdAt + hours * HOUR_MS,
  });
  const made = await viewServedBatch(store, given.id, tenant);
  if (made) return made;
  throw notFound("batch", given.id);
}
