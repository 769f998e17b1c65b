import { open } from "node:fs/promises";
import { Readable } from "node:stream";
import { fieldsOf, parseJson } from "../../shared/json.ts";
import { saveBatch } from "../../store/batch.ts";
import { saveFile } from "../../store/file-record.ts";
import type { LineCipher } from "../../store/sealed-lines.ts";
import { moveServedBatch } from "../../store/served-batch.ts";
import type { ServedBatch } from "../../store/served-batch-record.ts";
import type { Store } from "../../store/store.ts";
import type { BatchReport } from "../batch-report.ts";
import { readLines } from "../line-reader.ts";
import { MAX_OUTPUT_LINE_BYTES } from "../output-line.ts";
import type { FileStore } from "./file-store.ts";

interface Places {
  store: Store;
  files: FileStore;
}

/** What a row says that was not sent; the code tells how the batch ended, also a host that comes after the end. */
export const UNSENT = {
  cancelled: { code: "batch_cancelled", message: "the batch was cancelled before this row was sent" },
  expired: { code: "batch_expired", message: "the window of the batch ended before this row was sent" },
  failed: { code: "batch_stopped", message: "the batch was stopped before this row was sent" },
} as const;
export type EarlyEnd = keyof typeof UNSENT;

/** Puts the results of a run into the file store under the ids that the batch has for them, and ends it. */
export async function deliver(
  context: Places,
  batch: ServedBatch,
  report: BatchReport,
  lines: LineCipher,
): Promise<void> {
  const { store } = context;
  const { id } = batch;
  const { total, succeeded, failed, tokens } = report;
  await saveBatch(store, {
    ...{ id, total, succeeded, failed },
    promptTokens: tokens.prompt,
    completionTokens: tokens.completion,
    cachedTokens: tokens.cached,
  });
  const status = await moveServedBatch(store, id, { from: ["in_progress"], to: "finalizing" });
  const { output, errors } = report.files;
  const hasOutput = await keep(
    context,
    batch,
    batch.outputFileId,
    "output",
    Readable.from(resultLines(output, lines, (line) => SUCCESS.test(line.slice(-TAIL_CHARS)))),
  );
  const isFaulty = failed > 0;
  const hasErrors =
    isFaulty &&
    (await keep(context, batch, batch.errorFileId, "error", Readable.from(resultLines(errors, lines))));
  const early = isFaulty ? await earlyEnd(errors, lines) : undefined;
  const to = status === "cancelling" ? "cancelled" : (early?.end ?? "completed");
  const faults =
    to === "failed"
      ? [{ code: "batch_stopped", message: early?.reason ?? "", line: null, param: null }]
      : undefined;
  await moveServedBatch(store, id, {
    ...{ from: ["finalizing", "cancelling"], to, faults },
    outputs: { output: hasOutput, errors: hasErrors },
  });
}

/** Stores a result file, if there is anything in it. */
async function keep(
  { store, files }: Places,
  { id: batchId, tenant, by, outputLifeSeconds }: ServedBatch,
  id: string,
  kind: "output" | "error",
  source: Readable,
): Promise<boolean> {
  const spooled = await files.spool(id, source);
  const { bytes, sha256 } = spooled;
  if (bytes === 0) {
    await spooled.discard();
    return false;
  }
  await spooled.keep();
  const createdAt = Date.now();
  const expiresAt = createdAt + outputLifeSeconds * 1000;
  const filename = `${batchId}_${kind}.jsonl`;
  await saveFile(store, {
    id,
    tenant,
    by,
    filename,
    purpose: "batch_output",
    bytes,
    sha256,
    createdAt,
    expiresAt,
  });
  return true;
}

/** A sealed line is a third longer. */
const MAX_SEALED_LINE_BYTES = 2 * MAX_OUTPUT_LINE_BYTES;
/** As `outputLine` ends the line of a row that succeeded; one of a failed row ends with the bracket of its error's. */
const SUCCESS = /"error":null(,"from_cache":true)?(,"lane":"\w+")?\}$/;
const TAIL_CHARS = 64;

async function* resultLines(
  path: string,
  lines: LineCipher,
  isWanted: (line: string) => boolean = () => true,
): AsyncGenerator<Buffer> {
  for await (const line of linesOf(path, lines)) if (isWanted(line)) yield Buffer.from(`${line}\n`);
}

/** Returns why rows were not sent, as the first of them says; undefined when all were. */
async function earlyEnd(
  path: string,
  lines: LineCipher,
): Promise<{ end: EarlyEnd; reason: string } | undefined> {
  for await (const line of linesOf(path, lines)) {
    const { code, message, hint } = fieldsOf(fieldsOf(parseJson(line)).error);
    const end = (Object.keys(UNSENT) as EarlyEnd[]).find((name) => UNSENT[name].code === code);
    if (end) return { end, reason: `${message}: ${hint}` };
  }
  return undefined;
}

async function* linesOf(path: string, lines: LineCipher): AsyncGenerator<string> {
  const handle = await open(path);
  try {
    for await (const { data } of readLines(handle, MAX_SEALED_LINE_BYTES)) yield lines.open(data.toString());
  } finally {
    await handle.close();
  }
}
