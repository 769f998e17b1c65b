import { existsSync } from "node:fs";
import type { BatchOptions } from "../batch/batch-run.ts";
import { filesOf } from "../batch/served/batch-host.ts";
import { retryFailedRows } from "../batch/served/failed-rows.ts";
import type { JobChange } from "../producers/fork-job.ts";
import { InputError } from "../shared/errors.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import type { Settings } from "../shared/settings.ts";
import { readBatch } from "../store/batch.ts";
import { readServedBatch } from "../store/served-batch.ts";
import type { Store } from "../store/store.ts";
import type { Batches } from "./batches.ts";

interface ReplayAccess {
  store: Store;
  settings: Settings;
  /** Run batches of programs whose files are here; undefined: their files are never those of this process. */
  batches: Batches | undefined;
  /** In whose name new batches are made. */
  by: string | undefined;
  needsPrices: boolean;
}

/**
 * Sends the failed rows of a batch again. Those of the service go into a new batch, of which the service takes care; a batch of a program is
 * run to its end here, in its own files.
 * @returns the id of the batch that has the rows
 * @throws InputError as `retryFailedRows`; `files_elsewhere` for a batch whose files are not here; as `Batches.run`
 */
export async function replayRows(
  { store, settings, batches, by, needsPrices }: ReplayAccess,
  id: string,
  change: JobChange | undefined,
): Promise<string> {
  const served = await readServedBatch(store, id);
  if (served) return retryFailedRows(store, filesOf(settings, store), served, { by, needsPrices }, change);
  const run = await readBatch(store, id);
  if (!run) throw new InputError(`the record of batch ${id} is gone`, "run its input again", "unknown_batch");
  const { input, output, maxCostUsd } = run;
  const command = `gluellm batch run ${input} -o ${output} --retry-failed`;
  if (change)
    throw new InputError(
      `the rows of ${id} are replayed as they are`,
      `edit ${input}, then: ${command}`,
      "not_replayable",
    );
  const { needsCommand, ...options } = fieldsOf(parseJson(run.options));
  if (!batches || needsCommand !== false || !existsSync(input))
    throw new InputError(
      `the batch ${id} was run by a program or a command, which has its files and options`,
      `where it was run: ${command}`,
      "files_elsewhere",
    );
  const given = { ...options, inputPath: input, outputPath: output, retryFailed: true } as BatchOptions;
  const again = await batches.run({ ...given, ...(maxCostUsd !== undefined && { maxCostUsd }) });
  await again.report();
  return again.id;
}
