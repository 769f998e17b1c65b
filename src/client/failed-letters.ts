import { type DeadLetter, fits, type LetterFilter } from "../producers/dead-letters.ts";
import { counted } from "../shared/counted.ts";
import { BATCH_ENDS, type BatchRecord } from "../shared/records.ts";
import { DEFAULT_TENANT } from "../shared/tenant.ts";
import { listBatches } from "../store/batch.ts";
import { listRuns } from "../store/run-list.ts";
import { readRun } from "../store/run-record.ts";
import { readServedBatch } from "../store/served-batch.ts";
import type { Store } from "../store/store.ts";

/** The most letters that are looked at. */
export const MAX_LETTERS = 10_000;
const RUN_PAGE = 1000;
/** Of the batches the latest so many are looked at. */
const MAX_BATCHES = 500;

/** Returns the runs that failed and fit, the latest first. */
export async function findFailedRuns(store: Store, filter: LetterFilter): Promise<DeadLetter[]> {
  const { tenant, workflow } = filter;
  const letters: DeadLetter[] = [];
  let cursor: string | undefined;
  do {
    const page = await listRuns(store, { state: "failed", tenant, workflow }, RUN_PAGE, cursor);
    for (const { id } of page.runs) {
      if (filter.id !== undefined && id !== filter.id) continue;
      const run = await readRun(store, id).catch(() => undefined);
      // A failed child is tried again with its parent.
      if (!run || run.parentRunId) continue;
      const { finishedAt: failedAt = 0, error, retries: attempts, costUsd: cost } = run;
      if (failedAt < (filter.since ?? 0)) continue;
      const { code = "unknown", message = "" } = error ?? {};
      const whose = { kind: "run", id, tenant: run.tenant ?? DEFAULT_TENANT, subject: run.workflow } as const;
      const letter = { ...whose, queue: undefined, code, message, failedAt, attempts, costUsd: cost };
      if (fits(letter, filter)) letters.push(letter);
    }
    cursor = page.cursor;
  } while (cursor !== undefined && letters.length < MAX_LETTERS);
  return letters;
}

/** Returns the batches that have ended with failed rows and fit; those whose rows were sent again in a new batch are none. */
export async function findFailedBatches(store: Store, filter: LetterFilter): Promise<DeadLetter[]> {
  const batches = await listBatches(store, MAX_BATCHES, filter.tenant);
  // The newest come first: one that has been run once more, as another batch into the same file, is over.
  const latest = new Map(batches.toReversed().map((batch) => [batch.output, batch]));
  const letters = await Promise.all(
    batches
      .filter((batch) => latest.get(batch.output) === batch)
      .filter((batch) => hasFailedRows(batch) && batch.updatedAt >= (filter.since ?? 0))
      .map((batch) => letterOf(store, batch)),
  );
  return letters.filter((letter) => letter !== undefined && fits(letter, filter)) as DeadLetter[];
}

function hasFailedRows({ status, failed }: BatchRecord): boolean {
  return failed > 0 && status !== "cancelled" && BATCH_ENDS.includes(status);
}

async function letterOf(store: Store, batch: BatchRecord): Promise<DeadLetter | undefined> {
  const { id, failed, input, output, updatedAt, tenant = DEFAULT_TENANT } = batch;
  const served = await readServedBatch(store, id).catch(() => undefined);
  if (served && (!served.outputs?.errors || served.retriedAs !== undefined)) return undefined;
  // Of a batch of the service, all rows without an answer are sent again, those that it had no time for too.
  const rows = served ? batch.total - batch.succeeded : failed;
  return {
    ...{ kind: "batch", id, tenant, subject: id, queue: undefined, code: "failed_rows", rows },
    message: served
      ? `${counted(rows, "row")} without an answer`
      : `${counted(rows, "row")} of ${input}; why: ${errorsOf(output)}`,
    ...{ failedAt: updatedAt, attempts: batch.retries, costUsd: batch.unpriced > 0 ? null : batch.costUsd },
    ...(!served && { hint: `gluellm batch run ${input} -o ${output} --retry-failed` }),
  };
}

function errorsOf(output: string): string {
  return `${output.replace(/\.jsonl$/, "")}.errors.jsonl`;
}
