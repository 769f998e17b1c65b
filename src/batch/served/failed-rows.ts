import { Readable } from "node:stream";
import { MAX_REQUEST_BYTES } from "../../shared/chat.ts";
import { InputError } from "../../shared/errors.ts";
import { parseExactly } from "../../shared/exact-json.ts";
import { type FailureCause, FailureCauses } from "../../shared/failure-causes.ts";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import type { ModelRef } from "../../shared/model-name.ts";
import { objectId } from "../../shared/object-id.ts";
import { DEFAULT_TENANT, type Owner } from "../../shared/tenant.ts";
import {
  deleteFile,
  FILE_LIFE_SECONDS,
  type FileRecord,
  readFile,
  saveFile,
} from "../../store/file-record.ts";
import { claimRetry, createServedBatch, readServedBatch } from "../../store/served-batch.ts";
import { MESSAGES_ENDPOINT, type ServedBatch } from "../../store/served-batch-record.ts";
import type { Store } from "../../store/store.ts";
import { splitLines } from "../line-reader.ts";
import { MAX_OUTPUT_LINE_BYTES } from "../output-line.ts";
import type { FileStore } from "./file-store.ts";

/* The rows of an ended batch that have no answer: why, and the batch that sends them again. */

/** Groups the failed rows of a batch that has ended by their cause. @throws GlueError `file_lost` */
export async function failedRowsByCause(
  files: FileStore,
  { errorFileId }: ServedBatch,
): Promise<FailureCause[]> {
  const causes = new FailureCauses();
  for await (const { custom_id, error } of errorLines(files, errorFileId)) {
    const { code, message, hint, provider_message } = fieldsOf(error);
    causes.add(String(custom_id), {
      code: String(code),
      message: String(message),
      ...(typeof hint === "string" && { hint }),
      ...(typeof provider_message === "string" && { providerMessage: provider_message }),
    });
  }
  return causes.all();
}

async function* errorLines(files: FileStore, id: string): AsyncGenerator<Record<string, unknown>> {
  for await (const { data } of splitLines(await files.read(id), MAX_OUTPUT_LINE_BYTES))
    yield fieldsOf(parseJson(data.toString()));
}

/** How rows that are sent again differ from those that failed. */
export interface RowChange {
  model?: Pick<ModelRef, "key"> | undefined;
  /** Fields of the request that take the place of its own; null takes one away. */
  edit?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Makes a batch of the rows of an ended one that have no answer, with a window as long. However often it is asked for, it is one batch, whose id is returned.
 * @param change of all rows; whether they are requests then is seen when the new batch is checked, as of any batch
 * @throws InputError `nothing_to_retry`, or `input_gone` when its input was deleted or has expired
 */
export async function retryFailedRows(
  store: Store,
  files: FileStore,
  batch: ServedBatch,
  { by, needsPrices }: Owner & { needsPrices: boolean },
  change?: RowChange,
): Promise<string> {
  const { tenant, endpoint, outputs } = batch;
  if (!outputs?.errors)
    throw new InputError(
      `the batch ${batch.id} is ${batch.status}: it has no failed rows`,
      outputs ? undefined : "wait for its end",
      "nothing_to_retry",
    );
  if (!(await readFile(store, batch.inputFileId, tenant ?? DEFAULT_TENANT)))
    throw new InputError(
      `the input of ${batch.id} was deleted, or has expired`,
      "submit the rows anew",
      "input_gone",
    );
  const prefix = endpoint === MESSAGES_ENDPOINT ? "msgbatch_" : "batch_";
  const id = await claimRetry(store, batch.id, objectId(prefix));
  if (await readServedBatch(store, id)) return id;
  const inputFileId = objectId("file-");
  const spooled = await files.spool(inputFileId, Readable.from(linesOf(files, batch, change)));
  await spooled.keep();
  const { bytes, sha256 } = spooled;
  const createdAt = Date.now();
  const input: FileRecord = {
    ...{ id: inputFileId, tenant, by, bytes, sha256, createdAt },
    ...{ filename: `${id}.jsonl`, purpose: "batch", expiresAt: createdAt + FILE_LIFE_SECONDS * 1000 },
  };
  await saveFile(store, input);
  const isMade = await createServedBatch(store, {
    ...{ id, tenant, by, endpoint, inputFileId, createdAt, metadata: batch.metadata },
    ...(needsPrices && { needsPrices: "true" }),
    outputFileId: objectId("file-"),
    errorFileId: objectId("file-"),
    completionWindow: batch.completionWindow,
    outputLifeSeconds: batch.outputLifeSeconds,
    expiresAt: createdAt + batch.expiresAt - batch.createdAt,
    retryOf: batch.id,
  });
  if (!isMade) {
    // The same request, sent twice, was here first, with an input of its own.
    await deleteFile(store, input);
    await files.delete(inputFileId);
  }
  return id;
}

/** Returns the requests of the rows without an answer, with the digits of their numbers. @throws GlueError `file_lost` */
export async function* failedRequests(
  files: FileStore,
  batch: ServedBatch,
): AsyncGenerator<{ line: Record<string, unknown>; body: Record<string, unknown> }> {
  for await (const data of failedLines(files, batch)) {
    const line = fieldsOf(parseExactly(data.toString()));
    yield { line, body: fieldsOf(line.body ?? line.params) };
  }
}

async function* failedLines(
  files: FileStore,
  { inputFileId, errorFileId }: ServedBatch,
): AsyncGenerator<Buffer> {
  const failed = new Set<string>();
  for await (const { custom_id } of errorLines(files, errorFileId)) failed.add(String(custom_id));
  for await (const { data } of splitLines(await files.read(inputFileId), MAX_REQUEST_BYTES))
    if (failed.has(String(fieldsOf(parseJson(data.toString())).custom_id))) yield data;
}

async function* linesOf(
  files: FileStore,
  batch: ServedBatch,
  change: RowChange | undefined,
): AsyncGenerator<Buffer> {
  if (!change) {
    for await (const data of failedLines(files, batch)) yield Buffer.concat([data, Buffer.from("\n")]);
    return;
  }
  const given = { ...change.edit, ...(change.model && { model: change.model.key }) };
  for await (const { line, body } of failedRequests(files, batch)) {
    const fields = Object.entries({ ...body, ...given }).filter(([, value]) => value !== null);
    const edited = { ...line, ["body" in line ? "body" : "params"]: Object.fromEntries(fields) };
    yield Buffer.from(`${JSON.stringify(edited)}\n`);
  }
}
