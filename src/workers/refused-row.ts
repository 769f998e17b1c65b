import type { CompletionPayload } from "../shared/catalog.ts";
import { fromErrorRecord, privatePartsOf, toErrorRecord } from "../shared/error-record.ts";
import type { GlueError } from "../shared/errors.ts";
import { modelRef } from "../shared/model-name.ts";
import { holdRow, type Refusal } from "../store/refused-rows.ts";
import type { Store } from "../store/store.ts";

/** A refused row looks so often whether there is evidence. */
export const REFUSED_MS = 1000;
/** What such a row is said to wait for. */
export const WAITS_FOR_EVIDENCE =
  "the provider refused it; another call will show whether that is the row's fault";

/** Keeps a batch's row that the provider refused until there is evidence whose fault it is. */
export function holdRefused(
  store: Store,
  jobId: string,
  { provider, model, batch }: CompletionPayload,
  { error, ...times }: { error: GlueError; sentAgoMs: number; refusedAgoMs: number },
): Promise<"held" | "stopped"> {
  const { providerMessage } = privatePartsOf(error);
  const refusal = { error: toErrorRecord(error), providerMessage };
  return holdRow(store, batch?.key ?? modelRef(provider.entry, model).key, {
    jobId,
    batchId: batch?.id ?? "",
    ...times,
    refusal,
  });
}

/** Returns the error that ends a row whose refusals were its own fault. */
export function ownRefusal(error: GlueError): GlueError {
  return toRefusalError({ error: toErrorRecord(error), ...privatePartsOf(error) });
}

/** Returns the error that ends a row whose refusal was its own fault: of the refusal's class, without its advice. */
export function toRefusalError({ error, providerMessage }: Refusal): GlueError {
  const answered = error.status === undefined ? "refused this row" : `answered ${error.status} to this row`;
  return fromErrorRecord({
    ...error,
    message: `the provider ${answered}, though later calls with the same key and model succeeded`,
    hint: "see what the provider said; correct the row, or send it again with --retry-failed",
    providerMessage,
  });
}
