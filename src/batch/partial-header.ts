import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { InputError } from "../shared/errors.ts";
import { fieldsOf, parseJson } from "../shared/json.ts";
import { inputFileError } from "./file-errors.ts";
import { outputFiles } from "./output-paths.ts";

const VERSION = 1;
/** More than any header takes. */
const HEAD_BYTES = 256;

export interface PartialHeader {
  batchId: string;
  /** Where the result lines begin. */
  bytes: number;
}

export function newBatchId(): string {
  return `batch_${randomBytes(12).toString("hex")}`;
}

/** The first line of `OUT.jsonl.partial`: it names the batch, so that a run after a kill goes on with the same one. */
export function headerLine(batchId: string): string {
  return `${JSON.stringify({ gluellm_batch: batchId, v: VERSION })}\n`;
}

/**
 * The id of the batch that an earlier or a live run of this output has begun; reads nothing else and writes nothing.
 * @throws InputError when the partial is not ours.
 */
export function readBatchId(outputPath: string): string | undefined {
  return readHeader(outputFiles(outputPath).partial)?.batchId;
}

/**
 * Undefined when there is no partial, or one that broke off within its header, before anything was sent.
 * @throws InputError when the file begins otherwise.
 */
export function readHeader(path: string): PartialHeader | undefined {
  const head = readHead(path);
  const end = head?.indexOf("\n") ?? -1;
  if (head === undefined || (end < 0 && head.length < HEAD_BYTES)) return undefined;
  const { gluellm_batch: batchId, v } = fieldsOf(parseJson(head.slice(0, Math.max(end, 0))));
  if (typeof batchId !== "string" || !/^(?:msg)?batch_[0-9a-f-]{24,36}$/.test(batchId)) {
    throw new InputError(
      `${path} is not the partial output of a batch`,
      "move it away, or choose another -o",
    );
  }
  if (v !== VERSION) {
    throw new InputError(
      `${path} was written by another version of gluellm`,
      "finish it with that version, or choose another -o",
    );
  }
  return { batchId, bytes: end + 1 };
}

function readHead(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw inputFileError(error, path);
  }
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    return head.toString("latin1", 0, readSync(file, head, 0, HEAD_BYTES, 0));
  } finally {
    closeSync(file);
  }
}
